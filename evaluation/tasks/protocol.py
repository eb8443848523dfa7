"""The seam at which a task's measure takes its place, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evaluation.drawing import Order
from evaluation.measurement import Column, Section
from evaluation.tasks.bench import Bench
from evaluation.tasks.paired import Comparison


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task's section, its comparisons for the table over all tasks, and its pictures for the report's examples.

    A task that could not be measured has a section that says what is missing, and nothing else.
    """

    section: Section
    comparisons: tuple[Comparison, ...] = ()
    captions: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    orders: tuple[Order, ...] = ()
    truth: Column | None = None
    made: Column | None = None
    floor: Column | None = None
    floor_rows: tuple[int, ...] = ()


class TaskMeasure(Protocol):
    """Measures one task.  Its settings are its constructor; it is found by the task's name."""

    @property
    def task(self) -> str:
        """The task's name in ``synthesis.tasks``."""

    @property
    def title(self) -> str:
        """What the task is called."""

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return a result for each way that the task is asked.

        Raises TooFewPicturesError when the judging drawings do not suffice, saying how many would.
        """
