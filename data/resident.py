"""Where a corpus lives while it is learnt from: on the device as bytes if it fits, else on disk, read batch by batch.

Shapes: R rows of the bank, B batch, S stored side.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.dataset import Dataset
from data.errors import DataError
from data.fetch import Fetch
from data.order import Places

# The rest is for the network, its optimizer and what a step computes.
SHARE_OF_MEMORY = 0.4
CHUNK = 64
AHEAD = 8


class Layers(Protocol):
    """Pictures by row: colour and straight alpha multiplied, [R,4,S,S] uint8, whether in memory or not."""

    def __len__(self) -> int:
        """Return R."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return [B,4,S,S] uint8 on the device of the rows."""

    def to(self, device: torch.device | str) -> Layers:
        """Return the same for another device."""


class StreamedLayers:
    """Layers that are read and decoded when asked for; ``ahead`` begins with a batch before that."""

    def __init__(self, dataset: Dataset, rows: Sequence[int] | Places, threads: int | None = None) -> None:
        """Bank row i is ``rows[i]`` of the dataset."""
        self._rows = np.asarray(rows, dtype=np.int64)
        self._fetch = Fetch(dataset, side_px=None, ground=None, checked=False)
        self._pool = ThreadPoolExecutor(threads or os.cpu_count(), thread_name_prefix="decode")
        self._begun: OrderedDict[bytes, list[Future[Tensor]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        places = rows.cpu().numpy()
        parts = self._begun.pop(places.tobytes(), None) or self._begin(places)
        straight = torch.cat([part.result() for part in parts]) if parts else torch.zeros(0, 4, 1, 1, dtype=torch.uint8)
        return premultiplied(straight.to(rows.device, non_blocking=True))

    def ahead(self, rows: Tensor) -> None:
        """Begin to read a batch that will be asked for as it is."""
        places = rows.cpu().numpy()
        self._begun[places.tobytes()] = self._begin(places)
        while len(self._begun) > AHEAD:
            self._begun.popitem(last=False)

    def to(self, device: torch.device | str) -> StreamedLayers:
        """Return itself: batches go to the device of the rows that ask for them."""
        return self

    def _begin(self, places: Places) -> list[Future[Tensor]]:
        parts = [self._rows[places[begin : begin + CHUNK]] for begin in range(0, len(places), CHUNK)]
        return [self._pool.submit(self._read, part) for part in parts]

    def _read(self, rows: Places) -> Tensor:
        # Whole tensors of channels first: what follows on the device is fastest with them.
        pictures = torch.from_numpy(self._fetch.pictures(rows)).permute(0, 3, 1, 2).contiguous()
        return pictures.pin_memory() if torch.cuda.is_available() else pictures


def resident_layers(dataset: Dataset, rows: Sequence[int] | Places) -> Tensor:
    """Decode rows of a dataset on all cores: [R,4,S,S] uint8, colour multiplied by alpha."""
    streamed = StreamedLayers(dataset, rows)
    places = torch.arange(len(streamed))
    side_px = dataset.card.picture_px
    layers = torch.empty(len(streamed), 4, side_px, side_px, dtype=torch.uint8)
    for begin in range(0, len(streamed), 4096):
        layers[begin : begin + 4096] = streamed[places[begin : begin + 4096]]
    return layers


def lives_on_device(dataset: Dataset, rows: int, setting: bool | str = "auto") -> bool:
    """Return whether rows of a dataset are to be resident: as the setting says, or by size.

    Raises:
        DataError: the setting is none of auto, true and false.
    """
    if isinstance(setting, bool):
        return setting
    if setting != "auto":
        raise DataError(f"dataset.resident is {setting!r}: it must be auto, true or false")
    return rows * 4 * dataset.card.picture_px**2 <= SHARE_OF_MEMORY * free_bytes()


def free_bytes() -> int:
    """Return the memory that is free where training will run: the GPU's, else this machine's."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def premultiplied(straight: Tensor) -> Tensor:
    """Multiply colour by alpha: [R,4,S,S] uint8 -> the same, in chunks to bound memory."""
    for part in straight.split(4096):
        alpha = part[:, 3:].float() / 255
        part[:, :3] = (part[:, :3].float() * alpha).round().to(torch.uint8)
    return straight
