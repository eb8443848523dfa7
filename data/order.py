"""The order of samples: a function of (seed, epoch, position), never of the number of workers or ranks.

A position counts samples from the start of training; an epoch is one pass over all rows, rows with a weight of w
standing w times in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from data.errors import DataError


class SampleOrder:
    """A seeded shuffle of rows for every epoch, without replacement within one; the last epoch asked for is kept."""

    def __init__(self, rows: Sequence[int], *, seed: int) -> None:
        if not len(rows):
            raise DataError("there is nothing to learn from: the dataset has no row of split train")
        self.rows = np.array(rows, dtype=np.int64)
        self.seed = seed
        self._kept: tuple[int, NDArray[np.int64]] | None = None

    def at(self, position: int, count: int) -> NDArray[np.int64]:
        """Return the rows at positions ``position`` to ``position + count``, across epochs where need be."""
        parts = []
        while count:
            epoch, offset = divmod(position, len(self.rows))
            part = self._permuted(epoch)[offset : offset + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return np.concatenate(parts)

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.rows)
        return self._kept[1]


class Order(Protocol):
    """A sequence of rows by position."""

    def at(self, position: int, count: int) -> NDArray[np.int64]:
        """Return the rows at ``count`` positions from ``position`` on."""


class StepRows(IterableDataset[torch.Tensor]):
    """For each step from ``first_step`` on, this rank's rows [batch] of the global batch."""

    def __init__(self, order: Order, *, first_step: int, batch: int, rank: int, ranks: int) -> None:
        self.order = order
        self.first_step = first_step
        self.batch = batch
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[torch.Tensor]:
        step = self.first_step
        while True:
            position = (step * self.ranks + self.rank) * self.batch
            yield torch.from_numpy(self.order.at(position, self.batch))
            step += 1
