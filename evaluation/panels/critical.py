"""Are the colours right that must be: the part of the panel ``palette`` for a kit's critical colours.

Shapes: pictures uint8 [3,H,W].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from evaluation.elements.colour import Colours
from evaluation.elements.critical import CriticalColour, element_step, meant_mask
from evaluation.elements.estimates import hashed
from evaluation.elements.palette import Palette, ground_of, pixels_of
from evaluation.figures import Figure
from evaluation.intervals import Interval, share_interval
from evaluation.measurement import Column, Table
from evaluation.scene import Scene


def critical_colours(
    scene: Scene,
    criticals: Sequence[CriticalColour],
    brand: Palette,
    columns: Mapping[str, Column],
    ground: Colours | None,
) -> tuple[list[Figure], list[Table]]:
    """Return a figure a column and a table: how often a critical colour is right where it is meant.

    The figure is the share of elements within their tolerance; a column without any has none.
    """
    if not criticals:
        return [], []
    named = [f"{each.colour}±{each.tolerance:g}" for each in criticals]
    identity = scene.identity("critical-colours", f"critical@{hashed([*named, *brand.names])}")
    figures, rows = [], []
    for suffix, column in columns.items():
        steps = [_steps(picture, criticals, brand, ground) for picture in column.pictures]
        found = [[step for each in steps if (step := each[place]) is not None] for place in range(len(criticals))]
        right = [sum(step <= one.tolerance for step in each) for one, each in zip(criticals, found, strict=True)]
        rows += [_row(*each, column.title) for each in zip(criticals, found, right, strict=True)]
        if total := sum(map(len, found)):
            interval = share_interval(sum(right), total)
            figures.append(_figure(f"critical_colours_{suffix}", interval, scene.count, identity))
    table = Table(
        title="Critical colours",
        note="Elements that are meant to be in a colour: within ΔE2000 20 of it, nearer to it than to the brand's other"
        " colours, at least 1 % of the picture. An element's colour is the median of its pixels away from edges.",
        headings=("colour", "tolerance, ΔE2000", "pictures", "median ΔE2000", "within tolerance"),
        rows=tuple(rows),
    )
    return figures, [table]


def _row(critical: CriticalColour, found: Sequence[float], right: int, title: str) -> tuple[str, ...]:
    median = f"{float(np.median(np.array(found))):.1f}" if found else "–"
    return (critical.colour, f"{critical.tolerance:g}", title, median, f"{right} of {len(found)}")


def _figure(name: str, interval: Interval, count: int, identity: str) -> Figure:
    return Figure.of(name, interval, count=count, identity=identity, better="higher", unit="share")


def _steps(
    picture: Tensor, criticals: Sequence[CriticalColour], brand: Palette, ground: Colours | None
) -> list[float | None]:
    """Return the ΔE2000 of each critical colour's element in a picture, None where there is none."""
    pixels = pixels_of(picture)
    drawn = np.ones(pixels.shape[:2], dtype=bool) if ground is None else ~ground_of(pixels, ground)
    masks = [meant_mask(pixels, drawn, critical, brand.names) for critical in criticals]
    return [element_step(pixels, mask, one.colour) for mask, one in zip(masks, criticals, strict=True)]
