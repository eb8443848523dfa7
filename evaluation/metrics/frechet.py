"""Fréchet distance between two sets of pictures, on their features.

Shapes: real features [N,D], made features [M,D], Gram matrices [N,N], [N,M], [M,M].  Where there are fewer pictures
than dimensions covariances are singular, and everything is computed from the Gram matrices, which are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.intervals import Estimate, group_of_rows, to_first_order
from evaluation.metrics.checked import checked_pair, common_centre
from evaluation.metrics.moments import Moments, influence, transport
from evaluation.metrics.sharing import spread

MOST_RECOMPUTED = 512

Left = tuple[Tensor | None, Tensor | None]


def frechet_distance(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return |μr - μm|² + tr(Σr + Σm - 2(ΣrΣm)^½) of unbiased covariances, with its jackknife.

    Up to 512 pictures a side, and two a dimension, the jackknife measures again without each group; beyond, a group's
    part is taken to first order from the derivative of the distance (docs/adr/0013), which costs one product more
    instead of a hundred.  The figure grows as N falls: compare equal N only.  Heusel et al. 2017, Eq. 6.  Raises
    EvaluationError for bad shapes or values that are not finite.
    """
    real_ND, made_MD = checked_pair(real_ND, made_MD)
    if max(len(real_ND), len(made_MD)) <= min(MOST_RECOMPUTED, 2 * real_ND.shape[1]):
        return _recomputed(real_ND, made_MD, names)
    if min(len(real_ND), len(made_MD)) <= real_ND.shape[1]:
        return _by_grams(real_ND, made_MD, names)
    return _by_moments(real_ND, made_MD, names)


def _recomputed(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str]) -> Estimate:
    grams = _Grams.of(real_ND, made_MD)
    without_real: list[Left] = [(rows, None) for rows in _groups(len(real_ND))]
    without_made: list[Left] = [(None, rows) for rows in _groups(len(made_MD))]
    left_out = spread(lambda left: grams.without(*left).distance(), [*without_real, *without_made])
    values = torch.tensor(left_out, dtype=torch.float64)
    groups = len(without_real)
    return Estimate(grams.distance(), {names[0]: values[:groups], names[1]: values[groups:]})


def _by_moments(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str]) -> Estimate:
    centre_D = common_centre(real_ND, made_MD)
    real, made = spread(lambda features_ND: Moments.of(features_ND, centre_D), [real_ND, made_MD])
    found = transport(real, made)
    sides = ((real_ND, real, made, found.real), (made_MD, made, real, found.made))
    moved = spread(lambda side: influence(side[0], centre_D, side[1], side[2], side[3]), sides)
    return Estimate(
        found.value, {name: to_first_order(found.value, each) for name, each in zip(names, moved, strict=True)}
    )


def _by_grams(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str]) -> Estimate:
    """The same two things where covariances are singular: with C = A·Bᵀ = U·S·Vᵀ, xᵀTx of row n is √(N/M)(USUᵀ)_nn."""
    grams = _Grams.of(real_ND, made_MD)
    n, m = grams.across.shape
    left_NR, values_R, right_RM = torch.linalg.svd(_centred(grams.across), full_matrices=False)
    left, right = grams.influences()
    left -= (n / m) ** 0.5 * (left_NR.square() @ values_R)
    right -= (m / n) ** 0.5 * (right_RM.T.square() @ values_R)
    value = grams.distance(values_R)
    moved = (left - left.mean(), right - right.mean())
    return Estimate(value, {name: to_first_order(value, each) for name, each in zip(names, moved, strict=True)})


@dataclass(frozen=True)
class _Grams:
    real: Tensor
    made: Tensor
    across: Tensor

    @classmethod
    def of(cls, real_ND: Tensor, made_MD: Tensor) -> _Grams:
        centre_D = common_centre(real_ND, made_MD)
        real, made = real_ND.double() - centre_D, made_MD.double() - centre_D
        return cls(real @ real.T, made @ made.T, real @ made.T)

    def without(self, real_rows: Tensor | None, made_rows: Tensor | None) -> _Grams:
        real = _all_but(len(self.real), real_rows)
        made = _all_but(len(self.made), made_rows)
        return _Grams(self.real[real][:, real], self.made[made][:, made], self.across[real][:, made])

    def distance(self, singular_R: Tensor | None = None) -> float:
        n, m = self.across.shape
        means = self.real.mean() + self.made.mean() - 2 * self.across.mean()
        trace_real = (self.real.trace() - n * self.real.mean()) / (n - 1)
        trace_made = (self.made.trace() - m * self.made.mean()) / (m - 1)
        values_R = torch.linalg.svdvals(_centred(self.across)) if singular_R is None else singular_R
        return float(means + trace_real + trace_made - 2 * values_R.sum() / ((n - 1) * (m - 1)) ** 0.5)

    def influences(self) -> tuple[Tensor, Tensor]:
        """Return [N] and [M]: 2(μ - ν)·x + |x|² of each row x from its own set's mean μ, ν being the other's."""
        real = self.real.mean(dim=1) - self.across.mean(dim=1)
        made = self.made.mean(dim=1) - self.across.mean(dim=0)
        return (
            2 * (real - real.mean()) + self.real.diagonal() - 2 * self.real.mean(dim=1) + self.real.mean(),
            2 * (made - made.mean()) + self.made.diagonal() - 2 * self.made.mean(dim=1) + self.made.mean(),
        )


def _centred(across_NM: Tensor) -> Tensor:
    return across_NM - across_NM.mean(dim=0) - across_NM.mean(dim=1, keepdim=True) + across_NM.mean()


def _groups(count: int) -> list[Tensor]:
    group = group_of_rows(count)
    return [(group == number).nonzero()[:, 0] for number in range(int(group.max()) + 1)]


def _all_but(count: int, rows: Tensor | None) -> Tensor:
    keep = torch.ones(count, dtype=torch.bool)
    if rows is not None:
        keep[rows] = False
    return keep
