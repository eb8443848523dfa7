"""Reads and decodes the pictures of one step: what a loader's workers do.

Shapes: B pictures of one rank, C 4 with alpha or 3 over a ground, H W pixels.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ImageColor
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from data.buckets import Step
from data.dataset import Dataset
from data.decode import Pixels, decode, decode_into, over_ground, resized
from data.errors import DataError, DatasetError
from data.record import Record
from data.shards import unpack_picture, unpack_sample


class Batch(NamedTuple):
    """What a step is given: rows [B], pictures [B,C,H,W] uint8, which are no padding [B], positions in samples."""

    rows: Tensor
    pictures: Tensor
    real: Tensor
    begin: int
    end: int


class Broken(NamedTuple):
    """What a worker found instead of a batch; raised in the main process, without the worker's traceback."""

    told: str


class Fetch(TorchDataset[Any]):
    """Reads and decodes the rows of one step; sent to workers, it takes no row with it."""

    def __init__(self, dataset: Dataset, *, side_px: int | None, ground: str | None, checked: bool) -> None:
        """``side_px``, ``ground`` and ``checked`` as ``data.loader.StreamSettings`` has them."""
        self.dataset = dataset
        self.side_px = side_px
        self.ground = ImageColor.getrgb(ground)[:3] if ground else None
        self.checked = checked

    def __getitem__(self, step: Step) -> Batch | Broken:
        """Return the batch of a step."""
        try:
            pictures = self.pictures(step.rows)
        except DatasetError as error:
            return Broken(str(error))
        if self.ground is not None:
            pictures = over_ground(pictures, self.ground)
        # Channels first by strides alone: torch knows the layout as channels_last.
        shown = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        return Batch(torch.from_numpy(step.rows), shown, torch.from_numpy(step.real), step.begin, step.end)

    def pictures(self, rows: Any) -> Pixels:
        """Return rows [B] as pixels [B,H,W,4].

        Raises:
            DatasetError: names the sample that is damaged.
        """
        index, shards = self.dataset.index, self.dataset.shards
        out = np.empty((len(rows), *self._size(int(rows[0])), 4), np.uint8)
        spans = zip(*(index.column(name)[rows].tolist() for name in ("shard", "offset", "length")), strict=True)
        for place, span in enumerate(spans):
            try:
                self._read(shards.read(*span), int(rows[place]), out[place])
            except DataError as error:
                file = self.dataset.card.shards[span[0]].file
                key = index[int(rows[place])].key
                raise DatasetError(f"{self.dataset.folder / file}: sample {key}: {error}") from None
        return out

    def _read(self, span: bytes, row: int, out: Pixels) -> None:
        if self.checked:
            check_digests(span, self.dataset.index.column("sha256")[row].tobytes())
        if self.side_px is None:
            decode_into(unpack_picture(span), out)
        else:
            out[:] = resized(decode(unpack_picture(span)), self.side_px)

    def _size(self, row: int) -> tuple[int, int]:
        if self.side_px is not None:
            return self.side_px, self.side_px
        height, width = (int(self.dataset.index.column(name)[row]) for name in ("height_px", "width_px"))
        return height or self.dataset.card.picture_px, width or self.dataset.card.picture_px


def check_digests(span: bytes, sample_sha256: bytes) -> None:
    """Refuse a sample whose picture is not what its record says, or whose record is not what the index says.

    Raises:
        DatasetError: as above.
    """
    text, picture = unpack_sample(span)
    record = Record.from_json(text)
    if hashlib.sha256(picture).hexdigest() != record.sha256:
        raise DatasetError("its picture's SHA-256 is another")
    if bytes.fromhex(record.sample_sha256()) != sample_sha256:
        raise DatasetError("its record's SHA-256 is another")
