"""Curves and histograms as numbers in percent of a plot's width and height; the template draws them as inline SVG.

Shapes: values [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.figures import Unit
from evaluation.measurement import Curve, Histogram, Line
from evaluation.report.charts import Axis, Tick
from evaluation.wording import number_text, range_text

BINS = 28
WHISKERED = 16  # so few points show their bounds one by one, more show a band
HEADROOM = 0.92


@dataclass(frozen=True)
class Mark:
    """A line at a place of the horizontal axis, with its label."""

    text: str
    at: float


@dataclass(frozen=True)
class Dot:
    """A point of a line with its bounds, in percent; ``text`` says the numbers."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Trace:
    """A line: ``path`` and ``band`` are SVG's points in percent, y downwards."""

    label: str
    path: str
    band: str
    dots: tuple[Dot, ...]
    summary: str


@dataclass(frozen=True)
class CurvePlot:
    """Lines over their axes."""

    title: str
    note: str
    x_label: str
    y_label: str
    traces: tuple[Trace, ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class HistogramPlot:
    """Sets of values in equal bins: each an outline that starts and ends on the ground."""

    title: str
    note: str
    x_label: str
    sets: tuple[tuple[str, str], ...]
    summary: str
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


def curve_plot(curve: Curve) -> CurvePlot:
    """Lay a curve's lines out; EvaluationError when none of them has a point."""
    xs = [x for line in curve.lines for x, _ in line.points] + [x for x, _ in curve.marks]
    ys = [y for line in curve.lines for _, y in line.points]
    ys += [bound for line in curve.lines for bounds in line.bounds for bound in bounds]
    if not ys:
        raise EvaluationError(f"the curve '{curve.title}' has no points")
    x_axis, y_axis = _whole_axis(xs), Axis.over(min(ys), max(ys), curve.unit)
    return CurvePlot(
        title=curve.title,
        note=curve.note,
        x_label=curve.x_label,
        y_label=curve.y_label,
        traces=tuple(_trace(line, x_axis, y_axis, curve.unit) for line in curve.lines if line.points),
        marks=tuple(Mark(text, x_axis.at(x)) for x, text in curve.marks),
        x_ticks=x_axis.ticks,
        y_ticks=y_axis.ticks,
    )


def histogram_plot(chart: Histogram) -> HistogramPlot:
    """Lay sets of values out in equal bins over one axis, each as shares of its own set."""
    everything = torch.cat([values.double().flatten() for _, values in chart.values])
    if not len(everything):
        raise EvaluationError(f"the histogram '{chart.title}' has no values")
    ends = [float(everything.min()), float(everything.max()), *(value for value, _ in chart.marks)]
    axis = Axis.over(min(ends), max(ends))
    shares = [(label, _shares(values, axis)) for label, values in chart.values if len(values)]
    tallest = max(max(each) for _, each in shares)
    return HistogramPlot(
        title=chart.title,
        note=chart.note,
        x_label=chart.x_label,
        sets=tuple((label, _outline([HEADROOM * share / tallest for share in each])) for label, each in shares),
        summary="; ".join(f"{label}: median {float(values.median()):.3g}" for label, values in chart.values),
        marks=tuple(Mark(text, axis.at(value)) for value, text in chart.marks),
        ticks=axis.ticks,
    )


def _whole_axis(xs: Sequence[float]) -> Axis:
    """Return an axis; one of few whole numbers (versions, steps) has a tick at each of them and none between."""
    whole = sorted({round(x) for x in xs})
    if all(x == round(x) for x in xs) and whole[-1] - whole[0] < 12:
        bottom, top = whole[0] - 0.5, whole[-1] + 0.5
        numbers = range(whole[0], whole[-1] + 1)
        return Axis(bottom, top, tuple(Tick(str(n), round(100 * (n - bottom) / (top - bottom), 2)) for n in numbers))
    return Axis.over(min(xs), max(xs))


def _trace(line: Line, x_axis: Axis, y_axis: Axis, unit: Unit) -> Trace:
    places = [(x_axis.at(x), round(100 - y_axis.at(y), 2)) for x, y in line.points]
    bounds = [(round(100 - y_axis.at(low), 2), round(100 - y_axis.at(high), 2)) for low, high in line.bounds]
    few = len(places) <= WHISKERED
    upper = [(x, high) for (x, _), (_, high) in zip(places, bounds, strict=False)]
    lower = [(x, low) for (x, _), (low, _) in zip(places, bounds, strict=False)]
    pairs: list[tuple[float | None, float | None]] = [*bounds] or [(None, None)] * len(places)
    dots = [
        Dot(x, y, low, high, _point_text(line, row, unit))
        for row, ((x, y), (low, high)) in enumerate(zip(places, pairs, strict=True))
    ]
    return Trace(
        label=line.label,
        path=_points(places),
        band="" if few else _points(upper + lower[::-1]),
        dots=tuple(dots) if few else (),
        summary=_summary(line, unit),
    )


def _summary(line: Line, unit: Unit) -> str:
    ends = dict.fromkeys((line.points[0], line.points[-1]))
    return f"{line.label}: " + ", ".join(f"{number_text(y, unit)} at {x:g}" for x, y in ends)


def _point_text(line: Line, row: int, unit: Unit) -> str:
    x, y = line.points[row]
    between = f" ({range_text(*line.bounds[row], unit)})" if line.bounds else ""
    return f"{line.label}: {number_text(y, unit)}{between} at {x:g}"


def _shares(values: Tensor, axis: Axis) -> list[float]:
    counts = torch.histc(values.double(), bins=BINS, min=axis.bottom, max=axis.top)
    return [float(share) for share in counts / len(values)]


def _outline(heights: Sequence[float]) -> str:
    """Return the steps over all bins as SVG points in percent, from the ground and back to it."""
    width = 100 / len(heights)
    steps = [
        (place * width + side * width, 100 - 100 * height) for place, height in enumerate(heights) for side in (0, 1)
    ]
    return _points([(0, 100), *steps, (100, 100)])


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.6g},{y:.6g}" for x, y in places)
