"""A corpus of bytes, augmented and painted on the device: resident there where it fits (``data/resident.py``).

Shapes: B batch, R rows, S stored side, H W drawn side; pictures [B,3,H,W] in -1..1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from data.dataset import Dataset
from data.errors import DataError
from data.resident import Layers, StreamedLayers, lives_on_device, resident_layers

MOST_PARTNERS = 8
HASH_BITS = 64


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far drawings are moved and painted; each with the share of pictures that it touches.

    ``scale`` is the largest |log2| of enlargement, ``shift`` in pictures, ``hue`` in radians.
    """

    placed_share: float = 0.6
    scale: float = 0.4
    shift: float = 0.12
    flip_share: float = 0.3
    hue_share: float = 0.4
    hue: float = math.pi
    ground_share: float = 0.35
    black_ink_share: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            highest = math.pi if name == "hue" else 1.0
            if not 0 <= value <= highest:
                raise ValueError(f"augmentation.{name} is {value}: it must lie in 0 to {highest:.3g}")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Drawn numbers: ``scale`` log2, ``flip``, ``hue`` [B], ``shift`` [B,2], ``ground`` and ``ink`` [B,3] in 0..1."""

    scale: Tensor
    shift: Tensor
    flip: Tensor
    hue: Tensor
    ground: Tensor
    ink: Tensor


class PictureBank:
    """All pictures of some rows as bytes [R,4,S,S], colour premultiplied by alpha; on the device where they fit."""

    def __init__(self, layers: Layers, monochrome: Tensor, partners: Tensor, apart: Tensor | None = None) -> None:
        """layers [R,4,S,S] uint8; monochrome [R] bool; partners [R,8] rows of the same subject, -1 for none.

        ``apart`` [R,8] says in how many of 64 bits their perceptual hashes differ; None is for none.
        """
        self.layers = layers
        self.monochrome = monochrome
        self.partners = partners
        self.apart = torch.zeros_like(partners) if apart is None else apart
        self.half: Tensor | None = None

    @classmethod
    def of(cls, dataset: Dataset, rows: Sequence[int], *, resident: bool | str = "auto") -> PictureBank:
        """Take the given rows of a dataset; bank row i is ``rows[i]``.

        Args:
            resident: decode all now, true; read each batch from disk when it is painted, false; by size, auto.

        Raises:
            DataError: the dataset keeps its pictures' shapes, which no bank of squares holds.
        """
        if dataset.index.column("width_px").any():
            raise DataError(f"{dataset.folder} keeps its pictures' shapes: ingest them with checks.shape=square")
        stays = lives_on_device(dataset, len(rows), resident)
        layers: Layers = resident_layers(dataset, rows) if stays else StreamedLayers(dataset, rows)
        records = [dataset.records[row] for row in rows]
        monochrome = torch.tensor([record.monochrome for record in records])
        partners = same_subject(records)
        return cls(layers, monochrome, partners, bits_apart(records, partners))

    def to(self, device: torch.device | str) -> PictureBank:
        """Return the bank on a device."""
        rest = (self.monochrome.to(device), self.partners.to(device), self.apart.to(device))
        moved = PictureBank(self.layers.to(device), *rest)
        moved.half = None if self.half is None else self.half.to(device)
        return moved

    def halved(self) -> PictureBank:
        """Keep all pictures at half their size too: a drawing far smaller than what is stored is painted from these.

        Only for layers that are resident; they take a quarter more.
        """
        if isinstance(self.layers, Tensor):
            parts = (F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in self.layers.split(1024))
            self.half = torch.cat(list(parts))
        return self

    def _layers_for(self, side_px: int) -> Layers:
        if self.half is not None and self.half.shape[-1] >= 2 * side_px:
            return self.half
        return self.layers

    def place(self, rows: Tensor, how: Augmentation, generator: Generator) -> Placement:
        """Draw how each picture of a batch is moved and painted."""
        device, count = rows.device, len(rows)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(count, *shape, device=device, generator=generator)

        placed = (uniform() < how.placed_share).float()
        ground, ink = random_paint(uniform, how, self.monochrome[rows])
        return Placement(
            scale=placed * how.scale * (2 * uniform() - 1.25).clamp(-1, 1),
            shift=placed[:, None] * how.shift * (2 * uniform(2) - 1),
            flip=(uniform() < how.flip_share).float(),
            hue=torch.where(uniform() < how.hue_share, how.hue * (2 * uniform() - 1), 0.0) * ~self.monochrome[rows],
            ground=ground,
            ink=ink,
        )

    def paint(self, rows: Tensor, placement: Placement, side_px: int) -> Tensor:
        """Return the rows' pictures [B,3,side,side] in -1..1, moved and painted as ``placement`` says."""
        layers = self._layers_for(side_px)[rows].float() / 255
        colour, alpha = layers[:, :3], layers[:, 3:]
        inked = alpha * placement.ink[:, :, None, None]
        colour = torch.where(self.monochrome[rows][:, None, None, None], inked, turn_hue(colour, placement.hue))
        moved = move(torch.cat([colour, alpha], dim=1), placement)
        painted = moved[:, :3] + (1 - moved[:, 3:]) * placement.ground[:, :, None, None]
        return shrink(painted, side_px).clamp(0, 1) * 2 - 1

    def forget(self, rows: Tensor) -> None:
        """Let none of these rows [N] be anybody's partner."""
        partners = torch.where(torch.isin(self.partners, rows), -1, self.partners)
        known_first = (partners < 0).to(torch.uint8).argsort(dim=1, stable=True)
        self.partners, self.apart = partners.gather(1, known_first), self.apart.gather(1, known_first)

    def partner(self, rows: Tensor, generator: Generator, *, within_bits: int = HASH_BITS) -> Tensor:
        """For each row, one that shows the same subject elsewhere, or the row itself where there is none [B].

        Only drawings whose perceptual hash differs in at most ``within_bits`` are chosen from.
        """
        found = self.partners[rows]
        alike = (found >= 0) & (self.apart[rows] <= within_bits)
        chance = torch.rand(found.shape, device=rows.device, generator=generator)
        choice = torch.where(alike, chance, -1).argmax(1, keepdim=True)
        return torch.where(alike.any(1), found.gather(1, choice)[:, 0], rows)


