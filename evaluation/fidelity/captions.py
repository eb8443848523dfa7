"""Captions as single vectors: all-MiniLM-L6-v2, averaged over tokens, as sentence-transformers pools it.

Shapes: features float32 [N,384], each of length 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from data.cache import Cache, content_key
from evaluation.errors import EvaluationError
from synthesis.text import SHIPPED_ENCODER, TextEncoder

LONGEST_TOKENS = 64
BATCH_CAPTIONS = 256
PACK = 2048


class PooledCaptions:
    """The sentence encoder that the aligner's space is that of; remembers what it has encoded in ``cache``.

    Its weights are rounded to half precision, computed with in single: the encoder is the same wherever it is kept at
    half its size.
    """

    dimensions = 384

    def __init__(self, cache: Path | None = None, name: str = SHIPPED_ENCODER) -> None:
        self._encoder = TextEncoder(name, longest_tokens=LONGEST_TOKENS)
        self._encoder.model.half().float()
        self.digest = self._encoder.digest
        whole = hashlib.sha256(f"{self.digest} mean {LONGEST_TOKENS}".encode()).hexdigest()
        self._cache = None
        if cache is not None:
            self._cache = Cache(cache / "captions" / whole[:16], kind="captions", encoder_sha256=whole, per_pack=PACK)

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Return [N,384]; EvaluationError for a caption without a word."""
        for caption in captions:
            if not caption.strip():
                raise EvaluationError("a caption is empty: there is nothing that a picture of it should show")
        if self._cache is None:
            return torch.cat(self._encoded(captions)) if captions else torch.zeros(0, self.dimensions)
        found = torch.zeros(len(captions), self.dimensions)
        keys = [content_key(caption.encode()) for caption in captions]
        by_place = self._cache.entries(keys, lambda places: self._encoded([captions[p] for p in places]), batch=PACK)
        for place, entry in by_place:
            found[place] = entry[0]
        return found

    def cut(self, captions: Sequence[str]) -> int:
        """Return how many captions have more tokens than are read."""
        return sum(len(tokens) > LONGEST_TOKENS for tokens in self._encoder.tokenizer(list(captions))["input_ids"])

    @torch.inference_mode()
    def _encoded(self, captions: Sequence[str]) -> list[Tensor]:
        """Return [1,384] a caption; those of like length go together, so that little is padded."""
        order = sorted(range(len(captions)), key=lambda place: len(captions[place]))
        encoded: dict[int, Tensor] = {}
        for begin in range(0, len(order), BATCH_CAPTIONS):
            places = order[begin : begin + BATCH_CAPTIONS]
            inputs = self._encoder.tokenizer(
                [captions[place] for place in places],
                padding=True,
                truncation=True,
                max_length=LONGEST_TOKENS,
                return_tensors="pt",
            )
            tokens_BTD = self._encoder.model(**inputs).last_hidden_state
            mask_BT1 = inputs["attention_mask"][..., None].float()
            pooled_BD = (tokens_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
            encoded |= dict(zip(places, functional.normalize(pooled_BD, dim=1)[:, None].clone(), strict=True))
        return [encoded[place] for place in range(len(captions))]
