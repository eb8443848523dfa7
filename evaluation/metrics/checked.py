"""What every metric asks of features before it measures.  Shapes: features [N,D]."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.errors import EvaluationError, NotComparableError, TooFewPicturesError

LEAST_PICTURES = 16
DOUBLE_ROWS = 4096
_SCAN_ROWS = 4096


def checked_features(features_ND: Tensor) -> Tensor:
    """Return features in float32 or float64, whichever loses nothing.

    Raises EvaluationError for what is no [N,D] table of numbers, for fewer than 16 rows and for a value that is not
    finite, with the row where it stands.
    """
    if features_ND.ndim != 2 or features_ND.shape[1] == 0:
        raise EvaluationError(f"features must be [pictures, dimensions], got shape {list(features_ND.shape)}")
    if features_ND.is_complex() or features_ND.dtype == torch.bool:
        raise EvaluationError(f"features must be real numbers, got {features_ND.dtype}")
    if len(features_ND) < LEAST_PICTURES:
        raise TooFewPicturesError(f"{len(features_ND)} pictures are too few for a distance: at least {LEAST_PICTURES}")
    for start in range(0, len(features_ND), _SCAN_ROWS):
        finite_B = features_ND[start : start + _SCAN_ROWS].isfinite().all(dim=1)
        if not bool(finite_B.all()):
            row = start + int((~finite_B).nonzero()[0, 0])
            raise EvaluationError(f"features hold values that are not finite numbers, the first in row {row}")
    halves = features_ND.dtype in (torch.float16, torch.bfloat16, torch.float32)
    return features_ND.detach().cpu().to(torch.float32 if halves else torch.float64)


def checked_pair(real_ND: Tensor, made_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets checked; EvaluationError unless their features have one length."""
    real_ND, made_MD = checked_features(real_ND), checked_features(made_MD)
    same_dimensions(real_ND, made_MD)
    return real_ND, made_MD


def same_dimensions(real_ND: Tensor, made_MD: Tensor) -> None:
    """Raise EvaluationError unless both sets have features of one length."""
    if real_ND.shape[1] != made_MD.shape[1]:
        raise EvaluationError(
            f"features of {real_ND.shape[1]} and {made_MD.shape[1]} dimensions are not one extractor's"
        )


def same_count(real_ND: Tensor, made_MD: Tensor, metric: str) -> None:
    """Raise NotComparableError unless both sets hold as many pictures."""
    if len(real_ND) != len(made_MD):
        raise NotComparableError(
            f"{metric} holds sets of one size against each other, got {len(real_ND)} and {len(made_MD)} pictures"
        )


def common_centre(real_ND: Tensor, made_MD: Tensor) -> Tensor:
    """Return float64 [D], the mean of all pictures.

    A shift common to both changes no distance between them; taking it out keeps the digits that count.
    """
    total_D = real_ND.sum(dim=0, dtype=torch.float64) + made_MD.sum(dim=0, dtype=torch.float64)
    return total_D / (len(real_ND) + len(made_MD))


def product_type(count: int) -> torch.dtype:
    """Return the type in which inner products of ``count`` pictures are taken: float32 beyond 4,096, always summed in
    float64.  A sum over millions of pairs averages their rounding out, and takes half the time."""
    return torch.float64 if count <= DOUBLE_ROWS else torch.float32
