"""Distances by a kernel: squared maximum mean discrepancies, with their jackknife.

Shapes: real features [N,D], made features [M,D], kernels [N,M], sums over pairs of groups [G,H].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.intervals import MOST_GROUPS, Estimate, group_of_rows
from evaluation.metrics.checked import checked_pair, common_centre, product_type
from evaluation.metrics.sharing import spread

SIGMA = 10.0
SCALE = 1000.0
COMPLETE_PICTURES = 8192
PART_PICTURES = 2048
_TILE_ROWS = 1024

Kernel = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""From inner products [A,B], square lengths [A] and [B], and D to the kernel's values [A,B]."""


def kernel_distance(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with k(x,y) = (x·y/D + 1)³, with its jackknife.

    All pictures at once, not an average over random subsets: the estimator is unbiased at any N, so subsets would
    only add noise.  Beyond 8,192 pictures the mean over parts of at most 2,048, each picture in one of them: unbiased
    as well, and what that adds to the interval the jackknife sees.  Near zero for sets of one law, and then negative
    as often as positive.  Bińkowski et al. 2018, Eq. 4.  Raises EvaluationError for bad shapes or values that are not
    finite.
    """
    return _looked(*checked_pair(real_ND, made_MD), polynomial).estimate(names)


def cmmd(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return 1000 times the unbiased squared discrepancy with k(x,y) = exp(-|x-y|²/2σ²), σ = 10, of unit features.

    The features are brought to unit length, as CLIP's are in the reference.  Jayasumana et al. 2024; unbiased, unlike
    their code: see ``cmmd_biased``.  Raises EvaluationError as ``kernel_distance`` does.
    """
    return gaussian_estimates(real_ND, made_MD, names)["cmmd"]


def cmmd_biased(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return what the published code of CMMD computes: the same with each picture also held against itself.

    It is the larger the fewer pictures there are, and never below zero: another figure than ``cmmd``, which never
    compares with it.  Raises EvaluationError as ``kernel_distance`` does.
    """
    return gaussian_estimates(real_ND, made_MD, names)["cmmd_biased"]


def gaussian_estimates(
    real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")
) -> Mapping[str, Estimate]:
    """Return ``cmmd`` and ``cmmd_biased`` of one look at the pairs."""
    looked = _looked(*_unit(real_ND, made_MD), gaussian)
    return {"cmmd": looked.estimate(names, SCALE), "cmmd_biased": looked.estimate(names, SCALE, biased=True)}


def parts_of(count: int) -> int:
    """Return into how many parts a set of ``count`` pictures is cut: 1 up to 8,192, then such that none has more than
    2,048; a power of two, so that each part has its own groups of the jackknife."""
    if count <= COMPLETE_PICTURES:
        return 1
    return min(MOST_GROUPS, 1 << math.ceil(math.log2(count / PART_PICTURES)))


def polynomial(product_AB: Tensor, _rows_A: Tensor, _columns_B: Tensor, dimensions: int) -> Tensor:
    """Return (x·y/D + 1)³."""
    base_AB = product_AB.div_(dimensions).add_(1)
    return base_AB.square().mul_(base_AB)


def gaussian(product_AB: Tensor, rows_A: Tensor, columns_B: Tensor, _dimensions: int) -> Tensor:
    """Return exp(-|x-y|²/2σ²) - 1: a constant less, which no discrepancy sees, and many digits more."""
    squared_AB = product_AB.mul_(-2).add_(columns_B).add_(rows_A[:, None])
    return squared_AB.clamp_(min=0).div_(-2 * SIGMA**2).expm1_()


def _looked(real_ND: Tensor, made_MD: Tensor, kernel: Kernel) -> _Looked:
    kind = product_type(max(len(real_ND), len(made_MD)))
    parts = parts_of(min(len(real_ND), len(made_MD)))
    found = []
    for part in range(parts):
        real, made = (_Grouped.of(each[part::parts], kind, MOST_GROUPS // parts) for each in (real_ND, made_MD))
        found.append(_Part(_with_itself(real, kernel), _with_itself(made, kernel), _across(real, made, kernel)))
    return _Looked(tuple(found))


@dataclass(frozen=True)
class _Part:
    """What a kernel makes of a part of both sets with themselves and with each other."""

    real: _Own
    made: _Own
    across: _Sums

    def values(self, counts: tuple[int, int] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the discrepancy [], and without each group of real [G] and of made pictures [H].

        ``counts`` are the numbers of pictures that the bias of the whole sets follows from; None for no bias.
        """
        n, m = counts or (None, None)
        real, made, across = self.real.mean(n), self.made.mean(m), self.across.mean()
        by_real = self.real.mean_without_each(n) + made - 2 * self.across.mean_without_rows()
        by_made = real + self.made.mean_without_each(m) - 2 * self.across.transposed().mean_without_rows()
        return real + made - 2 * across, by_real, by_made


@dataclass(frozen=True)
class _Looked:
    """Every part, each with groups of its own: group g of part p is group g·parts + p of the set."""

    parts: tuple[_Part, ...]

    def estimate(self, names: tuple[str, str], scale: float = 1, *, biased: bool = False) -> Estimate:
        sizes = [torch.stack([own.sizes for own in owns], dim=1) for owns in zip(*self._owns(), strict=True)]
        counts = (int(sizes[0].sum()), int(sizes[1].sum())) if biased else None
        values, by_real, by_made = zip(*(part.values(counts) for part in self.parts), strict=True)
        values_P = scale * torch.stack(values)
        value = float((values_P * sizes[0].sum(dim=0)).sum() / sizes[0].sum())
        left_out = {
            name: _pooled(value, values_P, scale * torch.stack(by_group, dim=1), sizes_GP)
            for name, by_group, sizes_GP in zip(names, (by_real, by_made), sizes, strict=True)
        }
        return Estimate(value, left_out)

    def _owns(self) -> list[tuple[_Own, _Own]]:
        return [(part.real, part.made) for part in self.parts]


def _pooled(value: float, values_P: Tensor, without_GP: Tensor, sizes_GP: Tensor) -> Tensor:
    """Return [G·P]: the mean over parts, weighted by their pictures, without each group of each part."""
    sizes_P = sizes_GP.sum(dim=0)
    others_P = (sizes_P * (values_P - value)).sum() - sizes_P * (values_P - value)
    moved_GP = (others_P + (sizes_P - sizes_GP) * (without_GP - value)) / (sizes_P.sum() - sizes_GP)
    return (value + moved_GP).flatten()


@dataclass(frozen=True)
class _Grouped:
    """Rows in the order of their jackknife groups, and where each group begins."""

    features: Tensor  # [N,D]
    lengths: Tensor  # |x|² [N]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, features_ND: Tensor, kind: torch.dtype, most_groups: int) -> _Grouped:
        group_N = group_of_rows(len(features_ND), most_groups)
        rows_ND = features_ND[group_N.argsort(stable=True)].to(kind)
        lengths_N = torch.cat([piece.double().square().sum(dim=1).to(kind) for piece in rows_ND.split(_TILE_ROWS)])
        return cls(rows_ND, lengths_N, (0, *group_N.bincount().cumsum(dim=0).tolist()))

    @property
    def groups(self) -> int:
        return len(self.starts) - 1

    def rows(self, block: range) -> slice:
        return slice(self.starts[block.start], self.starts[block.stop])

    def sizes(self, block: range) -> Tensor:
        return torch.tensor([self.starts[group + 1] - self.starts[group] for group in block])

    def blocks(self) -> list[range]:
        """Return ranges of groups that hold about 1,024 rows."""
        each = max(1, _TILE_ROWS * self.groups // len(self.features))
        return [range(start, min(start + each, self.groups)) for start in range(0, self.groups, each)]


@dataclass(frozen=True)
class _Sums:
    """Sums of a kernel and numbers of pairs, [G,H], over each pair of groups."""

    sums: Tensor
    pairs: Tensor

    def mean(self) -> Tensor:
        return self.sums.sum() / self.pairs.sum()

    def mean_without_rows(self) -> Tensor:
        """Return [G]: the mean without each group of rows."""
        sums, pairs = (table_GH.sum() - table_GH.sum(dim=1) for table_GH in (self.sums, self.pairs))
        return sums / pairs

    def transposed(self) -> _Sums:
        return _Sums(self.sums.T, self.pairs.T)


@dataclass(frozen=True)
class _Own:
    """A set with itself: sums [G,G] over pairs of two pictures, and sums [G] of pictures with themselves.

    With ``count``, that of the whole set, the latter take their share of N²: ((N-1)·mean of pairs + their mean) / N.
    """

    apart: _Sums
    diagonal: Tensor
    sizes: Tensor

    def mean(self, count: int | None) -> Tensor:
        return _joined(self.apart.mean(), self.diagonal.sum() / self.sizes.sum(), count)

    def mean_without_each(self, count: int | None) -> Tensor:
        """Return [G]: the mean without each group."""
        sums, pairs = (
            table_GG.sum() - table_GG.sum(dim=0) - table_GG.sum(dim=1) + table_GG.diagonal()
            for table_GG in (self.apart.sums, self.apart.pairs)
        )
        diagonal_G = (self.diagonal.sum() - self.diagonal) / (self.sizes.sum() - self.sizes)
        return _joined(sums / pairs, diagonal_G, None if count is None else count - self.sizes)


def _joined(mean: Tensor, diagonal: Tensor, count: Tensor | int | None) -> Tensor:
    return mean if count is None else (mean * (count - 1) + diagonal) / count


def _across(real: _Grouped, made: _Grouped, kernel: Kernel) -> _Sums:
    tiles = [(row, column) for row in real.blocks() for column in made.blocks()]
    return _Sums(*_tables(real, made, tiles, kernel))


def _with_itself(each: _Grouped, kernel: Kernel) -> _Own:
    blocks = each.blocks()
    tiles = [(row, column) for at, row in enumerate(blocks) for column in blocks[at:]]
    mirrored = torch.zeros(each.groups, each.groups, dtype=torch.float64)
    for row, column in tiles:  # a tile off the diagonal stands for its mirror image too
        mirrored[row.start : row.stop, column.start : column.stop] = float(row != column)
    sums_GG, pairs_GG = (table_GG + (table_GG * mirrored).T for table_GG in _tables(each, each, tiles, kernel))
    sizes_G = each.sizes(range(each.groups)).double()
    diagonal_G = _diagonal(each, kernel)
    return _Own(_Sums(sums_GG - diagonal_G.diag(), pairs_GG - sizes_G.diag()), diagonal_G, sizes_G)


def _diagonal(each: _Grouped, kernel: Kernel) -> Tensor:
    """Return [G]: the sum over each group of the kernel of a picture with itself."""
    lengths_N1 = each.lengths.double()[:, None]
    own_N1 = kernel(lengths_N1.clone(), lengths_N1[:, 0], lengths_N1, each.features.shape[1])
    return torch.stack([piece.sum() for piece in own_N1.split(each.sizes(range(each.groups)).tolist())])


def _tables(
    rows: _Grouped, columns: _Grouped, tiles: list[tuple[range, range]], kernel: Kernel
) -> tuple[Tensor, Tensor]:
    """Return the sums and the numbers of pairs [G,H] that these tiles give."""
    sums_GH = torch.zeros(rows.groups, columns.groups, dtype=torch.float64)
    pairs_GH = torch.zeros_like(sums_GH)
    for (row, column), sums_AB in zip(
        tiles, spread(lambda tile: _tile(rows, columns, tile, kernel), tiles), strict=True
    ):
        at = (slice(row.start, row.stop), slice(column.start, column.stop))
        sums_GH[at] = sums_AB
        pairs_GH[at] = torch.outer(rows.sizes(row), columns.sizes(column)).double()
    return sums_GH, pairs_GH


def _tile(rows: _Grouped, columns: _Grouped, tile: tuple[range, range], kernel: Kernel) -> Tensor:
    """Return the sums [A,B] of the kernel over each pair of the tile's groups."""
    row, column = rows.rows(tile[0]), columns.rows(tile[1])
    product_AB = rows.features[row] @ columns.features[column].T
    values = kernel(product_AB, rows.lengths[row], columns.lengths[column], rows.features.shape[1])
    by_row = torch.stack(
        [piece.sum(dim=0, dtype=torch.float64) for piece in values.split(rows.sizes(tile[0]).tolist())]
    )
    return torch.stack([piece.sum(dim=1) for piece in by_row.split(columns.sizes(tile[1]).tolist(), dim=1)], dim=1)


def _unit(real_ND: Tensor, made_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets at unit length and about their common centre, which no Gaussian kernel sees."""
    real_ND, made_MD = checked_pair(real_ND, made_MD)
    for features in (real_ND, made_MD):
        if not bool(features.any(dim=1).all()):
            raise EvaluationError("a picture whose features are all zero has no direction: CMMD needs one")
    real_ND, made_MD = (torch.nn.functional.normalize(each, dim=1) for each in (real_ND, made_MD))
    centre_D = common_centre(real_ND, made_MD).to(real_ND.dtype)
    return real_ND.sub_(centre_D), made_MD.sub_(centre_D)
