"""Writes what was measured: ``figures.json`` for the gate, ``report.html`` for people, ``grid.png`` to show around,
``pictures.parquet`` for ``atelier compare``.

The report is one file that fetches nothing: pictures are inside it, charts are drawn in it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from evaluation.evidence import FIGURES_FILE, PICTURES_FILE, Evidence, evidence_file
from evaluation.measurement import Measurement, Section
from evaluation.report.charts import HINTS, BarChart, bar_chart
from evaluation.report.plots import CurvePlot, HistogramPlot, curve_plot, histogram_plot
from evaluation.report.tiles import Strips, contact_sheet, side_by_side, strips_of, worst_cases
from evaluation.report.written import write_together
from evaluation.wording import figure_label, interval_text, value_text

TEMPLATES = Path(__file__).parent / "templates"
REPORT_FILE = "report.html"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")


@dataclass(frozen=True)
class SectionView:
    """A section as the page shows it; ``tone`` is its gravest finding's, "missing" or "plain"."""

    section: Section
    anchor: str
    tone: str
    charts: tuple[BarChart, ...]
    curves: tuple[CurvePlot, ...]
    histograms: tuple[HistogramPlot, ...]
    grids: tuple[Strips, ...]
    identities: tuple[str, ...]

    @classmethod
    def of(cls, section: Section) -> SectionView:
        """Lay a section's charts out."""
        return cls(
            section=section,
            anchor=re.sub(r"[^a-z0-9]+", "-", section.name.lower()),
            tone=_tone(section),
            charts=tuple(bar_chart(chart) for chart in section.charts if chart.bars),
            curves=tuple(curve_plot(curve) for curve in section.curves),
            histograms=tuple(histogram_plot(chart) for chart in section.histograms),
            grids=tuple(strips_of(grid) for grid in section.grids if grid.rows),
            identities=tuple(dict.fromkeys(figure.identity for figure in section.figures)),
        )


def write_report(measurement: Measurement, folder: Path) -> Path:
    """Write the files into ``folder``, all or none, and return the report's path."""
    text = json.dumps(measurement.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        "grid.png": png_bytes(contact_sheet(measurement)),
        PICTURES_FILE: evidence_file(Evidence.of(measurement), text.encode()),
        REPORT_FILE: render_report(measurement).encode(),
        FIGURES_FILE: text.encode(),
    }
    write_together(folder, files)
    return folder / REPORT_FILE


def render_report(measurement: Measurement) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            measurement=measurement,
            sections=[SectionView.of(section) for section in measurement.sections],
            examples=side_by_side(measurement),
            worst=worst_cases(measurement),
            made_on=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        )
    )


def environment() -> Environment:
    """Return Jinja with the templates of this package and the filters that they use."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        value=value_text, interval=interval_text, label=figure_label, count=_count, swatches=swatches, kept=unbroken
    )
    made.globals["hints"] = HINTS
    return made


def swatches(text: str) -> Markup:
    """Return a text in which each colour like #1e50a0 stands beside a small field of it."""
    field = r'<span class="swatch"><i style="background:\g<0>"></i><code>\g<0></code></span>'
    return Markup(_COLOUR.sub(field, str(escape(text))))


def unbroken(text: str) -> str:
    """Return a text in which no line ends between a number and its percent sign."""
    return text.replace(" %", "\u00a0%")


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _tone(section: Section) -> str:
    tones = {finding.tone for finding in section.findings}
    if section.missing:
        return "missing"
    return next((tone for tone in ("bad", "unsure", "good") if tone in tones), "plain")


def _count(items: Sequence[object] | int) -> str:
    return f"{items if isinstance(items, int) else len(items):,}"
