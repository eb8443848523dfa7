"""``atelier compare BEFORE AFTER``: say what changed between two evaluations of equal prompts and seeds."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from atelier import CONF_FOLDER
from evaluation.comparison import Change, Comparison, Drift, compare
from evaluation.errors import EvaluationError
from evaluation.measurement import Section
from evaluation.report.compared import write_comparison
from evaluation.settings import built, check_tools, studio_of
from evaluation.sides import find_sides
from evaluation.suites.pictures import PicturesSuite
from evaluation.terminal import unfolded
from evaluation.wording import number_text, p_text, range_text
from registry.mlflow import ModelStore

WORDS = {"better": "better", "worse": "worse", "open": "no proof"}
STYLES = {"better": "green", "worse": "red", "open": ""}
HEADINGS = ("figure", "before", "after", "change", "95 % interval", "p (Holm)", "")


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
    """Print the table of changes, how many figures are the same, the headline, and where the page lies."""
    console = console or Console(markup=False, emoji=False)  # names and paths may hold brackets
    changed = [change for change in comparison.changes if change.outcome != "equal"]
    if changed:
        styles = [STYLES[change.outcome] for change in changed]
        console.print(unfolded(HEADINGS, [_row(change) for change in changed], console, styles))
    if same := len(comparison.changes) - len(changed):
        console.print(f"same on both sides: {same} figure{'s' if same > 1 else ''}", highlight=False)
    for name, why in comparison.left_out:
        console.print(f"left out: {name}: {why}", style="dim", highlight=False, soft_wrap=True)
    for section in comparison.sections:
        for sentence in _told(section):
            console.print(f"{section.title}: {sentence}", highlight=False, soft_wrap=True)
    for note in comparison.notes:
        console.print(note, highlight=False, soft_wrap=True)
    console.print(comparison.verdict.headline, style="bold", highlight=False)
    console.print(f"page: {page}", highlight=False, soft_wrap=True)


def _told(section: Section) -> list[str]:
    """Return what a section found, or why it found nothing."""
    missing = [f"not measured: {section.missing}"] if section.missing else []
    return [*(finding.sentence for finding in section.findings), *missing]


def _row(change: Change) -> tuple[str, ...]:
    found, unit = change.difference, change.unit
    numbers = (number_text(value, unit) for value in (change.before, change.after, found.value))
    interval = range_text(found.low, found.high, unit)
    return (change.label, *numbers, interval, p_text(change.p), WORDS[change.outcome])


def _required(config: DictConfig, key: str) -> str:
    if OmegaConf.is_missing(config, key) or not config[key]:
        raise EvaluationError(f"{key} is missing: write atelier compare BEFORE AFTER")
    return str(config[key])


def _usual_folder(before: str, after: str) -> Path:
    names = (re.sub(r"[^A-Za-z0-9._-]+", "-", name.removeprefix("models:/")).strip("-.") for name in (before, after))
    return Path("var/comparison") / "-".join(names)
