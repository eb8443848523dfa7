"""Keeps revoked rows out of an order that is being trained on, from the next batch after the revocation.

A position of the order that falls on a revoked row gives the row of the next position that does not. All other
positions stay as they were, so the rest of the run is what it would have been; it depends on the position alone, so
that ranks, workers and a resumed run agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from data.errors import DataError
from data.revocations import Mask, Revocations

Rows = NDArray[np.int64]


class Order(Protocol):
    """A sequence of rows by position: ``data.order.SampleOrder``."""

    def at(self, position: int, count: int) -> Rows:
        """Return the rows at ``count`` positions from ``position`` on."""


def unrevoked(order: Order, position: int, count: int, revoked: Mask) -> Rows:
    """Return the rows at ``count`` positions, each revoked one replaced by that of the next position that is not.

    Args:
        revoked: which of the order's rows are revoked, bool [R].

    Raises:
        DataError: all rows are revoked.
    """
    rows = order.at(position, count)
    sound = ~revoked[rows]
    ahead = count
    while not sound[count - 1 :].any():
        if ahead > 32 * len(revoked):  # an epoch holds each row at most a few times
            raise DataError("every row to learn from is revoked: nothing is left to train on")
        rows = np.concatenate([rows, order.at(position + len(rows), ahead)])
        sound, ahead = ~revoked[rows], 2 * ahead
    places = np.where(sound, np.arange(len(rows)), len(rows))
    following = np.minimum.accumulate(places[::-1])[::-1]
    return rows[following[:count]]


class UnrevokedOrder:
    """An order of places in ``rows`` of a dataset that looks at the list of revocations before each batch.

    Args:
        rows: the dataset's row of each place that ``order`` gives.
        revocations: the list as it stood when ``order`` was made.
        on_change: told the position from which another list holds, and which places [len(rows)] are revoked by it.
    """

    def __init__(
        self,
        order: Order,
        dataset: Dataset,
        rows: Sequence[int],
        revocations: Revocations,
        on_change: Callable[[int, Revocations, Mask], None] = lambda position, revocations, revoked: None,
    ) -> None:
        self.order, self.dataset, self.rows = order, dataset, np.asarray(rows)
        self.revocations, self.on_change = revocations, on_change
        self.revoked = self._places(revocations)

    def at(self, position: int, count: int) -> Rows:
        """Return the rows at positions ``position`` to ``position + count``, none of them revoked by now.

        Raises:
            RevocationError: the list changed and cannot be trusted.
            DataError: all rows are revoked.
        """
        if self.revocations.changed():
            self.revocations = self.revocations.refreshed()
            self.revoked = self._places(self.revocations)
            self.on_change(position, self.revocations, self.revoked)
        if not self.revoked.any():
            return self.order.at(position, count)
        return unrevoked(self.order, position, count, self.revoked)

    def _places(self, revocations: Revocations) -> Mask:
        dataset = self.dataset
        whole = revocations.rows(dataset.index, version=dataset.card.version, records=lambda: dataset.records)
        return whole[self.rows]
