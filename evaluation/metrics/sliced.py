"""Sliced Wasserstein distance between two sets of pictures.

Shapes: features [N,D], directions [D,U], projections [N,U].
"""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.intervals import Estimate, to_first_order
from evaluation.metrics.checked import checked_pair, common_centre, product_type, same_count
from evaluation.metrics.sharing import spread

DIRECTIONS = 1000
_PROJECTED_DIRECTIONS = 125  # few at once multiply slowly
_SORTED_DIRECTIONS = 25  # and many at once leave the cache


def mind(
    real_ND: Tensor,
    made_ND: Tensor,
    names: tuple[str, str] = ("real", "made"),
    *,
    directions: int = DIRECTIONS,
    seed: int = 0,
) -> Estimate:
    """Return 3D/(N·U) Σ_u Σ_n |sort(u·x)_n - sort(u·y)_n|² over U unit directions drawn from ``seed``.

    Berthet et al. 2026 (arXiv:2605.06797) name it MIND with Inception's features.  Its interval takes each picture's
    part to first order from the potential of the optimal map along each direction (docs/adr/0013); the directions
    belong to the figure and are no part of it.  The figure grows as N falls.  Raises NotComparableError for sets of
    two sizes, EvaluationError for features that cannot be measured.
    """
    if directions < 1:
        raise EvaluationError(f"directions must be at least 1, got {directions}")
    real_ND, made_ND = checked_pair(real_ND, made_ND)
    same_count(real_ND, made_ND, "MIND")
    kind, centre_D = product_type(len(real_ND)), common_centre(real_ND, made_ND)
    real_ND, made_ND = ((each - centre_D.to(each.dtype)).to(kind) for each in (real_ND, made_ND))
    along_DU = unit_directions(real_ND.shape[1], directions, seed).to(kind)
    found = spread(lambda few_DU: _sliced(real_ND, made_ND, few_DU), along_DU.split(_PROJECTED_DIRECTIONS, dim=1))
    scale = 3 * real_ND.shape[1] / directions
    value = scale * sum(float(squares) for squares, _, _ in found)
    real_N, made_N = (scale * torch.stack(each).sum(dim=0) for each in list(zip(*found, strict=True))[1:])
    return Estimate(value, {names[0]: to_first_order(value, real_N), names[1]: to_first_order(value, made_N)})


def unit_directions(dimensions: int, directions: int, seed: int) -> Tensor:
    """Return float64 [D,U]: directions spread evenly over the sphere, the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    drawn_DU = torch.randn(directions, dimensions, generator=generator, dtype=torch.float64).T
    return torch.nn.functional.normalize(drawn_DU, dim=0)


def _sliced(real_ND: Tensor, made_ND: Tensor, along_DU: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of some directions the sum of mean squares, and each picture's part of it, float64 [N] and [N]."""
    real_UN, made_UN = along_DU.T @ real_ND.T, along_DU.T @ made_ND.T
    squares, parts = torch.zeros((), dtype=torch.float64), torch.zeros(2, len(real_ND), dtype=torch.float64)
    for at in range(0, along_DU.shape[1], _SORTED_DIRECTIONS):
        few_real_VN, real_at_VN = real_UN[at : at + _SORTED_DIRECTIONS].sort(dim=1)
        few_made_VN, made_at_VN = made_UN[at : at + _SORTED_DIRECTIONS].sort(dim=1)
        apart_VN = few_real_VN.double() - few_made_VN.double()
        squares += apart_VN.square().mean(dim=1).sum()
        parts[0].index_add_(0, real_at_VN.flatten(), _potential(few_real_VN.double(), apart_VN).flatten())
        parts[1].index_add_(0, made_at_VN.flatten(), _potential(few_made_VN.double(), -apart_VN).flatten())
    return squares, parts[0], parts[1]


def _potential(sorted_UN: Tensor, apart_UN: Tensor) -> Tensor:
    """Return φ [U,N] about a mean of zero, with φ' = 2(x - T(x)): what mass at x adds to the squared distance.

    T is the optimal map, which takes the n-th of one side to the n-th of the other; Santambrogio 2015, Prop. 7.17.
    """
    steps_UN = sorted_UN.diff(dim=1) * (apart_UN[:, 1:] + apart_UN[:, :-1])
    potential_UN = torch.nn.functional.pad(steps_UN.cumsum(dim=1), (1, 0))
    return potential_UN - potential_UN.mean(dim=1, keepdim=True)
