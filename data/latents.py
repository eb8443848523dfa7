"""A dataset's pictures as latents of an autoencoder, encoded once (``data.cache``).

Shapes: B batch, R rows, C latent channels, H W picture, h w latent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.cache import content_key, encoder_cache
from data.dataset import Dataset, on_ground


class LatentEncoder(Protocol):
    """A frozen encoder of pictures."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides its latents: weights and settings."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B,3,H,W] in -1..1 to latents [B,C,h,w]."""


def latents_of(
    dataset: Dataset,
    rows: Sequence[int],
    encoder: LatentEncoder,
    root: Path,
    *,
    ground: str = "white",
    batch: int = 64,
) -> Tensor:
    """Return the latents [R,C,h,w] of some rows, on the CPU; what is in the cache under ``root`` is not made again.

    The pictures are laid on ``ground``, and must be of one size. An entry's key is the digest of the picture's bytes
    as they are on disk, so that a changed byte is another entry.

    Raises:
        CacheError: the cache's folder is another encoder's.
    """
    identity = hashlib.sha256(f"{encoder.digest} ground={ground}".encode()).hexdigest()
    keys = [content_key(dataset.picture_bytes(row)) for row in rows]

    def encode(places: Sequence[int]) -> Sequence[Tensor]:
        return list(encoder.encode(_pictures(dataset, [rows[place] for place in places], ground)))

    whole: Tensor | None = None
    for place, entry in encoder_cache(root, "latents", identity).entries(keys, encode, batch=batch):
        if whole is None:
            whole = entry.new_empty(len(rows), *entry.shape)
        whole[place] = entry
    return torch.empty(0) if whole is None else whole


def _pictures(dataset: Dataset, rows: Sequence[int], ground: str) -> Tensor:
    arrays = np.stack([np.asarray(on_ground(dataset.picture(row), ground)) for row in rows])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1
