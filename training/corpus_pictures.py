"""A corpus's drawings as a network of evaluation sees them, one-colour ones also in colours by chance.

Shapes: pictures uint8 [B,3,H,W].
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.dataset import Dataset
from evaluation.extractors.pictures import fitted

LEAST_CONTRAST = 0.35  # between ink and ground, of the 0..1 between black and white
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Shown:
    """A row of a dataset as it is, or a one-colour one with this ink on this ground."""

    row: int
    ink: Colour | None = None
    ground: Colour | None = None


class CorpusPictures:
    """Drawings of a dataset on white, fitted into a square when a batch asks for them."""

    def __init__(self, dataset: Dataset, shown: Sequence[Shown], side_px: int) -> None:
        self._dataset = dataset
        self._shown = list(shown)
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._shown)

    def key(self, place: int) -> bytes:
        """Return the digest of the stored picture's digest and of all that is done to it."""
        one = self._shown[place]
        told = f"{self._dataset.records[one.row].sha256} {self._side_px}px ink={one.ink} ground={one.ground}"
        return hashlib.sha256(told.encode()).digest()

    def batch(self, places: Sequence[int]) -> Tensor:
        """Return some of them, decoded."""
        return torch.stack([self._picture(self._shown[place]) for place in places])

    def _picture(self, one: Shown) -> Tensor:
        array = np.array(fitted(self._dataset.picture(one.row), self._side_px))
        picture_3HW = torch.from_numpy(array).permute(2, 0, 1)
        return picture_3HW if one.ink is None or one.ground is None else painted(picture_3HW, one.ink, one.ground)


def painted(black_on_white_3HW: Tensor, ink: Colour, ground: Colour) -> Tensor:
    """Return a one-colour drawing with another ink and ground: ink + (ground - ink) · p."""
    share = black_on_white_3HW.float() / 255
    inks, grounds = (torch.tensor(colour).view(3, 1, 1).float() for colour in (ink, ground))
    return (inks + (grounds - inks) * share).round().to(torch.uint8)


def paint(key: str, seed: int) -> tuple[Colour, Colour]:
    """Return the ink and ground that chance gives to a drawing, far enough apart to be seen; half are on white."""
    chance = random.Random(f"{seed}/{key}")
    while True:
        ink: Colour = tuple(chance.randrange(256) for _ in range(3))  # type: ignore[assignment]
        other: Colour = tuple(chance.randrange(256) for _ in range(3))  # type: ignore[assignment]
        ground = (255, 255, 255) if chance.random() < 0.5 else other
        if abs(_luma(ink) - _luma(ground)) >= LEAST_CONTRAST:
            return ink, ground


def _luma(colour: Colour) -> float:
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
