"""The nearest neighbours of each picture within its set, and the pairs across two sets that lie within their balls.

Shapes: features [N,D], neighbours [N,K], pairs [P].  A picture's ball reaches to its k-th neighbour within its own set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluation.metrics.screening import Desk, Screen, squared_distances
from evaluation.metrics.sharing import spread, stripes

_STRIPE_NUMBERS = 1 << 24
_MOST_STRIPE_ROWS = 512
_BLOCK_COLUMNS = 64
_LEAST_BLOCKS = 64
_FEW_PAIRS = 64
_FEW_SHARE = 128
_TILE_COLUMNS = 4096


@dataclass(frozen=True)
class Neighbours:
    """Of each picture the K nearest others of its set: squared distances float64 [N,K] rising, and rows int64 [N,K]."""

    squared: Tensor
    rows: Tensor

    @property
    def reach(self) -> Tensor:
        """[N]: squared distance to the last neighbour that is kept."""
        return self.squared[:, -1]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a row of one set and a row of another with their squared distances, all [P]."""

    first: Tensor
    second: Tensor
    squared: Tensor

    def swapped(self) -> Pairs:
        """Return the same pairs seen from the other set."""
        return Pairs(self.second, self.first, self.squared)

    def pieces(self, most: int) -> Iterator[Pairs]:
        """Yield the pairs in pieces of at most ``most``."""
        for at in stripes(len(self.first), most):
            yield Pairs(self.first[at], self.second[at], self.squared[at])


def nearest_neighbours(own: Screen, most: int) -> Neighbours:
    """Return the ``most`` nearest neighbours of each picture within its set, exact, itself left out."""
    desk = Desk()
    found = spread(
        lambda rows: _nearest(own, rows, most, desk), stripes(len(own.features), stripe_rows(len(own.features)))
    )
    return Neighbours(torch.cat([squared for squared, _ in found]), torch.cat([rows for _, rows in found]))


@dataclass(frozen=True)
class Across:
    """Two sets held against each other: pairs in which one lies within the reach of the other's last neighbour."""

    first: Screen
    second: Screen
    first_own: Neighbours
    second_own: Neighbours
    desk: Desk = field(default_factory=Desk)

    def pairs(self, rows: slice) -> Pairs | None:
        """Return the close pairs of ``rows`` of the second set with the first, exact; None where they are too many.

        The coarse product only chooses which pairs to measure.  Past some number it is quicker to look at all of them.
        """
        bounds_BN = self.second.bounds(rows, self.first, self.desk)
        near_BN, nearer_BN = (self.desk.sheet((len(bounds_BN), bounds_BN.shape[1]), torch.bool, name) for name in "ab")
        torch.le(bounds_BN, _rounded_up(self.first_own.reach, bounds_BN.dtype), out=near_BN)
        torch.le(bounds_BN, _rounded_up(self.second_own.reach[rows, None], bounds_BN.dtype), out=nearer_BN)
        near_BN.logical_or_(nearer_BN)
        few = max(_FEW_PAIRS, bounds_BN.shape[1] // _FEW_SHARE)
        if int(near_BN.count_nonzero()) > few * len(near_BN):  # a sum would make whole numbers of them all
            return None
        second_P, first_P = near_BN.nonzero(as_tuple=True)
        found = self.between(first_P, second_P + rows.start)
        kept = (found.squared <= self.first_own.reach[found.first]) | (
            found.squared <= self.second_own.reach[found.second]
        )
        return Pairs(found.first[kept], found.second[kept], found.squared[kept])

    def between(self, first_P: Tensor, second_P: Tensor) -> Pairs:
        """Return pairs of rows of the first and the second set with their exact distances."""
        return Pairs(first_P, second_P, squared_distances(self.first.features, first_P, self.second.features, second_P))

    def between_swapped(self, second_P: Tensor, first_P: Tensor) -> Pairs:
        """Return the same seen from the other set."""
        return self.between(first_P, second_P).swapped()

    def tiles(self, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of the first set with the squared distances [B,C] of ``rows`` of the second to them, to rounding.

        A pair at a ball's surface but for rounding lies within it.
        """
        for columns in stripes(len(self.first.features), _TILE_COLUMNS):
            yield columns, self.second.squared(rows, self.first, columns)


def stripe_rows(count: int) -> int:
    """Return how many rows are held against ``count`` others at once: 512, and fewer where these would fill memory."""
    return max(64, min(_MOST_STRIPE_ROWS, _STRIPE_NUMBERS // count // 64 * 64))


def _nearest(own: Screen, rows: slice, most: int, desk: Desk) -> tuple[Tensor, Tensor]:
    """Return squared distances and rows [B,K] of the nearest neighbours of a stripe of rows.

    The bounds name K candidates a picture; the farthest of these, measured, is as far as the K-th neighbour can be;
    then all whose bound lies no farther are measured.
    """
    features_ND, row_B = own.features, torch.arange(rows.start, rows.stop)
    bounds_BN = own.bounds(rows, own, desk)
    bounds_BN[row_B - rows.start, row_B] = torch.inf
    candidates_BK = _lowest(bounds_BN, most)
    first_P = row_B.repeat_interleave(most)
    reach_B = squared_distances(features_ND, first_P, features_ND, candidates_BK.flatten()).view(-1, most).amax(dim=1)
    near_BN = desk.sheet((len(row_B), bounds_BN.shape[1]), torch.bool)
    torch.le(bounds_BN, _rounded_up(reach_B[:, None], bounds_BN.dtype), out=near_BN)
    at_P, column_P = near_BN.nonzero(as_tuple=True)
    squared_P = squared_distances(features_ND, row_B[at_P], features_ND, column_P)
    # By row, then by distance, then by column, so that equal distances always come out in one order.
    order = squared_P.argsort(stable=True)
    order = order[at_P[order].argsort(stable=True)]
    counts_B = at_P.bincount(minlength=len(row_B))
    first_of_row_B = counts_B.cumsum(dim=0) - counts_B
    picked_BK = order[first_of_row_B[:, None] + torch.arange(most)]
    return squared_P[picked_BK], column_P[picked_BK]


def _lowest(bounds_BN: Tensor, most: int) -> Tensor:
    """Return int64 [B,K]: K columns of low bounds a row; in wide stripes the lowest of the K lowest blocks."""
    whole = bounds_BN.shape[1] // _BLOCK_COLUMNS
    if whole < _LEAST_BLOCKS:
        return bounds_BN.topk(most, dim=1, largest=False).indices
    blocks_BGC = bounds_BN[:, : whole * _BLOCK_COLUMNS].unflatten(1, (whole, _BLOCK_COLUMNS))
    chosen_BK = blocks_BGC.amin(dim=2).topk(most, dim=1, largest=False).indices
    at_BK = blocks_BGC[torch.arange(len(bounds_BN))[:, None], chosen_BK].argmin(dim=2)
    lowest_BK: Tensor = chosen_BK * _BLOCK_COLUMNS + at_BK
    return lowest_BK


def _rounded_up(values: Tensor, kind: torch.dtype) -> Tensor:
    """Return values in a shorter type, none of them lower than it was."""
    return values if kind == values.dtype else torch.nextafter(values.to(kind), torch.tensor(torch.inf, dtype=kind))
