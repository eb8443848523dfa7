"""Which samples make up each step: batches that run across epochs, or batches of one shape that lose no sample.

Shapes: N samples of an epoch, K buckets, B pictures of one rank. A batch is global: ranks take slices of it, so that
the sequence of samples depends on neither ranks nor workers.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from data.errors import DataError
from data.order import Places, SampleOrder, Shuffle


class Step(NamedTuple):
    """One rank's part of a batch: rows [B], which of them are no padding [B], and positions in samples.

    The real rows stand first; they are the samples at ``begin`` and after. ``end`` is where the next batch begins.
    """

    rows: Places
    real: NDArray[np.bool_]
    begin: int
    end: int


class Plan(Protocol):
    """The steps of a run from any position on."""

    def steps(self, position: int, rank: int, ranks: int) -> Iterator[Step]:
        """Yield this rank's steps from a position on, for ever; as many on every rank."""

    def digest(self) -> str:
        """Return the SHA-256 of all that decides the steps."""


class AcrossEpochs:
    """Whole batches always: one that reaches the end of an epoch goes on with the first samples of the next."""

    def __init__(self, order: SampleOrder, *, batch: int) -> None:
        self.order = order
        self.batch = batch

    def digest(self) -> str:
        """Return the order's: a batch may have another size after a resumption."""
        return self.order.digest()

    def steps(self, position: int, rank: int, ranks: int) -> Iterator[Step]:
        """As ``Plan``.

        Raises:
            DataError: the ranks cannot share a batch evenly.
        """
        if self.batch % ranks:
            raise DataError(f"a batch of {self.batch} cannot be shared evenly by {ranks} ranks: take a multiple")
        share = self.batch // ranks
        real = np.ones(share, dtype=np.bool_)
        for end in count(position + self.batch, self.batch):
            begin = end - self.batch + rank * share
            yield Step(self.order.at(begin, share), real, begin, end)


class Buckets:
    """Batches of one shape each. In every epoch each sample stands in exactly one of them.

    What is left of a bucket behind its whole batches is a smaller batch, not lost and not put off; the batches of all
    buckets are shuffled. Where a small batch does not divide by the ranks, the last ranks' parts are filled up with
    its first rows, which ``Step.real`` leaves out, so that all ranks make the same number of steps.
    Everything is computed from (seed, epoch, step): nothing is stored but the rows.
    """

    def __init__(self, rows: Places, shapes: NDArray[np.int64], *, batch: int, seed: int) -> None:
        """``shapes`` [N]: a number a row; equal ones share a bucket."""
        if not len(rows):
            raise DataError("there is nothing to learn from: the dataset has no row of split train")
        if batch < 1:
            raise DataError(f"a batch of {batch} pictures is none: it must be 1 or more")
        _, numbers, sizes = np.unique(shapes, return_inverse=True, return_counts=True)
        self.batch, self.seed, self.count = batch, seed, len(rows)
        self.sizes = sizes
        self.groups = np.split(rows[np.argsort(numbers, kind="stable")], np.cumsum(sizes)[:-1])
        self._ends = np.cumsum(-(-sizes // batch))  # of each bucket's batches
        self.steps_per_epoch = int(self._ends[-1])
        self._small = self._ends[sizes % batch > 0] - 1  # the last batch of a bucket, where it is not whole
        self._lacking = (-sizes % batch)[sizes % batch > 0]

    @classmethod
    def of(cls, dataset: Dataset, order: SampleOrder, *, batch: int) -> Buckets:
        """Return the buckets of a dataset's picture shapes for the rows of an order."""
        width, height = (dataset.index.column(name)[order.rows].astype(np.int64) for name in ("width_px", "height_px"))
        return cls(order.rows, width << 16 | height, batch=batch, seed=order.seed)

    def steps(self, position: int, rank: int, ranks: int) -> Iterator[Step]:
        """As ``Plan``.

        Raises:
            DataError: the position is not where a batch of this size begins.
        """
        epoch, step = self.step_at(position)
        while True:
            yield self._shared(self.rows(epoch, step), position, rank, ranks)
            position = epoch * self.count + self.samples_before(epoch, step + 1)
            epoch, step = (epoch + 1, 0) if step + 1 == self.steps_per_epoch else (epoch, step + 1)

    def rows(self, epoch: int, step: int) -> Places:
        """Return the rows of a step's whole batch."""
        number = int(Shuffle(self.steps_per_epoch, self.seed, epoch)(np.array([step]))[0])
        bucket = int(np.searchsorted(self._ends, number, side="right"))
        group = self.groups[bucket]
        begin = (number - (int(self._ends[bucket - 1]) if bucket else 0)) * self.batch
        places = np.arange(begin, min(begin + self.batch, len(group)))
        return group[Shuffle(len(group), self.seed, epoch, bucket + 1)(places)]

    def samples_before(self, epoch: int, step: int) -> int:
        """Return how many samples the steps of an epoch before ``step`` hold."""
        small = Shuffle(self.steps_per_epoch, self.seed, epoch).places_of(self._small) < step
        return step * self.batch - int(self._lacking[small].sum())

    def step_at(self, position: int) -> tuple[int, int]:
        """Return the epoch and step that begin at a position.

        Raises:
            DataError: none does.
        """
        epoch, offset = divmod(position, self.count)
        step = bisect_left(range(self.steps_per_epoch), offset, key=lambda step: self.samples_before(epoch, step))
        if self.samples_before(epoch, step) != offset:
            raise DataError(f"no batch of {self.batch} begins at sample {position:,}: resume with the batch of the run")
        return epoch, step

    def digest(self) -> str:
        """Return the SHA-256 of all that decides the steps."""
        told = hashlib.sha256(f"buckets {self.batch} {self.seed} ".encode())
        for group in self.groups:
            told.update(np.ascontiguousarray(group, dtype="<i8").data)
        return told.hexdigest()

    def _shared(self, rows: Places, position: int, rank: int, ranks: int) -> Step:
        share = -(-len(rows) // ranks)
        begin = min(rank * share, len(rows))
        own = rows[begin : begin + share]
        padding = np.resize(rows, share - len(own))
        real = np.arange(share) < len(own)
        return Step(np.concatenate([own, padding]), real, position + begin, position + len(rows))
