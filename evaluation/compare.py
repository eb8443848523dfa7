"""``atelier compare BEFORE AFTER``: say what changed between two evaluations of equal prompts and seeds."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from atelier import CONF_FOLDER
from evaluation.comparison import Change, Comparison, Drift, compare
from evaluation.errors import EvaluationError
from evaluation.report.compared import write_comparison
from evaluation.settings import built, check_tools, studio_of
from evaluation.sides import find_sides
from evaluation.suites.pictures import PicturesSuite
from evaluation.wording import number_text, p_text, range_text
from registry.mlflow import ModelStore

WORDS = {"better": "better", "worse": "worse", "open": "no proof", "equal": "equal"}
STYLES = {"better": "green", "worse": "red", "open": "", "equal": "dim"}


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="compare")
def main(config: DictConfig) -> None:
    """Read the settings, find both sides, test, write the page, and say what came out."""
    before, after = (_required(config, key) for key in ("before", "after"))
    check_tools(config)
    store: ModelStore = built(config.registry).store
    folders: PicturesSuite = built(config.folders)
    drift: Drift | None = built(config.drift) if config.drift else None
    suite = str(config.suite.name) if config.get("suite") else None
    studio = partial(studio_of, config, store)
    sides = find_sides(before, after, store=store, suite=suite, folders=folders, studio=studio)
    comparison = compare(*sides, drift)
    folder = Path(config.out) if config.out else _usual_folder(before, after)
    tell(comparison, write_comparison(comparison, folder))


def tell(comparison: Comparison, page: Path, console: Console | None = None) -> None:
    """Print the table of changes, the headline, and where the page lies."""
    console = console or Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("figure", "before", "after", "change", "95 % interval", "p (Holm)", ""):
        words = heading in ("figure", "")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "figure")
    for change in comparison.changes:
        table.add_row(*_row(change), style=STYLES[change.outcome])
    console.print(table)
    for name, why in comparison.left_out:
        console.print(f"left out: {name}: {why}", style="dim", highlight=False, soft_wrap=True)
    for note in comparison.notes:
        console.print(note, highlight=False, soft_wrap=True)
    console.print(comparison.verdict.headline, style="bold", highlight=False)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _row(change: Change) -> tuple[str, ...]:
    found, unit = change.difference, change.unit
    levels = (number_text(change.before, unit), number_text(change.after, unit))
    if change.outcome == "equal":
        return (change.label, *levels, "0", "", "", WORDS["equal"])
    interval = range_text(found.low, found.high, unit)
    return (change.label, *levels, number_text(found.value, unit), interval, p_text(change.p), WORDS[change.outcome])


def _required(config: DictConfig, key: str) -> str:
    if OmegaConf.is_missing(config, key) or not config[key]:
        raise EvaluationError(f"{key} is missing: write atelier compare BEFORE AFTER")
    return str(config[key])


def _usual_folder(before: str, after: str) -> Path:
    names = (re.sub(r"[^A-Za-z0-9._-]+", "-", name.removeprefix("models:/")).strip("-.") for name in (before, after))
    return Path("var/comparison") / "-".join(names)
