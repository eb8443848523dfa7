"""Leakage: does a picture take more from what was learnt than its look?

Shapes: features of made pictures [N,D] and of learnt ones [M,D], of one copy-detection network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from evaluation.errors import TooFewPicturesError
from evaluation.intervals import LEVEL, Interval, share_interval
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.metrics.nearest import nearest_cosine

TAIL = 0.95


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """How alike the made pictures are to the learnt one most like each: the tail, and the share above a threshold."""

    nearest: Tensor
    rows: Tensor
    tail: Interval
    above: Interval


def leakage(made_ND: Tensor, learnt_MD: Tensor, threshold: float) -> Leakage:
    """Return L: the 95th percentile of the highest cosine to a learnt picture, and the share above ``threshold``.

    The percentile's interval lies between two order statistics (binomial, no law assumed), the share's is Wilson's.
    Raises TooFewPicturesError for fewer than 16 pictures.
    """
    if len(made_ND) < LEAST_PICTURES or not len(learnt_MD):
        raise TooFewPicturesError(
            f"{len(made_ND)} made and {len(learnt_MD)} learnt pictures are too few to tell copies"
        )
    nearest, rows = nearest_cosine(made_ND, learnt_MD)
    share = share_interval(int((nearest > threshold).sum()), len(nearest))
    return Leakage(nearest=nearest, rows=rows, tail=_percentile(nearest, TAIL), above=share)


def _percentile(values_N: Tensor, share: float) -> Interval:
    ordered = values_N.sort().values
    low, high = stats.binom.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], len(ordered), share)
    places = [min(max(int(place), 0), len(ordered) - 1) for place in (low - 1, high)]
    return Interval(float(torch.quantile(ordered, share)), float(ordered[places[0]]), float(ordered[places[1]]))
