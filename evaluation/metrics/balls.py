"""Which points of one set lie in the balls of another, counted with all balls and without each group of them.

Shapes: balls [N], points [N], pairs [P], tiles [A,B], jackknife groups G; neighbours [N,K].  An owner's ball reaches to
its k-th neighbour within its own set.  A group that is left out takes its balls along, and the balls of others grow to
their next neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.intervals import group_of_rows
from evaluation.metrics.neighbours import Neighbours, Pairs

_PIECE_PAIRS = 1 << 15

Between = Callable[[Tensor, Tensor], Pairs]
"""From rows of the owners' set and of the points', both [P], to pairs with their exact distances."""


@dataclass(frozen=True)
class Held:
    """Of each point: in how many balls of each group of owners it lies, and without which group one grows over it."""

    owners: Neighbours
    nearest: int
    by_group: Tensor  # int32 [N,G]
    grown: Tensor  # bool [N,G]

    @classmethod
    def empty(cls, owners: Neighbours, nearest: int) -> Held:
        """Return tables of no points."""
        count, groups = len(owners.rows), int(group_of_rows(len(owners.rows)).max()) + 1
        tables = (torch.zeros(count, groups, dtype=kind) for kind in (torch.int32, torch.bool))
        return cls(owners, nearest, *tables)

    @property
    def any(self) -> Tensor:
        """bool [N]: whether a point lies in any ball."""
        return self.by_group.any(dim=1)

    @property
    def any_without(self) -> Tensor:
        """bool [N,G]: whether it does without each group of owners."""
        return (self.by_group.sum(dim=1, keepdim=True) > self.by_group) | self.grown

    def add(self, pairs: Pairs) -> None:
        """Count pairs of an owner (first) and a point (second); those beyond its last neighbour never count."""
        group_N = group_of_rows(len(self.grown))
        for piece in pairs.pieces(_PIECE_PAIRS):
            nearer_P = (self.owners.squared[piece.first] < piece.squared[:, None]).sum(dim=1)
            inside_P = (nearer_P < self.nearest).int()
            self.by_group.index_put_((piece.second, group_N[piece.first]), inside_P, accumulate=True)
            beyond_P = (nearer_P >= self.nearest).nonzero()[:, 0]
            self._grow(piece.first[beyond_P], piece.second[beyond_P], nearer_P[beyond_P])

    def add_tile(self, owners: slice, points: slice, squared_AB: Tensor, between: Between) -> None:
        """Count all pairs of some owners and some points, whose squared distances are known to rounding.

        Growing balls are followed for points alone that lie in the balls of one group or none: no other point needs
        them.
        """
        reach_AK = self.owners.squared[owners].to(squared_AB.dtype)
        inside_AB = marked(squared_AB, reach_AK[:, self.nearest - 1])
        self.by_group[points] += sums_by_group(inside_AB, owners, self.by_group.shape[1]).T
        fragile_B = (self.by_group[points] > 0).sum(dim=1) < 2
        beyond_AB = marked(squared_AB, reach_AK[:, -1]).sub_(inside_AB).mul_(fragile_B)
        first_P, second_P = beyond_AB.nonzero(as_tuple=True)
        for at in range(0, len(first_P), _PIECE_PAIRS):
            piece = slice(at, at + _PIECE_PAIRS)
            found = between(first_P[piece] + owners.start, second_P[piece] + points.start)
            nearer_P = (self.owners.squared[found.first] < found.squared[:, None]).sum(dim=1)
            self._grow(found.first, found.second, nearer_P.clamp(min=self.nearest))

    def _grow(self, first_P: Tensor, second_P: Tensor, nearer_P: Tensor) -> None:
        """Mark the groups without which an owner's ball reaches a point that ``nearer_P`` of its neighbours precede."""
        group_N, groups = group_of_rows(len(self.grown)), self.grown.shape[1]
        preceding_PK = torch.arange(self.owners.rows.shape[1]) < nearer_P[:, None]
        gone_PG = torch.zeros(len(first_P), groups, dtype=torch.int32)
        gone_PG.scatter_add_(1, group_N[self.owners.rows[first_P]], preceding_PK.int())
        inside_PG = (nearer_P[:, None] - gone_PG) < self.nearest
        inside_PG[torch.arange(len(first_P)), group_N[first_P]] = False
        pair_E, group_E = inside_PG.nonzero(as_tuple=True)
        self.grown[second_P[pair_E], group_E] = True


