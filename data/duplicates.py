"""Finds copies of pictures: equal ones by SHA-256, near ones by perceptual hash, then looks, then features.

A hash proposes, the rest confirms: the 64-bit DCT hash (imagehash.phash) is blind to colour and to small parts, so two
pictures that near in it are compared as ``LOOK_PX`` thumbnails, and those that still seem alike as feature vectors.
docs/adr/0010-near-copies.md says which thresholds, and why.

Legend: N pictures in the order of their precedence, held-out ones first; P pairs (left, right) with left < right;
D features.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from data.dataset import on_ground
from data.errors import DataError
from data.hamming import MAX_RADIUS_BITS, near_pairs
from data.looks import LOOK_PX

if TYPE_CHECKING:
    from torch import Tensor

FEATURES_PX = 128
BATCH_PICTURES = 64
BLOCK_PAIRS = 65_536
NEAR_CHOICES = ("list", "refuse", "keep")


class Features(Protocol):
    """A frozen network that turns pictures into vectors, and says which one it is."""

    @property
    def name(self) -> str:
        """Short name of the network."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, in hexadecimal."""

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,D] of uint8 pictures [B,3,H,W]."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """When two pictures are near copies, and what then.

    Near copies of held-out pictures never enter training. Equal pictures are there once.

    Args:
        near: of near copies within training: "list" keeps and lists them, "refuse" keeps the first of them, "keep"
            does not look for them.
        radius_bits: the most bits in which their perceptual hashes differ.
        difference_levels: the most root-mean-square difference of their looks, in levels of 255.
        similarity: the least cosine of their features.
        features: the network that confirms a copy before it is refused; None leaves it to hash and looks, which then
            should be strict.

    Raises:
        DataError: a value is out of its range.
    """

    near: str = "list"
    radius_bits: int = 2
    difference_levels: float = 4.0
    similarity: float = 0.94
    features: Features | None = None

    def __post_init__(self) -> None:
        if self.near not in NEAR_CHOICES:
            raise DataError(f"duplicates.near is {self.near!r}; it must be one of {', '.join(NEAR_CHOICES)}")
        for name, value, highest in (
            ("radius_bits", self.radius_bits, MAX_RADIUS_BITS),
            ("difference_levels", self.difference_levels, 255),
            ("similarity", self.similarity, 1),
        ):
            if not 0 <= value <= highest:
                raise DataError(f"duplicates.{name} is {value}; it must be 0 to {highest}")

    def describe(self) -> dict[str, object]:
        """Return the settings as plain values, for digests and records."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        named = None if self.features is None else f"{self.features.name}@{self.features.digest}"
        return values | {"features": named}


DEFAULT_DUPLICATES = Duplicates()


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Confirmed pairs, sorted by (right, left), with the figures that confirmed them; no similarity is NaN."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance_bits: NDArray[np.int32]
    difference_levels: NDArray[np.float32]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)

    def keep(self, kept_P: NDArray[Any]) -> Copies:
        """Return some of the pairs, by mask or place."""
        return Copies(**{field.name: getattr(self, field.name)[kept_P] for field in fields(self)})

    def figures(self, pair: int) -> dict[str, float]:
        """Return what confirmed a pair, rounded for people."""
        figures = {
            "distance_bits": int(self.distance_bits[pair]),
            "difference_levels": round(float(self.difference_levels[pair]), 1),
        }
        similarity = float(self.similarity[pair])
        return figures if np.isnan(similarity) else figures | {"similarity": round(similarity, 3)}


def find_copies(
    hashes_N: NDArray[np.uint64],
    heldout_N: NDArray[np.bool_],
    looks: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    picture: Callable[[int], bytes],
    settings: Duplicates,
    scratch: Path,
) -> Copies:
    """Return the near copies whose right one is trained on; with ``near="keep"``, only those of held-out pictures.

    Args:
        hashes_N: perceptual hashes, held-out pictures first.
        heldout_N: which pictures no training may see.
        looks: gives the thumbnails of some pictures.
        picture: gives a picture's bytes.
        settings: what counts as a near copy.
        scratch: where a file of features may be kept meanwhile.
    """
    blocks = list(_alike(hashes_N, heldout_N, looks, settings))
    left, right, distance, difference = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    order = np.lexsort((left, right))
    copies = Copies(
        left=left[order],
        right=right[order],
        distance_bits=distance[order],
        difference_levels=difference[order],
        similarity=np.full(len(order), np.nan, np.float32),
    )
    # A list is for people to look at; what would cost a picture its place is confirmed first.
    asked = heldout_N[copies.left] | (settings.near == "refuse")
    if settings.features is None or not asked.any():
        return copies
    copies.similarity[asked] = _similarity(copies.keep(asked), settings.features, picture, scratch / "features.npy")
    # Lengths of half-precision vectors err by a thousandth; equal ones must not fall short of 1.
    return copies.keep(~asked | (copies.similarity >= settings.similarity - 1e-3))


