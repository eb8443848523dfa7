"""Means and covariances of features, and what a Fréchet distance takes of them, in float64.

Shapes: features [N,D], covariances [D,D], factors [D,R] with Σ = L·Lᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.intervals import group_of_rows
from evaluation.metrics.checked import product_type
from evaluation.metrics.sharing import spread

_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Moments:
    """Number of rows, their sum [D], and their second moments [D,D] about a centre that all sets share."""

    count: int
    total: Tensor
    squares: Tensor

    @classmethod
    def none(cls, centre_D: Tensor) -> Moments:
        """Return the moments of no rows."""
        return cls(0, torch.zeros_like(centre_D), torch.zeros(len(centre_D), len(centre_D), dtype=torch.float64))

    @classmethod
    def of(cls, features_ND: Tensor, centre_D: Tensor) -> Moments:
        """Add rows up in pieces, so that no second copy of the features is made."""
        none = cls.none(centre_D)
        sum_D, squares_DD = none.total, none.squares
        for piece_BD in features_ND.split(_CHUNK_ROWS):
            rows_BD = piece_BD.double() - centre_D
            sum_D += rows_BD.sum(dim=0)
            squares_DD.addmm_(rows_BD.T, rows_BD)
        return cls(len(features_ND), sum_D, squares_DD)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Tensor:
        """[D], from the shared centre."""
        mean_D: Tensor = self.total / self.count
        return mean_D

    @property
    def covariance(self) -> Tensor:
        """[D,D], unbiased."""
        covariance_DD: Tensor = (self.squares - self.count * torch.outer(self.mean, self.mean)) / (self.count - 1)
        return covariance_DD


def frechet_of(real: Moments, made: Moments) -> float:
    """Return |μr - μm|² + tr(Σr + Σm - 2(ΣrΣm)^½).  Heusel et al. 2017, Eq. 6.

    tr (ΣrΣm)^½ is the sum of the singular values of LrᵀLm, here as roots of eigenvalues: for more pictures than
    dimensions, where none of them drowns in rounding.
    """
    real_DD, made_DD = real.covariance, made.covariance
    across_RS = factor(real_DD).T @ factor(made_DD)
    shared = torch.linalg.eigvalsh(across_RS.T @ across_RS).clamp(min=0).sqrt().sum()
    return float((real.mean - made.mean).square().sum() + real_DD.trace() + made_DD.trace() - 2 * shared)


def factor(covariance_DD: Tensor) -> Tensor:
    """Return L [D,R] with L·Lᵀ = Σ: by Cholesky, and where Σ is singular by its eigenvectors."""
    lower_DD, failed = torch.linalg.cholesky_ex(covariance_DD)
    if not int(failed) and float(lower_DD.diagonal().min()) > 1e-7 * float(lower_DD.diagonal().max()):
        return torch.as_tensor(lower_DD)
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    kept = values_D > len(values_D) * torch.finfo(torch.float64).eps * values_D[-1].clamp(min=0)
    return torch.as_tensor(vectors_DD[:, kept] * values_D[kept].sqrt())


def right_singular(matrix_RS: Tensor) -> tuple[Tensor, Tensor]:
    """Return singular values [S] and right singular vectors [S,S] in columns.

    The eigenvectors of KᵀK are as good as those of an SVD and take a third of its time; the roots of its eigenvalues
    are not, since the small ones drown in rounding.  So the values are the lengths of K's images of the vectors.
    """
    vectors_SS = torch.linalg.eigh(matrix_RS.T @ matrix_RS)[1]
    return torch.linalg.vector_norm(matrix_RS @ vectors_SS, dim=0), vectors_SS


@dataclass(frozen=True)
class Transport:
    """The factors of the optimal maps between two Gaussians: Tr = Hr·Hrᵀ carries real to made, Tm the other way.

    ``roots`` are the eigenvalues of (ΣrΣm)^½: both HrᵀΣrHr and HmᵀΣmHm are their diagonal matrix.
    """

    value: float
    real: Tensor  # Hr [D,S]
    made: Tensor  # Hm [D,S]
    roots: Tensor  # [S]

    def swapped(self) -> Transport:
        """Return the same seen from the made pictures."""
        return Transport(self.value, self.made, self.real, self.roots)


def transport(real: Moments, made: Moments) -> Transport:
    """Return the Fréchet distance with both optimal maps.

    With K = LrᵀLm = U·S·Vᵀ: tr (ΣrΣm)^½ = ΣS, Tr = Lm·V·S⁻¹·Vᵀ·Lmᵀ and Tm = Lr·U·S⁻¹·Uᵀ·Lrᵀ.  Directions that one of
    them lacks have no singular value and no part in a map.
    """
    real_DD, made_DD = real.covariance, made.covariance
    left_DR, right_DS = factor(real_DD), factor(made_DD)
    across_RS = left_DR.T @ right_DS
    values_S, vectors_SS = right_singular(across_RS)
    traces = real_DD.trace() + made_DD.trace() - 2 * values_S.sum()
    value = float((real.mean - made.mean).square().sum() + traces)
    kept = values_S > 1e-8 * values_S.max()
    values_S, vectors_SS = values_S[kept], vectors_SS[:, kept]
    halves_S = values_S.sqrt()
    real_DS = right_DS @ vectors_SS / halves_S
    return Transport(value, real_DS, left_DR @ (across_RS @ vectors_SS) / (values_S * halves_S), values_S)


def root_without(roots_S: Tensor, bent_BS: Tensor, count: int) -> float:
    """Return tr (ΣrΣm)^½ without B of ``count`` pictures, to second order; ``bent_BS`` are x·H of each of them.

    Their leaving changes HᵀΣH, the diagonal matrix of the roots s, by F, and so the trace by ½ Σ F_ii
    - ¼ Σ F_ij²/(s_i+s_j), by the divided differences of a root.  The second order counts where pictures are few for
    their dimensions.
    """
    gone = len(bent_BS)
    left, sum_S, kind = count - gone, bent_BS.sum(dim=0), roots_S.dtype
    change_SS = (bent_BS.T @ bent_BS).to(kind).addr_(sum_S.to(kind), sum_S.to(kind), alpha=1 / left).div_(1 - left)
    change_SS.diagonal().add_(roots_S, alpha=gone / (left - 1))
    first = change_SS.trace() / 2
    second = (change_SS.square_() / (roots_S[:, None] + roots_S)).sum() / 4
    return float(roots_S.sum() + first - second)


def values_without(features_ND: Tensor, centre_D: Tensor, own: Moments, other: Moments, maps: Transport) -> Tensor:
    """Return float64 [G]: the Fréchet distance without each group of pictures of one set, to second order.

    ``maps`` is seen from that set: ``maps.real`` is its own.  Means and traces are exact.
    """
    groups = int(group_of_rows(len(features_ND)).max()) + 1
    mean_D, scatter = centre_D + own.mean, (own.count - 1) * own.covariance.trace()
    other_trace, kind = other.covariance.trace(), product_type(own.count)
    map_DS = maps.real.to(kind)

    def without(group: int) -> float:
        rows_BD = features_ND[group::groups].double() - mean_D
        left, sum_D = own.count - len(rows_BD), rows_BD.sum(dim=0)
        root = root_without(maps.roots, rows_BD.to(kind) @ map_DS, own.count)
        trace = (scatter - rows_BD.square().sum() - sum_D.square().sum() / left) / (left - 1)
        return float((own.mean - sum_D / left - other.mean).square().sum() + trace + other_trace - 2 * root)

    return torch.tensor(spread(without, range(groups)), dtype=torch.float64)


def influence(features_ND: Tensor, centre_D: Tensor, own: Moments, other: Moments, map_DS: Tensor) -> Tensor:
    """Return float64 [N]: how much each picture moves the Fréchet distance, to first order and about a mean of zero.

    For a picture at x from its set's mean μ: 2(μ - ν)·x + |x|² - xᵀTx, the derivative of the distance along δ_x.
    """
    kind = features_ND.dtype
    mean_D, step_D, map_DS = (centre_D + own.mean).to(kind), (own.mean - other.mean).to(kind), map_DS.to(kind)
    pieces = []
    for piece_BD in features_ND.split(_CHUNK_ROWS):
        rows_BD = piece_BD - mean_D
        bent = (rows_BD @ map_DS).square().sum(dim=1, dtype=torch.float64)
        pieces.append(2 * (rows_BD @ step_D).double() + rows_BD.square().sum(dim=1, dtype=torch.float64) - bent)
    found_N = torch.cat(pieces)
    return found_N - found_N.mean()
