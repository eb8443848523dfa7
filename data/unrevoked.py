"""Keeps revoked rows out of an order that is being trained on, from the next batch after the revocation.

A position of the order that falls on a revoked row gives the row of the next position that does not. All other
positions stay as they were, so the rest of the run is what it would have been; it depends on the position alone, so
that ranks, workers and a resumed run agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from data.errors import DataError
from data.order import Order
from data.revocations import Mask, Revocations

Rows = NDArray[np.int64]


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
        dataset: as it was opened, with the list of that moment.
        rows: the dataset's row of each place that ``order`` gives.
        on_change: told the position from which a list holds, the first one too, and the places that it revokes.
    """

    def __init__(
        self,
        order: Order,
        dataset: Dataset,
        rows: Sequence[int],
        on_change: Callable[[int, Revocations, NDArray[np.intp]], None] = lambda position, revocations, places: None,
    ) -> None:
        self.order, self.dataset, self.rows = order, dataset, np.asarray(rows)
        self.revocations, self.on_change = dataset.revocations, on_change
        self._revoked: Mask | None = None

    def at(self, position: int, count: int) -> Rows:
        """Return the rows at positions ``position`` to ``position + count``, none of them revoked by now.

        Raises:
            RevocationError: the list changed and cannot be trusted.
            DataError: all rows are revoked.
        """
        revoked = self._revoked_from(position)
        return unrevoked(self.order, position, count, revoked) if revoked.any() else self.order.at(position, count)

    def _revoked_from(self, position: int) -> Mask:
        """Return which places are revoked by now, reading the list where it is another than at the last look."""
        if self._revoked is None or self.revocations.changed():
            self.revocations, dataset = self.revocations.refreshed(), self.dataset
            whole = self.revocations.rows(dataset.index, version=dataset.card.version, records=dataset.each_record)
            self._revoked = whole[self.rows]
            self.on_change(position, self.revocations, np.flatnonzero(self._revoked))
        return self._revoked
