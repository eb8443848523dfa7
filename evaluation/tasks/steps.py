"""Figures that a training run measured of itself on the way, step by step: the record that it keeps, and its curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.files import write_whole
from evaluation.measurement import Curve, Line

RECORD_FILE = "measured/figures.json"
TITLES = {
    "kernel_distance": "Kernel distance of pictures drawn from held-out captions",
    "super_resolution_psnr": "Super-resolution by 4, PSNR",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """The figures of one training step."""

    step: int
    figures: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"step": self.step, "figures": [figure.to_json() for figure in self.figures]}


class StepRecord:
    """The steps that a run has measured, in one file that is always whole; a step stands in it once.

    ``subject`` says what is measured and how: a record of another subject is not gone on with.
    """

    def __init__(self, folder: Path, subject: str) -> None:
        self.file = folder / RECORD_FILE
        self._subject = subject
        self.steps: dict[int, MeasuredStep] = {}

    def load(self) -> None:
        """Take up what the file holds, if it is of the same subject.  Raises EvaluationError when it is broken."""
        if self.file.is_file():
            subject, steps = _read(self.file)
            if subject == self._subject:
                self.steps = {each.step: each for each in steps}

    def add(self, measured: MeasuredStep) -> None:
        """Write a step down."""
        self.steps[measured.step] = measured
        steps = [self.steps[step].to_json() for step in sorted(self.steps)]
        text = json.dumps({"subject": self._subject, "steps": steps}, indent=1, allow_nan=False) + "\n"
        write_whole(self.file, text.encode())


def curves_of(run: Path) -> tuple[Curve, ...]:
    """Return a curve a figure over the steps of a training run's folder.

    Raises EvaluationError when the run measured nothing, or its record is broken.
    """
    file = run / RECORD_FILE
    if not file.is_file():
        raise EvaluationError(
            f"{run} has no {RECORD_FILE}: name the folder of a run that was trained with measured.every_steps=N"
        )
    _, steps = _read(file)
    lines: dict[str, list[tuple[int, Figure]]] = {}
    for each in steps:
        for figure in each.figures:
            lines.setdefault(figure.name, []).append((each.step, figure))
    return tuple(_curve(name, points) for name, points in lines.items())


def _curve(name: str, points: Sequence[tuple[int, Figure]]) -> Curve:
    figure = points[0][1]
    line = Line(
        label=f"N={figure.count}",
        points=tuple((float(step), each.value) for step, each in points),
        bounds=tuple((each.low, each.high) for _, each in points),
    )
    title = TITLES.get(name, name)
    better = f"{figure.better} is better"
    note = "Whiskers are 95 % intervals."
    return Curve(title=title, note=note, x_label="Training step", y_label=better, lines=(line,), unit=figure.unit)


def _read(file: Path) -> tuple[str, list[MeasuredStep]]:
    try:
        told: Mapping[str, Any] = json.loads(file.read_bytes())
        steps = [
            MeasuredStep(step=int(each["step"]), figures=tuple(Figure(**figure) for figure in each["figures"]))
            for each in told["steps"]
        ]
        return str(told["subject"]), steps
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{file} is broken ({error!r}): move it away, and the run begins a new one") from None
