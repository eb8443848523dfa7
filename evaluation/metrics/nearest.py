"""The nearest of other pictures.  Shapes: features [N,D], learning pictures' features [M,D]."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.metrics.checked import same_dimensions

_TABLE_NUMBERS = 1 << 24  # 128 MiB


def nearest_cosine(features_ND: Tensor, learning_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row the highest cosine similarity to a learning picture, float64 [N], and its row, int64 [N].

    Raises EvaluationError for features of two lengths, and where there is no learning picture to be like.
    """
    same_dimensions(features_ND, learning_MD)
    if not len(learning_MD):
        raise EvaluationError("there are no learning pictures to look for the nearest among")
    unit_ND, unit_MD = (torch.nn.functional.normalize(values.double(), dim=1) for values in (features_ND, learning_MD))
    rows = max(1, _TABLE_NUMBERS // len(learning_MD))
    found = [(piece_BD @ unit_MD.T).max(dim=1) for piece_BD in unit_ND.split(rows)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
