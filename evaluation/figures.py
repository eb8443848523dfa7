"""Figures: a value, its interval, and the identity without which it means nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from evaluation.errors import EvaluationError, NotComparableError
from evaluation.intervals import Interval

Better = Literal["lower", "higher"]
Unit = Literal["number", "share", "dB"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    ``count`` is the number of pictures a side; ``identity`` names the metric, the extractor with its digest, the
    preprocessing, the judging drawings and N.  Two figures compare only when both are equal.
    """

    name: str
    value: float
    low: float
    high: float
    count: int
    identity: str
    better: Better
    unit: Unit = "number"

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise EvaluationError(f"figure {self.name} is not a finite number: {self.low} … {self.value} … {self.high}")
        if self.better not in ("lower", "higher"):
            raise EvaluationError(f"figure {self.name}: better is 'lower' or 'higher', not {self.better!r}")

    @classmethod
    def of(
        cls, name: str, interval: Interval, *, count: int, identity: str, better: Better, unit: Unit = "number"
    ) -> Figure:
        """Return a figure of an interval."""
        return cls(
            name=name,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            count=count,
            identity=identity,
            better=better,
            unit=unit,
        )

    def to_json(self) -> dict[str, object]:
        """Return the form in which a gate reads the figure."""
        return asdict(self)


def check_comparable(*figures: Figure) -> None:
    """Raise NotComparableError unless all figures have one identity and one number of pictures."""
    first = figures[0]
    for other in figures[1:]:
        if (other.identity, other.count) != (first.identity, first.count):
            raise NotComparableError(
                f"{first.name} and {other.name} must not be compared: "
                f"{first.identity} (N={first.count}) against {other.identity} (N={other.count})"
            )


def clearly_better(figure: Figure, other: Figure) -> bool:
    """Return whether the pessimistic bound of ``figure`` beats the optimistic bound of ``other``.

    Raises NotComparableError when the two measured different things.
    """
    check_comparable(figure, other)
    if figure.better == "lower":
        return figure.high < other.low
    return figure.low > other.high
