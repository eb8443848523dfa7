"""Features of pictures, remembered on disk: the same picture is never put through the same network twice.

Shapes: pictures uint8 [N,3,H,W], features float32 [N,D].
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors import Extractor, extractor_identity
from evaluation.files import write_whole

BATCH_PICTURES = 16
Advance = Callable[[int], None]


def picture_digest(picture_3HW: Tensor) -> str:
    """Return the sha256 of a uint8 picture [3,H,W]: of its shape and its bytes, whatever file it came from."""
    header = "x".join(map(str, picture_3HW.shape)).encode()
    return hashlib.sha256(header + picture_3HW.contiguous().numpy().tobytes()).hexdigest()


class FeatureStore:
    """An extractor and the folder of what it has extracted: one small file a picture, named by both digests."""

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self.extractor = extractor
        self.identity = extractor_identity(extractor)
        self._folder = folder / self.identity.replace("/", "_")

    def __call__(self, pictures_N3HW: Tensor, advance: Advance | None = None) -> Tensor:
        """Return features [N,D] of pictures [N,3,H,W]; ``advance`` is told how many more are done.

        Raises EvaluationError when a feature is not a finite number.
        """
        files = [self._file(picture_digest(picture)) for picture in pictures_N3HW]
        known = {row: features for row, file in enumerate(files) if (features := self._read(file)) is not None}
        if advance:
            advance(len(known))
        missing = [row for row in range(len(files)) if row not in known]
        for start in range(0, len(missing), BATCH_PICTURES):
            rows = missing[start : start + BATCH_PICTURES]
            for row, features in zip(rows, self._extract(pictures_N3HW[rows]), strict=True):
                known[row] = features
                self._write(files[row], features)
            if advance:
                advance(len(rows))
        return torch.stack([known[row] for row in range(len(files))])

    def _extract(self, pictures_B3HW: Tensor) -> Tensor:
        features_BD = self.extractor(pictures_B3HW)
        broken = int((~features_BD.isfinite()).any(dim=1).sum())
        if broken:
            raise EvaluationError(
                f"{self.identity} gave no finite features for {broken} of {len(features_BD)} pictures"
            )
        return features_BD

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.npy"

    def _read(self, file: Path) -> Tensor | None:
        try:
            features = np.load(file, allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):  # absent, or cut short by a full disk: extract it anew
            return None
        return torch.from_numpy(features) if features.shape == (self.extractor.dimensions,) else None

    def _write(self, file: Path, features_D: Tensor) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features_D.numpy())
        write_whole(file, buffer.getvalue())
