"""Means over pictures that share subjects, and the difference of two such means picture by picture.

Legend: N pictures; drawings of one subject resemble each other, so that a subject, not a picture, is what chance drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evaluation.changes import p_of_zero
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import LEVEL, Estimate, combine, group_of_rows

SHARED = "pictures"  # one name, so that ``combine`` moves both sides of a difference together
LEAST_SUBJECTS = 8
Role = Literal["baseline", "floor", "model"]
Outcome = Literal["better", "unsure", "worse"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The model against one other way to get the picture, by one score.

    ``role`` is ``baseline`` for what a model should beat, ``floor`` for what no model can, and ``model`` for another
    model: the backbone beneath an adapter.  ``p`` is for no difference at all, of this comparison alone.
    """

    task: str
    score: str
    rival: str
    model: Figure
    other: Figure
    difference: Figure
    p: float
    role: Role = "baseline"

    def outcome(self, p: float) -> Outcome:
        """Return what is proven at a p value, which is this comparison's own or one corrected for its company."""
        if p >= 1 - LEVEL:
            return "unsure"
        return "better" if (self.difference.value > 0) == (self.difference.better == "higher") else "worse"


def mean_over(values_N: Tensor, subjects: Sequence[str]) -> Estimate:
    """Return the mean of ``values_N``, with the means when each subject in turn is left out.

    Beyond 64 subjects they are left out in groups.  Raises TooFewPicturesError for fewer than 8 subjects, whose
    interval would say little, and EvaluationError for values that are not finite or do not fit the subjects.
    """
    if values_N.shape != (len(subjects),):
        raise EvaluationError(f"{len(subjects)} subjects do not fit values of shape {list(values_N.shape)}")
    if not bool(values_N.isfinite().all()):
        raise EvaluationError("scores hold values that are not finite numbers")
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(subjects))}
    if len(numbers) < LEAST_SUBJECTS:
        raise TooFewPicturesError(
            f"the drawings show {len(numbers)} subjects: an interval needs {LEAST_SUBJECTS} or more, pass another"
            " suite.judge or more suite.pictures"
        )
    group_N = group_of_rows(len(numbers))[torch.tensor([numbers[subject] for subject in subjects])]
    values = values_N.double()
    sums = torch.zeros(int(group_N.max()) + 1, dtype=torch.float64).index_add(0, group_N, values)
    counts = torch.bincount(group_N).double()
    left_out = (values.sum() - sums) / (len(values) - counts)
    return Estimate(float(values.mean()), {SHARED: left_out})


def difference(model: Estimate, other: Estimate) -> Estimate:
    """Return model - other; what they share cancels, so that pairs count and not two crowds."""
    return combine(torch.sub, model, other)


@dataclass(frozen=True, kw_only=True)
class Named:
    """How the figures of one score of one task are called and told."""

    task: str
    score: str
    better: Better
    unit: Unit
    identity: str
    count: int

    def figure(self, estimate: Estimate, suffix: str = "", identity: str = "") -> Figure:
        """Return a figure of an estimate; ``suffix`` tells whose it is."""
        name = "_".join(part for part in (self.task, self.score, suffix) if part)
        told = self.identity + identity
        return Figure.of(name, estimate.interval(), count=self.count, identity=told, better=self.better, unit=self.unit)

    def against(self, model: Estimate, other: Estimate, key: str, rival: str, role: Role = "baseline") -> Comparison:
        """Return the comparison with a rival, whose figures are called after ``key``."""
        apart = difference(model, other)
        return Comparison(
            task=self.task,
            score=self.score,
            rival=rival,
            role=role,
            model=self.figure(model),
            other=self.figure(other, key),
            difference=self.figure(apart, f"{key}_difference", f"/less-{key}"),
            p=p_of_zero(apart),
        )
