"""Distances between two sets of pictures, on their features and in float64.

Shapes: real features [N,D], made features [M,D], Gram matrices [N,N], [N,M], [M,M].  Everything is computed from the
Gram matrices: with N pictures of D = 1280 numbers and N < D they are small, and the covariances are singular.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.intervals import Estimate, group_of_rows

LEAST_PICTURES = 16


def frechet_distance(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return |μr - μm|² + tr(Σr + Σm - 2(ΣrΣm)^½) of unbiased covariances, with its jackknife.

    With centred rows A, B: Σr = AᵀA/(N-1), Σm = BᵀB/(M-1), and tr (ΣrΣm)^½ is the sum of the singular values of ABᵀ
    over √((N-1)(M-1)), so that no square root of a singular D×D matrix is taken.  The figure grows as N falls: compare
    equal N only.  Heusel et al. 2017, Eq. 6.  Raises EvaluationError for bad shapes or values that are not finite.
    """
    grams = _Grams.of(real_ND, made_MD)
    with _one_thread():
        value = _frechet(grams)
        left_out = {
            names[0]: [_frechet(grams.without(rows, None)) for rows in _groups(len(real_ND))],
            names[1]: [_frechet(grams.without(None, rows)) for rows in _groups(len(made_MD))],
        }
    return Estimate(value, {name: torch.tensor(values, dtype=torch.float64) for name, values in left_out.items()})


def kernel_distance(real_ND: Tensor, made_MD: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy with k(x,y) = (x·y/D + 1)³, with its jackknife.

    All pictures at once, not an average over random subsets: the estimator is unbiased at any N, so subsets would
    only add noise.  Near zero for sets of one law, and then negative as often as positive.  Bińkowski et al. 2018,
    Eq. 4.  Raises EvaluationError for bad shapes or values that are not finite.
    """
    real, made = _checked(real_ND), _checked(made_MD)
    _same_dimensions(real, made)
    kernels = [_polynomial_kernel(a, b) for a, b in ((real, real), (made, made), (real, made))]
    within_real, within_made, across = kernels
    value = _mean_off_diagonal(within_real) + _mean_off_diagonal(within_made) - 2 * across.mean()
    by_real = _off_diagonal_left_out(within_real) + _mean_off_diagonal(within_made) - 2 * _left_out_mean(across)
    by_made = _mean_off_diagonal(within_real) + _off_diagonal_left_out(within_made) - 2 * _left_out_mean(across.T)
    return Estimate(float(value), {names[0]: by_real, names[1]: by_made})


def nearest_cosine(features_ND: Tensor, learning_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row the highest cosine similarity to a learning picture, float64 [N], and its row, int64 [N]."""
    unit_ND, unit_MD = (torch.nn.functional.normalize(values.double(), dim=1) for values in (features_ND, learning_MD))
    similarity, row = (unit_ND @ unit_MD.T).max(dim=1)
    return similarity, row


@dataclass(frozen=True)
class _Grams:
    real: Tensor
    made: Tensor
    across: Tensor

    @classmethod
    def of(cls, real_ND: Tensor, made_MD: Tensor) -> _Grams:
        real, made = _checked(real_ND), _checked(made_MD)
        _same_dimensions(real, made)
        # A shift common to both changes no distance; taking it out keeps the digits that count.
        centre = torch.cat([real, made]).mean(dim=0)
        real, made = real - centre, made - centre
        return cls(real @ real.T, made @ made.T, real @ made.T)

    def without(self, real_rows: Tensor | None, made_rows: Tensor | None) -> _Grams:
        real = _all_but(len(self.real), real_rows)
        made = _all_but(len(self.made), made_rows)
        return _Grams(self.real[real][:, real], self.made[made][:, made], self.across[real][:, made])


def _frechet(grams: _Grams) -> float:
    n, m = grams.across.shape
    means = grams.real.mean() + grams.made.mean() - 2 * grams.across.mean()
    trace_real = (grams.real.trace() - n * grams.real.mean()) / (n - 1)
    trace_made = (grams.made.trace() - m * grams.made.mean()) / (m - 1)
    across = grams.across
    centred = across - across.mean(dim=0) - across.mean(dim=1, keepdim=True) + across.mean()
    shared = torch.linalg.svdvals(centred).sum() / ((n - 1) * (m - 1)) ** 0.5
    return float(means + trace_real + trace_made - 2 * shared)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small matrices gain nothing from a second thread, and wait long for it on a machine that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _polynomial_kernel(a_ND: Tensor, b_MD: Tensor) -> Tensor:
    return (a_ND @ b_MD.T / a_ND.shape[1] + 1) ** 3


def _mean_off_diagonal(kernel_NN: Tensor) -> Tensor:
    count = len(kernel_NN)
    return (kernel_NN.sum() - kernel_NN.trace()) / (count * (count - 1))


def _off_diagonal_left_out(kernel_NN: Tensor) -> Tensor:
    """Return [G]: the off-diagonal mean without each group's rows and columns."""
    member_GN = _membership(len(kernel_NN))
    off_NN = kernel_NN - kernel_NN.diag().diag()
    gone = 2 * member_GN @ off_NN.sum(dim=1) - ((member_GN @ off_NN) * member_GN).sum(dim=1)
    left = len(kernel_NN) - member_GN.sum(dim=1)
    return (off_NN.sum() - gone) / (left * (left - 1))


def _left_out_mean(kernel_NM: Tensor) -> Tensor:
    """Return [G]: the mean without each group's rows."""
    n, m = kernel_NM.shape
    member_GN = _membership(n)
    return (kernel_NM.sum() - member_GN @ kernel_NM.sum(dim=1)) / ((n - member_GN.sum(dim=1)) * m)


def _membership(count: int) -> Tensor:
    return torch.nn.functional.one_hot(group_of_rows(count)).T.double()


def _groups(count: int) -> list[Tensor]:
    group = group_of_rows(count)
    return [(group == number).nonzero()[:, 0] for number in range(int(group.max()) + 1)]


def _all_but(count: int, rows: Tensor | None) -> Tensor:
    keep = torch.ones(count, dtype=torch.bool)
    if rows is not None:
        keep[rows] = False
    return keep


def _checked(features_ND: Tensor) -> Tensor:
    if features_ND.ndim != 2:
        raise EvaluationError(f"features must be [pictures, dimensions], got shape {list(features_ND.shape)}")
    if len(features_ND) < LEAST_PICTURES:
        raise TooFewPicturesError(f"{len(features_ND)} pictures are too few for a distance: at least {LEAST_PICTURES}")
    if not bool(features_ND.isfinite().all()):
        raise EvaluationError("features hold values that are not finite numbers")
    return features_ND.double()


def _same_dimensions(real_ND: Tensor, made_MD: Tensor) -> None:
    if real_ND.shape[1] != made_MD.shape[1]:
        raise EvaluationError(
            f"features of {real_ND.shape[1]} and {made_MD.shape[1]} dimensions are not one extractor's"
        )
