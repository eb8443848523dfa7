"""How often a drawing stands in an epoch: coloured ones are fewer, and teach more."""

from __future__ import annotations

import numpy as np

from data.dataset import Dataset
from training.limits import check_share

MOST_REPEATS = 8


def balanced(dataset: Dataset, rows: list[int], colour_share: float) -> list[int]:
    """Bank rows for one epoch: whole repeats of the coloured ones until they make up ``colour_share``."""
    check_share("dataset.colour_share", colour_share)
    monochrome = dataset.index.column("monochrome")[np.asarray(rows, dtype=np.int64)]
    coloured: list[int] = np.flatnonzero(~monochrome).tolist()
    single: list[int] = np.flatnonzero(monochrome).tolist()
    if not coloured or not single or colour_share == 1:
        return coloured or single
    repeats = round(colour_share / (1 - colour_share) * len(single) / len(coloured))
    return coloured * max(1, min(MOST_REPEATS, repeats)) + single
