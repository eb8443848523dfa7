"""How far an evaluation is: one bar that goes on over all sets of pictures, and is gone when they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class SetsBar:
    """Names the set that is worked on, and counts the pictures of all sets that were begun; only on a terminal."""

    def __init__(self, console: Console) -> None:
        self._shown = Progress(
            TextColumn("{task.description:<40}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._shown.add_task("", total=0, visible=False)
        self._total = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let the bar stay between sets, while figures are made of them."""
        with nullcontext() if self._shown.live.is_started else self._shown:
            yield

    @contextmanager
    def over(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Go on with another set; None: nobody knows how large it is."""
        if self._total == 0:
            self._shown.reset(self._task, visible=True, description=label)  # the time counts from the first set
        self._shown.update(self._task, description=label)
        self._add(total or 0)

        def advance(count: int) -> None:
            if total is None:
                self._add(count)
            self._shown.advance(self._task, count)

        with self.kept():
            yield advance

    def _add(self, count: int) -> None:
        self._total += count
        self._shown.update(self._task, total=self._total)