def _alike(
    hashes_N: NDArray[np.uint64],
    heldout_N: NDArray[np.bool_],
    looks: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    settings: Duplicates,
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield blocks of (left, right, distance, difference) of pairs near in hash and looks."""
    yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    blocks = tqdm(near_pairs(hashes_N, settings.radius_bits), desc="comparing", file=sys.stderr, delay=5)
    for left, right, distance in blocks:
        wanted = ~heldout_N[right] & (heldout_N[left] | (settings.near != "keep"))
        places = np.flatnonzero(wanted)
        for start in range(0, len(places), BLOCK_PAIRS):
            part = places[start : start + BLOCK_PAIRS]
            difference = _difference_levels(looks, left[part], right[part])
            near = difference <= settings.difference_levels
            yield left[part][near], right[part][near], distance[part][near], difference[near]


def _difference_levels(
    looks: Callable[[NDArray[np.int64]], NDArray[np.uint8]], left_P: NDArray[np.int64], right_P: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return sqrt(mean((left - right)²)) over pixels and colours."""
    rows, places = np.unique(np.concatenate([left_P, right_P]), return_inverse=True)
    seen = looks(rows).reshape(len(rows), LOOK_PX * LOOK_PX * 3)
    squares = np.empty(len(left_P), np.float32)
    for start in range(0, len(left_P), 4096):
        part = slice(start, start + 4096)
        ones, others = seen[places[: len(left_P)][part]], seen[places[len(left_P) :][part]]
        squares[part] = np.square(ones.astype(np.float32) - others).mean(axis=1)
    return np.sqrt(squares)


def _similarity(
    copies: Copies, features: Features, picture: Callable[[int], bytes], scratch: Path
) -> NDArray[np.float32]:
    """Return the cosine of the features of each pair."""
    rows, places = np.unique(np.concatenate([copies.left, copies.right]), return_inverse=True)
    vectors = _features(features, rows, picture, scratch)
    similarity = np.empty(len(copies), np.float32)
    for start in range(0, len(copies), BATCH_PICTURES):
        part = slice(start, start + BATCH_PICTURES)
        ones, others = vectors[places[: len(copies)][part]], vectors[places[len(copies) :][part]]
        similarity[part] = (ones.astype(np.float32) * others).sum(axis=1)
    return similarity


def _features(
    features: Features, rows: NDArray[np.int64], picture: Callable[[int], bytes], scratch: Path
) -> NDArray[np.float16]:
    """Return unit feature vectors [rows, D] in a file: a large corpus has more of them than memory."""
    import torch

    vectors: NDArray[np.float16] | None = None
    for start in tqdm(range(0, len(rows), BATCH_PICTURES), desc="confirming copies", file=sys.stderr, delay=5):
        batch = np.stack([_on_square(picture(int(row))) for row in rows[start : start + BATCH_PICTURES]])
        found_BD = features(torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous())
        unit_BD = torch.nn.functional.normalize(found_BD.float(), dim=1).half().cpu().numpy()
        if vectors is None:
            shape = (len(rows), unit_BD.shape[1])
            vectors = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float16, shape=shape)
        vectors[start : start + len(unit_BD)] = unit_BD
    assert vectors is not None
    return vectors


def _on_square(picture: bytes) -> NDArray[np.uint8]:
    on_white = on_ground(Image.open(io.BytesIO(picture)))
    side = (FEATURES_PX, FEATURES_PX)
    return np.asarray(on_white if on_white.size == side else on_white.resize(side, Image.Resampling.LANCZOS))
