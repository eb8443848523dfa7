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
from evaluation.metrics.moments import Moments, Transport, influence, root_without, transport, values_without
from evaluation.metrics.sharing import spread

MOST_RECOMPUTED = 512
FIRST_ORDER_PICTURES = 16

Left = tuple[Tensor | None, Tensor | None]


def frechet_distance(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return |μr - μm|² + tr(Σr + Σm - 2(ΣrΣm)^½) of unbiased covariances, with its jackknife.

    Up to 512 pictures a side, and two a dimension, the jackknife measures again without each group; beyond, what a
    group's leaving changes is taken from the derivatives of the distance (docs/adr/0013), which costs a few products
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
    return estimate_of((real_ND, made_MD), centre_D, (real, made), transport(real, made), names)


def estimate_of(
    sets: tuple[Tensor, Tensor],
    centre_D: Tensor,
    moments: tuple[Moments, Moments],
    maps: Transport,
    names: tuple[str, str],
) -> Estimate:
    """Return the distance with its jackknife: to second order, and to first where pictures are many a dimension."""
    left_out = {}
    for side, (features_ND, seen) in enumerate(zip(sets, (maps, maps.swapped()), strict=True)):
        own, other = moments[side], moments[1 - side]
        if len(features_ND) > FIRST_ORDER_PICTURES * features_ND.shape[1]:
            moved_N = influence(features_ND, centre_D, own, other, seen.real)
            left_out[names[side]] = to_first_order(maps.value, moved_N)
        else:
            left_out[names[side]] = values_without(features_ND, centre_D, own, other, seen)
    return Estimate(maps.value, left_out)


def _by_grams(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str]) -> Estimate:
    """The same where covariances are singular: with C = A·Bᵀ = U·S·Vᵀ the rows x·Hr are U·S^½·((N-1)/(M-1))^¼."""
    grams = _Grams.of(real_ND, made_MD)
    n, m = grams.across.shape
    left_NR, values_R, right_RM = torch.linalg.svd(_centred(grams.across), full_matrices=False)
    kept = values_R > 1e-8 * values_R[0]
    roots_S, halves_S = values_R[kept] / ((n - 1) * (m - 1)) ** 0.5, values_R[kept].sqrt()
    tilt = ((n - 1) / (m - 1)) ** 0.25
    bent = (left_NR[:, kept] * halves_S * tilt, right_RM.T[:, kept] * halves_S / tilt)
    jobs = [(side, rows) for side, count in enumerate((n, m)) for rows in _groups(count)]

    def without(job: tuple[int, Tensor]) -> float:
        side, rows = job
        root = root_without(roots_S, bent[side][rows], (n, m)[side])
        return grams.without(*((rows, None) if side == 0 else (None, rows))).distance(root)

    left_out = torch.tensor(spread(without, jobs), dtype=torch.float64)
    value = grams.distance(float(values_R.sum()) / ((n - 1) * (m - 1)) ** 0.5)
    groups = len(_groups(n))
    return Estimate(value, {names[0]: left_out[:groups], names[1]: left_out[groups:]})


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

    def distance(self, root: float | None = None) -> float:
        """Return the distance; ``root`` is tr (ΣrΣm)^½ where it is known."""
        n, m = self.across.shape
        means = self.real.mean() + self.made.mean() - 2 * self.across.mean()
        trace_real = (self.real.trace() - n * self.real.mean()) / (n - 1)
        trace_made = (self.made.trace() - m * self.made.mean()) / (m - 1)
        if root is None:
            root = float(torch.linalg.svdvals(_centred(self.across)).sum()) / ((n - 1) * (m - 1)) ** 0.5
        return float(means + trace_real + trace_made) - 2 * root


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
