"""What figures over descriptors ask for before they measure.  Shapes: descriptors [N,E]."""

from __future__ import annotations

from torch import Tensor

from evaluation.errors import EvaluationError, TooFewPicturesError

LEAST_ROWS = 16


def checked_descriptors(rows_NE: Tensor, what: str) -> Tensor:
    """Return descriptors in float64; EvaluationError for another shape, too few rows, or values that are not finite."""
    if rows_NE.ndim != 2:
        raise EvaluationError(f"{what}: descriptors must be [pictures, numbers], got {list(rows_NE.shape)}")
    if len(rows_NE) < LEAST_ROWS:
        raise TooFewPicturesError(f"{len(rows_NE)} {what} are too few: {LEAST_ROWS} are needed")
    if not bool(rows_NE.isfinite().all()):
        raise EvaluationError(f"{what}: descriptors hold values that are not finite numbers")
    return rows_NE.double()
