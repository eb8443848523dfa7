"""How often a run showed some rows of a dataset: counted again where its order is known, else expected.

Legend: R rows of the dataset, P places of the order (rows that the run could draw).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from data.order import SampleOrder
from data.revocations import Mask, Revocations
from data.unrevoked import unrevoked
from training.balance import balanced

POSITIONS_AT_ONCE = 1_000_000
DEFAULT_COLOUR_SHARE = 0.6

Card = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How many times some works were shown together; ``is_exact`` where it was counted and not estimated."""

    times: float
    is_exact: bool

    def __add__(self, other: Exposure) -> Exposure:
        """Return both together: exact if both are."""
        return Exposure(times=self.times + other.times, is_exact=self.is_exact and other.is_exact)


NOT_SHOWN = Exposure(times=0, is_exact=True)


def exposure(card: Card, entry: Card, dataset: Dataset, rows: Sequence[int]) -> Exposure:
    """Return how often the run that a card tells of showed some rows of one of its datasets.

    Args:
        entry: what the card says of the dataset; its ``order`` names a recipe of ``RECIPES`` where the run's order
            can be retraced.
        dataset: that version, with the list of revocations as it is now.
    """
    retraced = counted(entry.get("order") or {}, dataset, rows)
    return expected(card, entry, dataset, rows) if retraced is None else retraced


def expected(card: Card, entry: Card, dataset: Dataset, rows: Sequence[int]) -> Exposure:
    """Return pictures shown · weight of the rows / weight of all, as a run without a retraceable order gives it."""
    shown = int(entry.get("exposure_pictures") or (card.get("run") or {}).get("images_seen") or 0)
    everything = Dataset(dataset.folder, dataset.card, dataset.index, Revocations([]))
    share = ((card.get("config") or {}).get("dataset") or {}).get("colour_share", DEFAULT_COLOUR_SHARE)
    recipe = RECIPES["balanced" if card.get("kind") == "backbone" else "all"]
    learnt, places = recipe({"colour_share": share}, everything)
    weights = np.bincount(learnt[places], minlength=len(dataset))
    part = weights[np.asarray(rows, dtype=np.int64)].sum() / max(1, weights.sum())
    return Exposure(times=float(shown * part), is_exact=not part)


def counted(order: Card, dataset: Dataset, rows: Sequence[int]) -> Exposure | None:
    """Retrace an order list by list: each holds from its position to that of the next.

    None where that gives another order than the run's, by its digest, or the run has not ended.
    """
    if order.get("recipe") not in RECIPES or not order.get("lists") or "pictures" not in order:
        return None
    lists, end = order["lists"], int(order["pictures"])
    began = dataset.revocations.until(int(lists[0]["through"]))
    start = Dataset(dataset.folder, dataset.card, dataset.index, began)
    learnt, places = RECIPES[order["recipe"]](order, start)
    drawn = SampleOrder(places, seed=int(order["seed"]))
    if drawn.digest() != order.get("sha256"):
        return None
    wanted = np.zeros(len(dataset), dtype=np.bool_)
    wanted[np.asarray(rows, dtype=np.int64)] = True
    times, bounds = 0, [*(int(one["position"]) for one in lists[1:]), end]
    position = 0
    for one, bound in zip(lists, bounds, strict=True):
        revoked = _revoked(dataset, int(one["through"]))[learnt]
        times += _shown(drawn, position, min(bound, end), wanted[learnt], revoked)
        position = min(bound, end)
    return Exposure(times=times, is_exact=True)


def _shown(order: SampleOrder, begin: int, end: int, wanted: Mask, revoked: Mask) -> int:
    """Count the positions from ``begin`` to ``end`` that gave a wanted place, bool [P]."""
    if not revoked.any():
        return _shown_before(order, end, wanted) - _shown_before(order, begin, wanted)
    times = 0
    for position in range(begin, end, POSITIONS_AT_ONCE):
        places = unrevoked(order, position, min(POSITIONS_AT_ONCE, end - position), revoked)
        times += int(wanted[places].sum())
    return times


def _shown_before(order: SampleOrder, position: int, wanted: Mask) -> int:
    """Count the same from the start: whole epochs show every place that they hold."""
    epochs, rest = divmod(position, len(order.rows))
    return epochs * int(wanted[order.rows].sum()) + int(wanted[order.at(position - rest, rest)].sum())


def _revoked(dataset: Dataset, through: int) -> Mask:
    then = dataset.revocations.until(through)
    return then.rows(dataset.index, version=dataset.card.version, records=dataset.each_record)


def _balanced_places(order: Card, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``training/train.py`` draws: rows of split train, the coloured ones repeated."""
    rows = dataset.rows(split="train")
    places = balanced(dataset, rows, order["colour_share"]) if rows else []
    return np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64)


def _all_places(order: Card, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``training/brand.py`` draws: each row once an epoch."""
    rows = np.array(dataset.rows(), dtype=np.int64)
    return rows, np.arange(len(rows))


# How an order follows from a dataset: the row of each place, and the places of an epoch.
RECIPES: Mapping[str, Callable[[Card, Dataset], tuple[NDArray[np.int64], NDArray[np.int64]]]] = {
    "balanced": _balanced_places,
    "all": _all_places,
}