def same_subject(records: Sequence[Any]) -> Tensor:
    """Partners [R,8]: rows of the same subject in another style, in a fixed order, coloured ones first, -1 behind."""
    by_subject: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        by_subject[record.subject].append(row)
    partners = torch.full((len(records), MOST_PARTNERS), -1)
    for row, record in enumerate(records):
        others = [other for other in by_subject[record.subject] if records[other].style != record.style]
        others.sort(key=lambda other: (records[other].monochrome, other))
        kept = others[:MOST_PARTNERS]
        partners[row, : len(kept)] = torch.tensor(kept, dtype=torch.long)
    return partners


def bits_apart(records: Sequence[Any], partners: Tensor) -> Tensor:
    """In how many bits [R,8] the perceptual hashes of rows and their partners differ; 0 where one is not known."""
    hashes = [int(record.phash, 16) if record.phash else None for record in records]

    def apart(one: int | None, other: int) -> int:
        left, right = one, hashes[other] if other >= 0 else None
        return 0 if left is None or right is None else (left ^ right).bit_count()

    rows = [[apart(hashes[row], other) for other in others] for row, others in enumerate(partners.tolist())]
    return torch.tensor(rows, dtype=torch.long).reshape(partners.shape)


def random_paint(uniform: Any, how: Augmentation, monochrome: Tensor) -> tuple[Tensor, Tensor]:
    """Grounds and inks [B,3] in 0..1: white grounds and black inks by share, else random ones that contrast."""
    light = 0.65 + 0.35 * uniform(3)
    dark = 0.55 * uniform(3)
    swapped = (uniform() < 0.3)[:, None]
    white = (uniform() >= how.ground_share)[:, None]
    black = (uniform() < how.black_ink_share)[:, None]
    ground = torch.where(white, torch.ones_like(light), torch.where(swapped, dark, light))
    free = torch.where(white | ~swapped, dark * 1.3, light)
    ink = torch.where(black & (white | ~swapped), torch.zeros_like(free), free)
    return ground, ink * monochrome[:, None]


def turn_hue(colour: Tensor, radians: Tensor) -> Tensor:
    """Rotate colours [B,3,S,S] about the grey axis by an angle [B]; greys stay.

    Rodrigues' formula with the axis k = (1,1,1)/√3: x·cos + (k×x)·sin + mean(x)·(1 - cos).
    """
    cosine, sine = (wave(radians)[:, None, None, None] for wave in (torch.cos, torch.sin))
    across = (colour.roll(1, dims=1) - colour.roll(-1, dims=1)) / math.sqrt(3)
    turned = colour * cosine + across * sine + colour.mean(1, keepdim=True) * (1 - cosine)
    return turned.clamp(0, 1)


def move(layers: Tensor, placement: Placement) -> Tensor:
    """Scale, shift and mirror [B,C,S,S]; beyond the edge is transparent."""
    shrink_by = torch.exp2(-placement.scale)
    mirror = 1 - 2 * placement.flip
    theta = torch.zeros(len(layers), 2, 3, device=layers.device)
    theta[:, 0, 0], theta[:, 1, 1] = shrink_by * mirror, shrink_by
    theta[:, 0, 2] = -2 * placement.shift[:, 0] * shrink_by * mirror
    theta[:, 1, 2] = -2 * placement.shift[:, 1] * shrink_by
    grid = F.affine_grid(theta, list(layers.shape), align_corners=False)
    return F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def shrink(picture: Tensor, side_px: int) -> Tensor:
    """Mean over whole boxes where the sides divide, antialiased bicubic elsewhere.  [B,3,S,S] -> [B,3,side,side]."""
    stored = picture.shape[-1]
    if stored % side_px == 0:
        return F.avg_pool2d(picture, stored // side_px) if stored != side_px else picture
    return F.interpolate(picture, (side_px, side_px), mode="bicubic", antialias=True, align_corners=False)
