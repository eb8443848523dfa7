"""The course of a serving watch as a section: the drift, the evidence for it, and the strangest pictures.

Shapes: descriptors [N,E].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.figures import Figure
from evaluation.measurement import Column, Curve, Finding, Grid, Line, PerPicture, Row, Section, Tile
from evaluation.selection import most_alike
from evaluation.style.serving import ServingWatch, Watched

SHOWN = 12
MOST_POINTS = 400  # of a curve on the page
NOTE = (
    "Each served picture's look is ranked among those of the golden run. One sum rises while pictures look stranger"
    " than golden ones, the other while they crowd at the golden run's middle; the alarm rings where either passes the"
    " threshold."
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the watch saw, a line a picture; ``alarm`` and ``began`` are places in the order served, None for none."""

    seen: tuple[Watched, ...]
    threshold: float
    alarm: int | None
    began: int | None


def watched(watch: ServingWatch, served_NE: Tensor) -> Found:
    """Show a watch all pictures in order, and find where it rang first and since when that sum had risen."""
    seen = tuple(watch.see(picture) for picture in served_NE)
    alarm = next((place for place, each in enumerate(seen) if each.alarm), None)
    began = None
    if alarm is not None:
        side = "upper" if seen[alarm].upper > watch.threshold else "lower"
        first = alarm - alarm % watch.quiet_pictures  # where the sums last began anew
        began = max((place + 1 for place in range(first, alarm) if getattr(seen[place], side) == 0), default=first)
    return Found(seen=seen, threshold=watch.threshold, alarm=alarm, began=began)


def section_of(
    found: Found, drift: Figure, columns: tuple[Column, Column], names: Sequence[str], finding: Finding
) -> Section:
    """Return the drift with its course, and the strangest pictures beside the golden ones nearest to them."""
    golden, served = columns
    strange = torch.tensor([each.strange for each in found.seen])
    rows = tuple(
        Row(
            tiles=tuple(Tile(label=column.short, picture=column.pictures[row]) for column in (served, golden)),
            caption=f"{row + 1:,}: {names[row]}",
            remark=f"strangeness {float(strange[row]):.2f}",
        )
        for row in most_alike(strange, SHOWN)
    )
    note = "The golden picture nearest in style beside each; 2 is stranger than 98 of 100 golden ones."
    return Section(
        name="serving",
        title="Serving drift of the style",
        note=NOTE,
        figures=(drift,),
        findings=(finding,),
        curves=_curves(found),
        grids=(Grid(title="Strangest", note=note, rows=rows),),
    )


def _curves(found: Found) -> tuple[Curve, ...]:
    marks = () if found.alarm is None else ((float(found.alarm + 1), "alarm"),)
    sums = [
        Line(label="stranger", points=_thinned([each.upper for each in found.seen])),
        Line(label="crowding", points=_thinned([each.lower for each in found.seen])),
        Line(label="threshold", points=((1.0, found.threshold), (float(len(found.seen)), found.threshold))),
    ]
    courses = [
        Curve(title="Evidence", note="", x_label="Served picture", y_label="sum", lines=tuple(sums), marks=marks)
    ]
    first = sum(each.drift is None for each in found.seen)
    drifts = [each.drift for each in found.seen if each.drift is not None]
    if drifts:
        line = Line(label="drift", points=_thinned(drifts, first))
        note = "Of the window that ends at each picture; about 0, and as often below, while nothing drifts."
        courses.append(
            Curve(title="Drift", note=note, x_label="Served picture", y_label="MMD²", lines=(line,), marks=marks)
        )
    return tuple(courses)


def _thinned(values: Sequence[float], before: int = 0) -> tuple[tuple[float, float], ...]:
    """Return (number of the picture, value) for as many pictures as a page can show, the last one among them."""
    step = -(-len(values) // MOST_POINTS)
    places = sorted({*range(0, len(values), step), len(values) - 1})
    return tuple((float(before + place + 1), values[place]) for place in places)


def strangeness(found: Found, identity: str) -> PerPicture:
    """Return how strange each picture is among golden ones: the normal score of its rank, 2 for 98 of 100."""
    values = torch.tensor([each.strange for each in found.seen], dtype=torch.float64)
    title = "Strangeness beside the golden run"
    return PerPicture(name="strangeness", title=title, values=values, identity=identity, better="lower")
