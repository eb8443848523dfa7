"""From what was measured in single pictures to figures of a set: means and shares with 95 % intervals.

Shapes: values float64 [N], one a picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.intervals import Estimate, group_of_rows

ROWS = "pictures"
ANY = (-math.inf, math.inf)
NOT_NEGATIVE = (0.0, math.inf)
SHARE = (0.0, 1.0)


def of_left_out(statistic: Callable[[Sequence[int]], float], count: int, within: tuple[float, float] = ANY) -> Estimate:
    """Return a statistic of the rows of a set, never beyond ``within``, and the same with each group of rows left out.

    The set is named after its rows, so that estimates of two columns, row by row of one caption and seed, are paired.
    """
    groups = group_of_rows(count).numpy()
    rows = np.arange(count)
    left_out = [statistic([int(row) for row in rows[groups != group]]) for group in range(int(groups.max()) + 1)]
    value = statistic([int(row) for row in rows])
    return Estimate(value, {ROWS: torch.tensor(left_out, dtype=torch.float64)}, within=within)


def mean_of(values_N: NDArray[np.float64], within: tuple[float, float] = ANY) -> Estimate:
    """Return the mean, whose jackknife interval is Student's, cut to ``within``."""
    return of_left_out(lambda rows: float(values_N[rows].mean()), len(values_N), within)


def hashed(parts: Sequence[str]) -> str:
    """Return 12 characters that name what was measured against, for a figure's identity."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
