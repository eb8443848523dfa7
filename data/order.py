"""The order of samples: a function of (seed, epoch, position), never of the number of workers or ranks.

A position counts samples from the start of training; an epoch is one pass over all rows, rows with a weight of w
standing w times in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from data.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SampleOrder:
    """A seeded shuffle of rows for every epoch, without replacement within one."""

    rows: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        if not self.rows:
            raise DataError("there is nothing to learn from: the dataset has no row of split train")

    def at(self, position: int, count: int) -> NDArray[np.int64]:
        """Return the rows at positions ``position`` to ``position + count``, across epochs where need be."""
        parts = []
        while count:
            epoch, offset = divmod(position, len(self.rows))
            part = _permuted(self.rows, self.seed, epoch)[offset : offset + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return np.concatenate(parts)


@lru_cache(maxsize=2)
def _permuted(rows: tuple[int, ...], seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(np.array(rows, dtype=np.int64))


class StepRows(IterableDataset[torch.Tensor]):
    """For each step from ``first_step`` on, this rank's rows [batch] of the global batch."""

    def __init__(self, order: SampleOrder, *, first_step: int, batch: int, rank: int, ranks: int) -> None:
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
