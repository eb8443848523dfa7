"""Means and covariances of features, and what a Fréchet distance takes of them, in float64.

Shapes: features [N,D], covariances [D,D], factors [D,R] with Σ = L·Lᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    """The factors of the optimal maps between two Gaussians: Tr = Hr·Hrᵀ carries real to made, Tm the other way."""

    value: float
    real: Tensor  # Hr [D,S]
    made: Tensor  # Hm [D,S]


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
    roots = values_S.sqrt()
    return Transport(value, right_DS @ vectors_SS / roots, left_DR @ (across_RS @ vectors_SS) / (values_S * roots))


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
