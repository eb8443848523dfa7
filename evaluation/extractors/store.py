"""Features of pictures, remembered on disk: the same picture is never put through the same network twice.

They lie in packs of many pictures (``data/cache.py``), one folder an extractor: a pack is there whole or not at all,
several processes fill a folder together, and a kill loses what one process did since its last pack.
Shapes: pictures uint8 [N,3,H,W], features float32 [N,D].
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from data.cache import Cache
from evaluation.errors import EvaluationError
from evaluation.extractors.feeding import fed
from evaluation.extractors.pictures import Pictures, PicturesInMemory
from evaluation.extractors.protocol import Extractor, extractor_identity

CPU_PACK = 256  # seconds of work on a CPU
CUDA_PACK = 8192  # a second of work on a GPU: fewer pauses to write
Advance = Callable[[int], object]


class FeatureStore:
    """An extractor and the folder of what it has extracted, keyed by picture."""

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self.extractor = extractor
        self.identity = extractor_identity(extractor)
        whole = f"{extractor.name}@{extractor.digest}/{extractor.preprocessing}"
        named = re.sub(r"[^A-Za-z0-9.@_-]+", "_", self.identity)[:120]
        sha256 = hashlib.sha256(whole.encode()).hexdigest()
        self._cache = Cache(
            folder / f"{named}-{sha256[:8]}",
            kind="features",
            encoder_sha256=sha256,
            per_pack=CUDA_PACK if extractor.device.type == "cuda" else CPU_PACK,
            bar=False,
        )

    def __call__(self, pictures: Tensor | Pictures, advance: Advance | None = None) -> Tensor:
        """Return features [N,D] of pictures [N,3,H,W]; ``advance`` is told how many more are done.

        Raises EvaluationError when a feature is not a finite number, and when there is no picture at all.
        """
        shown = PicturesInMemory(pictures) if isinstance(pictures, Tensor) else pictures
        count = len(shown)
        if not count:
            raise EvaluationError(f"{self.identity} was given no picture to look at")
        keys = _keys(shown)
        told = _Told(count, advance)

        def encode(places: Sequence[int]) -> list[Tensor]:
            told.found(count - len(set(keys)) + self._cache.found)
            rows: list[Tensor] = []
            for features_BD in fed(self.extractor, shown, places):
                self._check(features_BD)
                rows += features_BD[:, None].unbind()
                told.more(len(features_BD))
            return rows

        features_ND = torch.full((count, self.extractor.dimensions), torch.nan)
        for place, entry in self._cache.entries(keys, encode, batch=self._cache.per_pack):
            features_ND[place] = entry[0]
        self._check(features_ND)
        told.rest()
        return features_ND

    def _check(self, features_BD: Tensor) -> None:
        if features_BD.ndim != 2 or features_BD.shape[1] != self.extractor.dimensions:
            raise EvaluationError(
                f"{self.identity} gave features of shape {list(features_BD.shape)},"
                f" [pictures, {self.extractor.dimensions}] is right"
            )
        broken = int((~features_BD.isfinite()).any(dim=1).sum())
        if broken:
            raise EvaluationError(
                f"{self.identity} gave no finite features for {broken} of {len(features_BD)} pictures"
            )


class _Told:
    """Says how many pictures are done: those found at once, then each that was looked at."""

    def __init__(self, count: int, advance: Advance | None) -> None:
        self._left = count
        self._advance = advance
        self._began = False

    def found(self, count: int) -> None:
        """Tell of those that need no look, once."""
        if not self._began:
            self._began = True
            self.more(count)

    def rest(self) -> None:
        """Tell of those that another process looked at meanwhile, or that were all found."""
        self.more(self._left)

    def more(self, count: int) -> None:
        """Tell of so many."""
        done = min(count, self._left)
        self._left -= done
        if self._advance and done:
            self._advance(done)


def _keys(pictures: Pictures) -> list[bytes]:
    """Digests leave Python's lock alone, so that threads share them."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="digest") as pool:
        return list(pool.map(pictures.key, range(len(pictures)), chunksize=64))
