"""Version drift: has the look moved between two versions of a model, on equal prompts and seeds?

Shapes: descriptors of unit length [N,E]; row n of both folders was drawn to one order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import NotComparableError
from evaluation.intervals import Estimate, group_of_rows
from evaluation.style.checked import checked_descriptors

PERMUTATIONS = 1000


@dataclass(frozen=True, kw_only=True)
class VersionDrift:
    """How far a candidate's look is from the golden run's, and how often chance alone makes it as far."""

    discrepancy: Estimate
    p_value: float
    bandwidth: float


def version_drift(
    golden_NE: Tensor, candidate_NE: Tensor, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> VersionDrift:
    """Return D_v = MMD²(golden, candidate) on equal prompts and seeds, row n of both from the same order.

    The unbiased one-sample U-statistic (Gretton et al. 2012, Eq. 4), k(x,y) = exp(-|x-y|²/2σ²), σ the median distance
    between golden pictures.  It leaves out k(x_n,y_n), which equal orders make large.  p by swapping golden and
    candidate within orders: under no drift they are exchangeable there, and only there.
    Raises NotComparableError for unequal numbers, TooFewPicturesError for fewer than 16.
    """
    golden = checked_descriptors(golden_NE, "golden pictures")
    candidate = checked_descriptors(candidate_NE, "candidate pictures")
    if golden.shape != candidate.shape:
        raise NotComparableError(
            f"{len(golden)} golden and {len(candidate)} candidate pictures: draw the same prompts with the same seeds"
        )
    bandwidth = median_distance(golden)
    kernel = rbf(torch.cat([golden, candidate]), bandwidth)
    count = len(golden)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (permutations, count), generator=generator).double() * 2 - 1
    # Swapping n and m together leaves h_nm, swapping one turns its sign; so one matrix serves all permutations.
    h_NN = _h(kernel, count)
    total = float(h_NN.sum() / (count * (count - 1)))
    chance = torch.einsum("tn,nm,tm->t", signs, h_NN, signs) / (count * (count - 1))
    groups_N = group_of_rows(count)
    left_out = [_off_diagonal_mean(h_NN[groups_N != group][:, groups_N != group]) for group in groups_N.unique()]
    return VersionDrift(
        discrepancy=Estimate(total, {"orders": torch.tensor(left_out, dtype=torch.float64)}),
        p_value=(1 + int((chance >= total).sum())) / (permutations + 1),
        bandwidth=bandwidth,
    )


def median_distance(rows_NE: Tensor) -> float:
    """Return the median distance between two rows, the usual bandwidth of a radial kernel; never zero."""
    return max(float(torch.pdist(rows_NE.double()).median()), 1e-6)


def rbf(rows_NE: Tensor, bandwidth: float) -> Tensor:
    """Return k(x,y) = exp(-|x-y|²/2σ²), [N,N]."""
    return torch.exp(-(torch.cdist(rows_NE, rows_NE) ** 2) / (2 * bandwidth**2))


def _h(kernel_2N2N: Tensor, count: int) -> Tensor:
    """Return h_nm = k(x_n,x_m) + k(y_n,y_m) - k(x_n,y_m) - k(x_m,y_n), its diagonal 0."""
    within_x, within_y = kernel_2N2N[:count, :count], kernel_2N2N[count:, count:]
    across = kernel_2N2N[:count, count:]
    h_NN = within_x + within_y - across - across.T
    return h_NN - h_NN.diag().diag()


def _off_diagonal_mean(h_NN: Tensor) -> float:
    return float(h_NN.sum() / (len(h_NN) * (len(h_NN) - 1)))
