"""Pictures in the page, and on the contact sheet.  Shapes: pictures uint8 [3,H,W]."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from evaluation.drawing import to_image
from evaluation.measurement import Column, Grid, Measurement
from evaluation.selection import best_spread, farthest_pairs

EXAMPLES = 24
WORST = 9
MOST_PX = 192  # larger pictures are shown smaller: the page stays one that can be sent
GRID_COLUMNS = 12
GRID_PX = 128


@dataclass(frozen=True)
class ShownTile:
    """One picture in the page: its data URI and what it is."""

    uri: str
    label: str


@dataclass(frozen=True)
class Example:
    """Pictures side by side, with a caption and a remark."""

    caption: str
    tiles: tuple[ShownTile, ...]
    remark: str = ""


@dataclass(frozen=True)
class Strips:
    """Examples under a title; ``narrow`` ones have so few pictures that more of them fit side by side."""

    title: str
    note: str
    examples: tuple[Example, ...]
    narrow: bool


def strips_of(grid: Grid) -> Strips:
    """Return a panel's grid as the page shows it."""
    examples = tuple(
        Example(row.caption, tuple(ShownTile(data_uri(tile.picture), tile.label) for tile in row.tiles), row.remark)
        for row in grid.rows
    )
    return Strips(grid.title, grid.note, examples, all(len(row.tiles) <= 2 for row in grid.rows))


def side_by_side(measurement: Measurement) -> Strips:
    """Return examples that cover the judging drawings."""
    rows = best_spread(measurement.columns[0].features, EXAMPLES)
    order = "; ".join(_lowered(column.title) for column in measurement.columns)
    note = (
        f"{len(rows)} of {len(measurement.captions)}, chosen to lie as far apart from each other as they can. From left"
        f" to right: {order}."
    )
    examples = tuple(_example(measurement, row) for row in rows)
    return Strips("Side by side", note, examples, len(measurement.columns) <= 2)


def worst_cases(measurement: Measurement) -> Strips:
    """Return the made pictures that are most unlike their real counterparts."""
    real, made = measurement.columns[:2]
    rows, distance = farthest_pairs(real.features, made.features, WORST)
    examples = tuple(_example(measurement, row, f"cosine distance {float(distance[row]):.2f}") for row in rows)
    note = "The pictures that are most unlike the real drawing beside them."
    return Strips("Worst cases", note, examples, len(measurement.columns) <= 2)


def contact_sheet(measurement: Measurement) -> Image.Image:
    """Return the examples as one picture: each caption's pictures below each other, labelled at the left."""
    rows = best_spread(measurement.columns[0].features, EXAMPLES)
    across = min(GRID_COLUMNS, len(rows))
    bands = -(-len(rows) // across)
    gap, margin, kinds = 8, 118, len(measurement.columns)
    band_px = kinds * (GRID_PX + 2) + 2 * gap
    sheet = Image.new("RGB", (margin + across * (GRID_PX + gap) + gap, bands * band_px + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for place, row in enumerate(rows):
        left, top = margin + (place % across) * (GRID_PX + gap), gap + (place // across) * band_px
        for kind, column in enumerate(measurement.columns):
            sheet.paste(_scaled(column.pictures[row], GRID_PX), (left, top + kind * (GRID_PX + 2)))
    for band in range(bands):
        for kind, column in enumerate(measurement.columns):
            middle = gap + band * band_px + kind * (GRID_PX + 2) + GRID_PX // 2
            pen.text((margin - 10, middle), column.short, fill="#404855", font=font, anchor="rm")
    return sheet


def data_uri(picture_3HW: Tensor) -> str:
    """Return a picture as a lossless WebP inside a URI, at most 192 px wide and high."""
    picture = to_image(picture_3HW)
    if max(picture.size) > MOST_PX:
        picture.thumbnail((MOST_PX, MOST_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def tiles_of(columns: Sequence[Column], row: int) -> tuple[ShownTile, ...]:
    """Return one row of each column, labelled with the column's short name."""
    return tuple(ShownTile(data_uri(column.pictures[row]), column.short) for column in columns)


def _example(measurement: Measurement, row: int, remark: str = "") -> Example:
    return Example(measurement.captions[row], tiles_of(measurement.columns, row), remark)


def _scaled(picture_3HW: Tensor, side_px: int) -> Image.Image:
    picture = to_image(picture_3HW)
    larger = picture.width > side_px
    return picture.resize((side_px, side_px), Image.Resampling.LANCZOS if larger else Image.Resampling.NEAREST)


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]