@dataclass(frozen=True)
class Holding:
    """Of each ball: how many points it holds at each size it may grow to, and how many of each group of points."""

    owners: Neighbours
    nearest: int
    within: Tensor  # int64 [N,S]: points nearer than the k-th, (k+1)-th … neighbour
    of_group: Tensor  # int32 [N,G]
    held: Tensor  # int64 [N]: balls that hold each point

    @classmethod
    def empty(cls, owners: Neighbours, nearest: int) -> Holding:
        """Return tables of no points."""
        count, kept = owners.rows.shape
        groups = int(group_of_rows(count).max()) + 1
        within = torch.zeros(count, kept - nearest + 1, dtype=torch.int64)
        of_group = torch.zeros(count, groups, dtype=torch.int32)
        return cls(owners, nearest, within, of_group, torch.zeros(count, dtype=torch.int64))

    @property
    def without(self) -> Tensor:
        """int64 [N,G]: the points that each ball holds without each group of owners; none without its own."""
        count, kept = self.owners.rows.shape
        group_N = group_of_rows(count)
        groups = self.of_group.shape[1]
        left_NG = torch.zeros(count, groups, dtype=torch.int64)
        size_NG = torch.full((count, groups), kept - self.nearest)
        for neighbour in range(kept):
            left_NG += 1
            left_NG[torch.arange(count), group_N[self.owners.rows[:, neighbour]]] -= 1
            reached = (left_NG >= self.nearest) & (size_NG == kept - self.nearest)
            size_NG[reached] = max(neighbour + 1 - self.nearest, 0)
        found_NG = self.within.gather(1, size_NG)
        found_NG[torch.arange(count), group_N] = 0
        return found_NG

    def add(self, pairs: Pairs) -> None:
        """Count pairs of an owner (first) and a point (second); those beyond its last neighbour never count."""
        group_N = group_of_rows(len(self.held))
        sizes_S = torch.arange(self.nearest, self.owners.rows.shape[1] + 1)
        for piece in pairs.pieces(_PIECE_PAIRS):
            nearer_P = (self.owners.squared[piece.first] < piece.squared[:, None]).sum(dim=1)
            inside_P = (nearer_P < self.nearest).int()
            self.within.index_add_(0, piece.first, (nearer_P[:, None] < sizes_S).long())
            self.of_group.index_put_((piece.first, group_N[piece.second]), inside_P, accumulate=True)
            self.held.index_add_(0, piece.second, inside_P.long())

    def add_tile(self, owners: slice, points: slice, squared_AB: Tensor) -> None:
        """Count all pairs of some owners and some points, whose squared distances are known to rounding."""
        reach_AS = self.owners.squared[owners, self.nearest - 1 :].to(squared_AB.dtype)
        for size in range(reach_AS.shape[1]):
            inside_AB = marked(squared_AB, reach_AS[:, size])
            self.within[owners, size] += inside_AB.sum(dim=1).long()
            if size == 0:
                self.of_group[owners] += sums_by_group(inside_AB.T, points, self.of_group.shape[1]).T
                self.held[points] += inside_AB.sum(dim=0).long()


def marked(squared_AB: Tensor, reach_A: Tensor) -> Tensor:
    """Return 1 where a distance is within its row's reach and 0 elsewhere: as numbers they sum up ten times as fast."""
    return torch.le(squared_AB, reach_A[:, None], out=torch.empty_like(squared_AB))


def sums_by_group(marks_AB: Tensor, rows: slice, groups: int) -> Tensor:
    """Return int32 [G,B]: how many of the rows of each jackknife group are marked; rows are dealt out in turn."""
    group_A = torch.arange(rows.start, rows.stop) % groups
    return (torch.nn.functional.one_hot(group_A, groups).T.to(marks_AB.dtype) @ marks_AB).int()
