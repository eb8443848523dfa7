"""Bars of figures as plain numbers in percent of their width; the template draws them as inline SVG.

Percentages, not a scaled drawing: text keeps its size on a telephone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluation.figures import Unit
from evaluation.measurement import Chart
from evaluation.wording import interval_text, value_text

HINTS = {"lower": "lower is better", "higher": "higher is better"}


@dataclass(frozen=True)
class Tick:
    """One number on an axis, in percent of its length."""

    text: str
    at: float


@dataclass(frozen=True)
class Axis:
    """A span of values and where each lies on it."""

    bottom: float
    top: float
    ticks: tuple[Tick, ...]

    @classmethod
    def over(cls, lowest: float, highest: float, unit: Unit = "number") -> Axis:
        """Return an axis with round numbers about five apart that holds both ends."""
        step = _nice_step(highest - lowest)
        bottom = step * math.floor(lowest / step + 1e-9)
        top = max(step * math.ceil(highest / step - 1e-9), bottom + step)
        numbers = [bottom + step * index for index in range(round((top - bottom) / step) + 1)]
        ticks = tuple(Tick(_tick_text(number, unit), _percent(number, bottom, top)) for number in numbers)
        return cls(bottom, top, ticks)

    def at(self, value: float) -> float:
        """Return the place of a value in percent."""
        return _percent(value, self.bottom, self.top)


@dataclass(frozen=True)
class Bar:
    """One figure on an axis that runs from 0 (or the lowest bound) to the highest bound, in percent."""

    label: str
    text: str
    interval: str
    start: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BarChart:
    """Bars of one identity with their common axis."""

    title: str
    hint: str
    note: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def bar_chart(chart: Chart) -> BarChart:
    """Lay a chart's figures out on one axis."""
    figures = [figure for _, figure in chart.bars]
    lowest = min(0.0, *(figure.low for figure in figures))
    axis = Axis.over(lowest, max(0.0, *(figure.high for figure in figures)), figures[0].unit)
    bars = tuple(
        Bar(label, value_text(f), interval_text(f), axis.at(0), axis.at(f.value), axis.at(f.low), axis.at(f.high))
        for label, f in chart.bars
    )
    hints = {HINTS[figure.better] for figure in figures}
    return BarChart(chart.title, hints.pop() if len(hints) == 1 else "", chart.note, bars, axis.ticks)


def _percent(value: float, bottom: float, top: float) -> float:
    return round(100 * (value - bottom) / (top - bottom), 2)


def _tick_text(number: float, unit: Unit) -> str:
    text = f"{100 * number:.6g} %" if unit == "share" else f"{number:,.10g}"
    return text.replace("-", "−")


def _nice_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that divides the span into about five parts."""
    if span <= 0:
        return 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
