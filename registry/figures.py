"""The figures that an evaluation measured: one file, ``figures.json``, as the gate and the registry read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import FiguresError

FIGURES_FILE = "figures.json"
REPORT_FILE = "report.html"
BOUNDS = ("value", "low", "high")
_SUITE_FORM = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number with its confidence interval and the identity of the way it was measured."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    identity: str | None = None
    better: str | None = None
    unit: str | None = None  # "number", "share" or "dB"; None in evaluations that told none

    def bound(self, name: str) -> float | None:
        """Return ``value``, ``low`` or ``high``; None where the evaluation gave no such bound."""
        return {"value": self.value, "low": self.low, "high": self.high}[name]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one suite measured on one model, by the digest of that model."""

    suite: str
    seed: int | None
    model_digest: str
    figures: tuple[Figure, ...]

    def metrics(self) -> dict[str, float]:
        """Return the numbers for a tracker: ``SUITE/NAME``, and its ``.low`` and ``.high`` where they are known.

        The suite stands before each: two suites may measure a figure of one name at other numbers of pictures.
        """
        found: dict[str, float] = {}
        for figure in self.figures:
            bounds = {"": figure.value, ".low": figure.low, ".high": figure.high}
            found |= {f"{self.suite}/{figure.name}{end}": value for end, value in bounds.items() if value is not None}
        return found


def read_evaluation(path: Path) -> Evaluation:
    """Read ``figures.json``.

    Raises:
        FiguresError: it is missing, is not JSON, or lacks the model's digest or its figures.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        return _parse(document)
    except FileNotFoundError:
        raise FiguresError(f"no figures at {path}: atelier evaluate writes them") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FiguresError(f"{path} is not a figures file of atelier evaluate: {reason}") from None


def by_name(evaluations: Iterable[Evaluation], *, least_pictures: int = 0) -> dict[str, Figure]:
    """Return each figure by its name, the later one of two, without those of fewer than ``least_pictures``.

    A figure that tells no count is kept: it may be none of pictures.
    """
    figures = [figure for evaluation in evaluations for figure in evaluation.figures]
    return {figure.name: figure for figure in figures if figure.count is None or figure.count >= least_pictures}


def _parse(document: dict[str, Any]) -> Evaluation:
    seed, suite = document.get("seed"), str(document.get("suite") or "default")
    if not _SUITE_FORM.fullmatch(suite):
        raise ValueError(f"suite '{suite}' must be letters, digits, '_' and '-'")
    return Evaluation(
        suite=suite,
        seed=None if seed is None else int(seed),
        model_digest=str(document["model"]["digest"]),
        figures=tuple(_figure(entry) for entry in document["figures"]),
    )


def _figure(entry: dict[str, Any]) -> Figure:
    def number(key: str) -> float | None:
        return None if entry.get(key) is None else float(entry[key])

    return Figure(
        name=str(entry["name"]),
        value=float(entry["value"]),
        low=number("low"),
        high=number("high"),
        count=None if entry.get("count") is None else int(entry["count"]),
        identity=entry.get("identity"),
        better=entry.get("better"),
        unit=entry.get("unit"),
    )
