"""How well pictures find their captions and captions their pictures, among N of each.

Shapes: points [N,E], scores [N,N], ranks int64 [N] (1 is first).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from evaluation.intervals import LEVEL, Interval, share_interval

CUTS = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """Recall among the first 1, 5 and 10, and the median rank, each with its 95 % interval; N queries among N."""

    count: int
    recall: dict[int, Interval]
    median_rank: Interval

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""
        recalls = {f"recall@{cut}": _plain(interval) for cut, interval in self.recall.items()}
        return {"count": self.count, **recalls, "median_rank": _plain(self.median_rank)}


def ranks(scores_NN: Tensor) -> Tensor:
    """Return the rank of each row's own column; what scores as high as one's own counts as before it."""
    own_N1 = scores_NN.diagonal()[:, None]
    return (scores_NN >= own_N1).sum(dim=1)


def retrieval(scores_NN: Tensor) -> Retrieval:
    """Return how well rows find their own columns.

    Recall has Wilson's interval; the median's bounds are the order statistics that hold it with 95 % probability.
    """
    ranks_N = ranks(scores_NN).sort().values
    recall = {cut: share_interval(int((ranks_N <= cut).sum()), len(ranks_N)) for cut in CUTS}
    return Retrieval(count=len(ranks_N), recall=recall, median_rank=_median(ranks_N.tolist()))


def chance(count: int) -> Retrieval:
    """Return what scores without meaning give: recall@k = k / N, median rank (N + 1) / 2."""
    recall = {cut: Interval(*(3 * (min(1.0, cut / count),))) for cut in CUTS}
    return Retrieval(count=count, recall=recall, median_rank=Interval(*(3 * ((count + 1) / 2,))))


def _median(ranks_N: Sequence[int]) -> Interval:
    count = len(ranks_N)
    low, high = (int(place) for place in stats.binom.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], count, 0.5))
    value = float(torch.tensor(ranks_N, dtype=torch.float64).quantile(0.5))
    return Interval(value, float(ranks_N[max(0, low - 1)]), float(ranks_N[min(count - 1, high)]))


def _plain(interval: Interval) -> dict[str, float]:
    return {key: round(number, 4) if math.isfinite(number) else number for key, number in vars(interval).items()}
