"""From what was measured in single pictures to figures of a set: means and shares with 95 % intervals.

Shapes: values float64 [N], one a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.intervals import Estimate, Interval, group_of_rows

ROWS = "pictures"


def of_left_out(statistic: Callable[[Sequence[int]], float], count: int) -> Estimate:
    """Return a statistic of the rows of a set, and the same with each group of rows left out.

    The set is named after its rows, so that estimates of two columns, row by row of one caption and seed, are paired.
    """
    groups = group_of_rows(count).numpy()
    rows = np.arange(count)
    left_out = [statistic([int(row) for row in rows[groups != group]]) for group in range(int(groups.max()) + 1)]
    return Estimate(statistic([int(row) for row in rows]), {ROWS: torch.tensor(left_out, dtype=torch.float64)})


def mean_of(values_N: NDArray[np.float64]) -> Estimate:
    """Return the mean, whose jackknife interval is Student's."""
    return of_left_out(lambda rows: float(values_N[rows].mean()), len(values_N))


def within(interval: Interval, lowest: float, highest: float) -> Interval:
    """Return an interval cut to what its statistic can be."""
    return Interval(interval.value, max(lowest, interval.low), min(highest, interval.high))


def hashed(parts: Sequence[str]) -> str:
    """Return 12 characters that name what was measured against, for a figure's identity."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
