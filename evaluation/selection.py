"""Which of many pictures a person should see.  Shapes: features [N,D], distances [N]."""

from __future__ import annotations

import torch
from torch import Tensor


def best_spread(features_ND: Tensor, count: int) -> list[int]:
    """Return ``count`` rows that cover the set: from the middle outwards, each farthest from those before it.

    Farthest-point sampling, Gonzalez 1985; deterministic, ties go to the lower row.
    """
    features = features_ND.double()
    chosen = [int((features - features.mean(dim=0)).norm(dim=1).argmin())]
    nearest_N = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < min(count, len(features)):
        chosen.append(int(nearest_N.argmax()))
        nearest_N = torch.minimum(nearest_N, (features - features[chosen[-1]]).norm(dim=1))
    return chosen


def farthest_pairs(one_ND: Tensor, other_ND: Tensor, count: int) -> tuple[list[int], Tensor]:
    """Return the ``count`` rows whose pictures are most unlike their counterparts, and all cosine distances [N]."""
    cosine_N = torch.nn.functional.cosine_similarity(one_ND.double(), other_ND.double(), dim=1)
    return _top(1 - cosine_N, count), 1 - cosine_N


def most_alike(similarity_N: Tensor, count: int) -> list[int]:
    """Return the ``count`` rows of highest similarity, the highest first."""
    return _top(similarity_N, count)


def _top(values_N: Tensor, count: int) -> list[int]:
    return [int(row) for row in values_N.sort(descending=True, stable=True).indices[:count]]
