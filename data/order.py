"""The order of samples: a function of (seed, epoch, position), never of the number of workers or ranks.

A position counts samples from the start of training; an epoch is one pass over all rows, rows with a weight of w
standing w times in it. Nothing is shuffled in memory: any stretch of any epoch is computed where it is asked for.

Legend: N places of an epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from data.errors import DataError

ROUNDS = 8
Places = NDArray[np.int64]


class Shuffle:
    """A permutation of 0 … N-1 by a key, in constant memory: a Feistel network that walks its cycles.

    A place is two digits (l, r) in base s = ⌈√N⌉; a round is (l, r) → (r, (l + f(r, key)) mod s). Where that leads to
    N or beyond, it goes on from there (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"); fewer than
    2√N of s² places are.
    """

    def __init__(self, count: int, *key: int) -> None:
        self.count = count
        self._side = np.uint64(isqrt(count - 1) + 1)
        self._keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)

    def __call__(self, places: Places) -> Places:
        """Return what stands at these places [M] of the shuffled sequence."""
        return self._walked(places, self._forth)

    def places_of(self, values: Places) -> Places:
        """Return where these values [M] stand in the shuffled sequence."""
        return self._walked(values, self._back)

    def _walked(self, start: Places, step: _Step) -> Places:
        found = step(start.astype(np.uint64))
        while len(beyond := np.flatnonzero(found >= self.count)):
            found[beyond] = step(found[beyond])
        return found.astype(np.int64)

    def _forth(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values // self._side, values % self._side
        for key in self._keys:
            left, right = right, (left + mixed(right + key) % self._side) % self._side
        return left * self._side + right

    def _back(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values // self._side, values % self._side
        for key in self._keys[::-1]:
            left, right = (right + self._side - mixed(left + key) % self._side) % self._side, left
        return left * self._side + right


class _Step(Protocol):
    def __call__(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]: ...


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every bit of the input stirs every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Order(Protocol):
    """A sequence of rows by position."""

    def at(self, position: int, count: int) -> Places:
        """Return the rows at ``count`` positions from ``position`` on."""


class SampleOrder:
    """A seeded shuffle of rows for every epoch, without replacement within one."""

    def __init__(self, rows: Sequence[int] | Places, *, seed: int) -> None:
        if not len(rows):
            raise DataError("there is nothing to learn from: the dataset has no row of split train")
        self.rows = np.asarray(rows, dtype=np.int64)
        self.seed = seed

    def at(self, position: int, count: int) -> Places:
        """Return the rows at positions ``position`` to ``position + count``, across epochs where need be."""
        parts = [np.zeros(0, dtype=np.int64)]
        while count:
            epoch, offset = divmod(position, len(self.rows))
            here = min(count, len(self.rows) - offset)
            parts.append(self.rows[self.shuffle(epoch)(np.arange(offset, offset + here))])
            position, count = position + here, count - here
        return np.concatenate(parts)

    def shuffle(self, epoch: int) -> Shuffle:
        """Return the permutation of an epoch's places."""
        return Shuffle(len(self.rows), self.seed, epoch)

    def times_shown(self, row: int, position: int) -> int:
        """Return how often a row stands before ``position``, by computing where it stands in the last epoch."""
        epoch, offset = divmod(position, len(self.rows))
        places = np.flatnonzero(self.rows == row)
        return epoch * len(places) + int((self.shuffle(epoch).places_of(places) < offset).sum())

    def digest(self) -> str:
        """Return the SHA-256 of all that decides the order: two runs with the same one see the same samples."""
        told = hashlib.sha256(f"feistel-{ROUNDS} {self.seed} ".encode())
        told.update(np.ascontiguousarray(self.rows, dtype="<i8").data)
        return told.hexdigest()


class StepRows(IterableDataset[torch.Tensor]):
    """For each step from ``first_step`` on, this rank's rows [batch] of the global batch.

    ``position`` is where the first of these steps begins; told nothing, all steps before it were as large.
    """

    def __init__(
        self, order: Order, *, first_step: int, batch: int, rank: int, ranks: int, position: int | None = None
    ) -> None:
        self.order = order
        self.first_step = first_step
        self.batch = batch
        self.rank = rank
        self.ranks = ranks
        self.position = first_step * ranks * batch if position is None else position

    def __iter__(self) -> Iterator[torch.Tensor]:
        position = self.position + self.rank * self.batch
        while True:
            yield torch.from_numpy(self.order.at(position, self.batch))
            position += self.ranks * self.batch
