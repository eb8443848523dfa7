"""Charts as plain numbers in percent of their width and height; the template draws them as inline SVG.

Percentages, not a scaled drawing: text keeps its size on a telephone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.figures import Figure
from evaluation.intervals import tail_threshold
from evaluation.measurement import Chart, Likeness
from evaluation.yardstick import CONTROL_SHARE

BINS = 28
SHARES = frozenset({"gap_closed", "memorisation_excess"})


@dataclass(frozen=True)
class Bar:
    """One figure on an axis that runs from 0 (or the lowest bound) to the highest bound."""

    label: str
    text: str
    interval: str
    start: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tick:
    """One number on an axis."""

    text: str
    at: float


@dataclass(frozen=True)
class BarChart:
    """Bars of one identity with their common axis."""

    title: str
    note: str
    identity: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Column:
    """One bin of a histogram: two heights in percent of the plot."""

    at: float
    width: float
    made: float
    control: float


@dataclass(frozen=True)
class Histogram:
    """Similarities of made pictures and of the control, with the control's 99th percentile."""

    columns: tuple[Column, ...]
    threshold: float
    threshold_text: str
    ticks: tuple[Tick, ...]


def bar_chart(chart: Chart) -> BarChart:
    """Lay a chart's figures out on one axis."""
    figures = [figure for _, figure in chart.bars]
    step = _nice_step(max(f.high for f in figures) - min(0.0, *(f.low for f in figures)))
    bottom = step * math.floor(min(0.0, *(f.low for f in figures)) / step)
    top = step * math.ceil(max(f.high for f in figures) / step)
    numbers = [bottom + step * index for index in range(round((top - bottom) / step) + 1)]

    def at(value: float) -> float:
        return round(100 * (value - bottom) / (top - bottom), 2)

    bars = tuple(
        Bar(label, value_text(f), interval_text(f), at(0), at(f.value), at(f.low), at(f.high))
        for label, f in chart.bars
    )
    ticks = tuple(Tick(f"{number:.10g}".replace("-", "−"), at(number)) for number in numbers)
    return BarChart(chart.title, chart.note, figures[0].identity, bars, ticks)


def histogram(likeness: Likeness) -> Histogram:
    """Lay the made pictures' and the control's similarities out in equal bins."""
    both = torch.cat([likeness.made, likeness.control])
    bottom, top = float(both.min()), float(both.max())
    top = top if top > bottom else bottom + 1e-6
    made, control = (_shares(values, bottom, top) for values in (likeness.made, likeness.control))
    tallest = max(*made, *control)
    width = 100 / BINS
    columns = tuple(
        Column(round(index * width, 3), round(width, 3), round(92 * m / tallest, 2), round(92 * c / tallest, 2))
        for index, (m, c) in enumerate(zip(made, control, strict=True))
    )
    threshold = tail_threshold(likeness.control, CONTROL_SHARE)
    ticks = tuple(Tick(f"{bottom + (top - bottom) * part:.2f}", 100 * part) for part in (0, 0.25, 0.5, 0.75, 1))
    at = round(100 * (threshold - bottom) / (top - bottom), 2)
    return Histogram(columns, at, f"{threshold:.2f}", ticks)


def value_text(figure: Figure) -> str:
    """Return a figure's value for people: shares in percent, other values with three telling digits."""
    return f"{_percent(figure.value)} %" if figure.name in SHARES else _three_digits(figure.value)


def interval_text(figure: Figure) -> str:
    """Return a figure's bounds for people, as ``value_text`` writes them."""
    if figure.name in SHARES:
        return f"{_percent(figure.low)} to {_percent(figure.high)} %"
    return f"{_three_digits(figure.low)} to {_three_digits(figure.high)}"


def _percent(share: float) -> str:
    return f"{round(100 * share)}".replace("-", "−")


def _three_digits(value: float) -> str:
    """93.6, 0.056, 1,204."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}".replace("-", "−")


def _shares(values: Tensor, bottom: float, top: float) -> list[float]:
    counts = torch.histc(values.double(), bins=BINS, min=bottom, max=top)
    return [float(share) for share in counts / len(values)]


def _nice_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that divides the span into about five parts."""
    if span <= 0:
        return 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
