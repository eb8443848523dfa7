"""``atelier evaluate model=MODEL suite=NAME``: measure a model, write its report, and log it where it is registered."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from atelier import CONF_FOLDER
from evaluation.errors import EvaluationError
from evaluation.history import versions_section
from evaluation.measurement import Measurement
from evaluation.measurement import Table as ToldTable
from evaluation.report.kept import keep_earlier
from evaluation.report.page import write_report
from evaluation.settings import built, check_tools, studio_of
from evaluation.studio import Studio
from evaluation.suites.protocol import Suite
from evaluation.terminal import unfolded
from evaluation.wording import figure_label, interval_text, value_text
from registry.mlflow import ModelStore
from registry.register import record_evaluation

HEADINGS = ("figure", "value", "95 % interval", "N")


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="evaluate")
def main(config: DictConfig) -> None:
    """Read the settings, measure, write, log, and say what came out."""
    reference = _required_model(config)
    check_tools(config)
    suite: Suite = built(config.suite)
    store: ModelStore = built(config.registry).store
    folder = Path(config.out) if config.out else _usual_folder(reference, str(config.suite.name))
    evaluate(reference, suite, studio_of(config, store), folder=folder, store=store, keep=not config.out)


def evaluate(
    reference: str,
    suite: Suite,
    studio: Studio,
    *,
    folder: Path,
    store: ModelStore | None = None,
    keep: bool = False,
) -> Measurement:
    """Measure ``reference`` by a suite into ``folder``; log it to the registered versions that it measured.

    Writes ``figures.json``, ``report.html``, ``grid.png`` and ``pictures.parquet``, all or none; with ``keep``
    an earlier evaluation that said otherwise stays beside it under its time.
    Raises AtelierError for whatever a person can put right.
    """
    with studio.watched():
        measurement = suite.measure(reference, studio)
    versions = versions_section(measurement, store) if store is not None else None
    if versions is not None:
        measurement = replace(measurement, sections=(*measurement.sections, versions))
    kept = keep_earlier(measurement, folder) if keep else None
    report = write_report(measurement, folder)
    _tell(measurement, report, kept)
    if store is not None and measurement.cards:
        for version in record_evaluation(reference, folder, store=store):
            print(f"logged to {version.name} version {version.version}")
    return measurement


def _required_model(config: DictConfig) -> str:
    if OmegaConf.is_missing(config, "model") or not config.model:
        raise EvaluationError("model is missing: pass model=FOLDER, models:/NAME@ALIAS or models:/NAME/VERSION")
    return str(config.model)


def _usual_folder(reference: str, suite: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", reference.removeprefix("models:/")).strip("-.")
    return Path("var/evaluation") / f"{name}-{suite}"


def _tell(measurement: Measurement, report: Path, kept: Path | None = None) -> None:
    console = Console(markup=False, emoji=False)  # names and paths may hold brackets
    overall = next((section.tables[0] for section in measurement.sections if section.name == "tasks"), None)
    rows = [(figure_label(f.name), value_text(f), interval_text(f), str(f.count)) for f in measurement.figures]
    console.print(_plain(overall) if overall else unfolded(HEADINGS, rows, console))
    console.print(measurement.verdict.headline, style="bold", highlight=False)
    for section in measurement.sections:
        if section.missing:
            console.print(f"{section.title}: not measured: {section.missing}", highlight=False, soft_wrap=True)
    for note in measurement.notes:
        console.print(note, highlight=False)
    if kept is not None:
        console.print(f"the earlier evaluation is kept: {kept}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def _plain(told: ToldTable) -> Table:
    """Return a section's table as the terminal shows it."""
    table = Table(box=None, pad_edge=False)
    for heading in told.headings:
        table.add_column(heading)
    for row in told.rows:
        table.add_row(*row)
    return table
