"""Writes what was measured: ``figures.json`` for the gate, ``report.html`` for people, ``grid.png`` to show around.

The report is one file that fetches nothing: pictures are inside it, charts are drawn in it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from evaluation.charts import bar_chart, histogram, interval_text, value_text
from evaluation.drawing import to_image
from evaluation.files import write_whole
from evaluation.measurement import Column, Measurement
from evaluation.selection import best_spread, farthest_pairs, most_alike

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 24
WORST = 9
ALIKE = 8
GRID_COLUMNS = 12
GRID_PX = 128

MEANINGS = {
    "frechet_distance_brand": "Fréchet distance, with the adapter",
    "frechet_distance_unadapted": "Fréchet distance, without it",
    "frechet_distance_heldout": "Fréchet distance, held-out subjects",
    "frechet_distance_pictures": "Fréchet distance, the pictures",
    "frechet_distance_floor": "Fréchet distance, floor (real against real)",
    "kernel_distance_brand": "Kernel distance, with the adapter",
    "kernel_distance_unadapted": "Kernel distance, without it",
    "kernel_distance_heldout": "Kernel distance, held-out subjects",
    "kernel_distance_pictures": "Kernel distance, the pictures",
    "kernel_distance_floor": "Kernel distance, floor (real against real)",
    "frechet_ratio_heldout": "Fréchet distance, times the floor",
    "gap_closed": "Gap closed, from unadapted to floor",
    "memorisation_excess": "Copying: excess over unseen drawings",
}


@dataclass(frozen=True)
class Tile:
    """One picture in the page: its data URI and what it is."""

    uri: str
    label: str


@dataclass(frozen=True)
class Example:
    """Pictures side by side, with a caption and a remark."""

    caption: str
    tiles: tuple[Tile, ...]
    remark: str = ""


def write_report(measurement: Measurement, folder: Path) -> Path:
    """Write the three files into ``folder`` and return the report's path.

    Each is renamed into place when whole, the figures last: where they lie, the report of the same run lies too.
    """
    write_whole(folder / "grid.png", _png(contact_sheet(measurement)))
    write_whole(folder / "report.html", render_report(measurement).encode())
    text = json.dumps(measurement.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / "figures.json", text.encode())
    return folder / "report.html"


def render_report(measurement: Measurement) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=value_text, interval=interval_text, count=_count)
    return environment.get_template("report.html.jinja").render(
        measurement=measurement,
        meanings=MEANINGS,
        charts=[bar_chart(chart) for chart in measurement.charts],
        examples=_examples(measurement),
        worst=_worst(measurement),
        alike=_alike(measurement),
        histogram=histogram(measurement.likeness) if measurement.likeness else None,
        made_on=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    )


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
            picture = to_image(column.pictures[row]).resize((GRID_PX, GRID_PX), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, top + kind * (GRID_PX + 2)))
    for band in range(bands):
        for kind, column in enumerate(measurement.columns):
            middle = gap + band * band_px + kind * (GRID_PX + 2) + GRID_PX // 2
            pen.text((margin - 10, middle), column.short, fill="#404855", font=font, anchor="rm")
    return sheet


def _examples(measurement: Measurement) -> list[Example]:
    rows = best_spread(measurement.columns[0].features, EXAMPLES)
    return [_side_by_side(measurement, row) for row in rows]


def _worst(measurement: Measurement) -> list[Example]:
    real, made = measurement.columns[:2]
    rows, distance = farthest_pairs(real.features, made.features, WORST)
    return [_side_by_side(measurement, row, f"cosine distance {float(distance[row]):.2f}") for row in rows]


def _alike(measurement: Measurement) -> list[Example]:
    likeness = measurement.likeness
    if likeness is None:
        return []
    made = measurement.columns[1]
    examples = []
    for row in most_alike(likeness.made, ALIKE):
        nearest = int(likeness.nearest[row])
        tiles = (
            Tile(_data_uri(made.pictures[row]), f"drawn: {measurement.captions[row]}"),
            Tile(_data_uri(likeness.learning[nearest]), f"learnt: {likeness.learning_captions[nearest]}"),
        )
        examples.append(Example("", tiles, f"similarity {float(likeness.made[row]):.2f}"))
    return examples


def _side_by_side(measurement: Measurement, row: int, remark: str = "") -> Example:
    tiles = tuple(_tile(column, row) for column in measurement.columns)
    return Example(measurement.captions[row], tiles, remark)


def _tile(column: Column, row: int) -> Tile:
    return Tile(_data_uri(column.pictures[row]), column.short)


def _data_uri(picture_3HW: Tensor) -> str:
    buffer = io.BytesIO()
    to_image(picture_3HW).save(buffer, format="WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _count(items: Sequence[object] | int) -> str:
    return f"{items if isinstance(items, int) else len(items):,}"
