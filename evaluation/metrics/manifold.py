"""Precision, recall, density and coverage: how two sets of pictures lie among each other's nearest neighbours.

Shapes: features [N,D] and [M,D], neighbours [N,K], pairs [P], jackknife groups G and H.  A picture's ball reaches to
its k-th nearest neighbour within its own set.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluation.intervals import Estimate, Interval, group_of_rows, share_interval
from evaluation.metrics.balls import Held, Holding
from evaluation.metrics.checked import checked_pair, same_count
from evaluation.metrics.neighbours import Across, nearest_neighbours, stripe_rows
from evaluation.metrics.screening import screens
from evaluation.metrics.sharing import spread, stripes

MANIFOLD_NEIGHBOURS = 3
COVERAGE_NEIGHBOURS = 5


def precision(real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the share of made pictures that lie in the ball (k = 3) of a real one.  Kynkäänniemi et al. 2019, Eq. 1.

    Raises NotComparableError for sets of two sizes, EvaluationError for features that cannot be measured.
    """
    return neighbour_estimates(real_ND, made_ND, names)["precision"]


def recall(real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the share of real pictures that lie in the ball (k = 3) of a made one.  Raises as ``precision`` does."""
    return neighbour_estimates(real_ND, made_ND, names)["recall"]


def density(real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the mean number of real balls (k = 5) that a made picture lies in, over k.  Naeem et al. 2020, Eq. 3.

    Raises as ``precision`` does.
    """
    return neighbour_estimates(real_ND, made_ND, names)["density"]


def coverage(real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the share of real pictures whose ball (k = 5) holds a made one.  Naeem et al. 2020, Eq. 4.

    Raises as ``precision`` does.
    """
    return neighbour_estimates(real_ND, made_ND, names)["coverage"]


def neighbour_estimates(
    real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")
) -> Mapping[str, Estimate]:
    """Return all four of one look at the neighbours, with their jackknives (docs/adr/0013).

    Raises NotComparableError for sets of two sizes, EvaluationError for features that cannot be measured.
    """
    real_ND, made_ND = checked_pair(real_ND, made_ND)
    same_count(real_ND, made_ND, "a figure of nearest neighbours")
    table = _Table.of(real_ND, made_ND)
    first, *others = stripes(len(made_ND), stripe_rows(len(real_ND)))
    # Where the first stripe is crowded the others will be: they need not be tried pair by pair.
    crowded = not table.look(first)
    spread(table.look_at_all if crowded else table.look, others)
    return table.estimates(names)


@dataclass(frozen=True)
class _Table:
    """Both sets with their neighbours, and what is counted of them while stripes of made pictures pass by."""

    across: Across
    into_real: Held  # made points in real balls
    into_made: Held  # real points in made balls
    wide: Holding  # real balls and the made points in them
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, real_ND: Tensor, made_ND: Tensor) -> _Table:
        most = len(real_ND) - 1
        first, second = screens(real_ND, made_ND)
        real = nearest_neighbours(first, min(2 * COVERAGE_NEIGHBOURS, most))
        made = nearest_neighbours(second, min(2 * MANIFOLD_NEIGHBOURS, most))
        across = Across(first, second, real, made)
        return cls(
            across,
            Held.empty(real, MANIFOLD_NEIGHBOURS),
            Held.empty(made, MANIFOLD_NEIGHBOURS),
            Holding.empty(real, COVERAGE_NEIGHBOURS),
        )

    def look(self, rows: slice) -> bool:
        """Count a stripe of made pictures, and return whether few enough pairs were close to be taken one by one."""
        pairs = self.across.pairs(rows)
        if pairs is None:
            self.look_at_all(rows)
            return False
        with self.lock:
            self.into_real.add(pairs)
            self.into_made.add(pairs.swapped())
            self.wide.add(pairs)
        return True

    def look_at_all(self, rows: slice) -> None:
        """Count a stripe of made pictures, all pairs at once."""
        for columns, squared_BC in self.across.tiles(rows):
            with self.lock:
                self.into_real.add_tile(columns, rows, squared_BC.T, self.across.between)
                self.into_made.add_tile(rows, columns, squared_BC, self.across.between_swapped)
                self.wide.add_tile(columns, rows, squared_BC.T)

    def estimates(self, names: tuple[str, str]) -> Mapping[str, Estimate]:
        real, made = names
        return {
            "precision": _held_share(self.into_real, owners=real, points=made),
            "recall": _held_share(self.into_made, owners=made, points=real),
            "density": _density(self.wide, owners=real, points=made),
            "coverage": _holding_share(self.wide, owners=real, points=made),
        }


def _held_share(held: Held, *, owners: str, points: str) -> Estimate:
    """Return the share of points in any ball."""
    shown_N = held.any.double()
    left_out = {owners: held.any_without.double().mean(dim=0), points: _mean_without_each(shown_N)}
    return _share(shown_N, left_out, points)


def _holding_share(holding: Holding, *, owners: str, points: str) -> Estimate:
    """Return the share of balls with any point."""
    count, sizes_G = len(holding.held), group_of_rows(len(holding.held)).bincount()
    points_N1 = holding.of_group.sum(dim=1, keepdim=True)
    by_owner = (holding.without > 0).double().sum(dim=0) / (count - sizes_G)
    by_point = (points_N1 > holding.of_group).double().mean(dim=0)
    return _share((points_N1[:, 0] > 0).double(), {owners: by_owner, points: by_point}, owners)


def _density(holding: Holding, *, owners: str, points: str) -> Estimate:
    count = len(holding.held)
    scale = 1 / (holding.nearest * count)
    value = int(holding.held.sum()) * scale
    by_owner = holding.without.sum(dim=0).double() * scale
    left_out = {owners: by_owner, points: _mean_without_each(holding.held.double() / holding.nearest)}
    # Where no picture lies in any ball the jackknife sees nothing: then at least as many may as Wilson's share says.
    highest = share_interval(0, count).high / holding.nearest
    least = {points: Interval(value, value, value + (highest if value == 0 else 0))}
    return Estimate(value, left_out, least, (0.0, float("inf")))


def _share(shown_N: Tensor, left_out: Mapping[str, Tensor], counted: str) -> Estimate:
    """Return a share of the set ``counted``, whose part of the interval is at least Wilson's."""
    interval = share_interval(int(shown_N.sum()), len(shown_N))
    return Estimate(interval.value, left_out, {counted: interval}, (0.0, 1.0))


def _mean_without_each(values_N: Tensor) -> Tensor:
    group_N = group_of_rows(len(values_N))
    sums_G = torch.zeros(int(group_N.max()) + 1, dtype=torch.float64).index_add_(0, group_N, values_N)
    return (values_N.sum() - sums_G) / (len(values_N) - group_N.bincount())
