"""Writes what changed: ``compare.html`` for people, ``changes.json`` for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from evaluation.comparison import Change, Comparison, most_moved
from evaluation.measurement import Histogram
from evaluation.report.charts import Axis
from evaluation.report.page import SectionView, environment
from evaluation.report.plots import HistogramPlot, histogram_plot
from evaluation.report.tiles import Example, ShownTile, Strips, data_uri
from evaluation.report.written import write_together
from evaluation.wording import number_text, p_text, range_text

PAGE_FILE = "compare.html"
MOST_CHANGED = 24
WORDS = {"better": "better", "worse": "worse", "open": "no proof of a change", "equal": "equal"}
TONES = {"better": "good", "worse": "bad", "open": "unsure", "equal": "plain"}


@dataclass(frozen=True)
class ChangeView:
    """A change as the page shows it; places are percent of an axis on which 0 is no change."""

    change: Change
    tone: str
    word: str
    before: str
    after: str
    difference: str
    interval: str
    p: str
    effect: str
    zero: float
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, change: Change) -> ChangeView:
        """Lay a change out on an axis of its own: figures of several units share none."""
        found, unit = change.difference, change.unit
        axis = Axis.over(min(0.0, found.low), max(0.0, found.high), unit)
        equal = change.outcome == "equal"
        return cls(
            change=change,
            tone=TONES[change.outcome],
            word=WORDS[change.outcome],
            before=number_text(change.before, unit),
            after=number_text(change.after, unit),
            difference=("+" if found.value > 0 else "") + number_text(found.value, unit),
            interval="" if equal else range_text(found.low, found.high, unit),
            p="" if equal else p_text(change.p),
            effect="" if found.effect != found.effect else f"{found.effect:+.2f}".replace("-", "−"),
            zero=axis.at(0),
            value=axis.at(found.value),
            low=axis.at(found.low),
            high=axis.at(found.high),
        )


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write both files into ``folder``, or none, and return the page's path."""
    text = json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_together(folder, {"changes.json": text.encode(), PAGE_FILE: render_comparison(comparison).encode()})
    return folder / PAGE_FILE


def render_comparison(comparison: Comparison) -> str:
    """Return the page."""
    template = environment().get_template("compare.html.jinja")
    return template.render(
        comparison=comparison,
        drawn="num_inference_steps" in comparison.before.settings,  # folders of pictures are paired by their names
        changes=[ChangeView.of(change) for change in comparison.changes],
        moved=_moved(comparison),
        changed=_changed(comparison),
        sections=[SectionView.of(section) for section in comparison.sections],
        identities=list(dict.fromkeys(change.identity for change in comparison.changes)),
        made_on=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
    )


def _changed(comparison: Comparison) -> Strips:
    rows = most_moved(comparison.moved, MOST_CHANGED)
    # Where no caption pairs drawings with pictures, each side has neighbours of its own: they say nothing here.
    real = torch.equal(comparison.before.real, comparison.after.real)
    note = "The pictures that changed most come first." if rows else "No picture changed."
    return Strips("Most changed", note, tuple(_example(comparison, row, real) for row in rows), not real)


def _example(comparison: Comparison, row: int, real: bool) -> Example:
    before, after = comparison.before, comparison.after
    shown = [(before.real[row], "real")] if real else []
    shown += [(before.made[row], "before"), (after.made[row], "after")]
    tiles = tuple(ShownTile(data_uri(picture), label) for picture, label in shown)
    return Example(before.captions[row], tiles, f"moved by {float(comparison.moved[row]):.2f}")


def _moved(comparison: Comparison) -> HistogramPlot:
    moved = torch.clamp(comparison.moved, min=0)
    return histogram_plot(
        Histogram(
            title="How far the pictures moved",
            note="0 is the same picture; 1 is one that has nothing in common with it.",
            x_label="Cosine distance between the picture before and after",
            values=(("pictures", moved),),
        )
    )
