"""Draws on all cores; the results come in the order of the drawings, whatever the engine and the number of workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from data.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD_TASKS = 3  # a worker, beside the one that it is at: bounds what is read before it is written
FEW_TASKS = 4


class Engine(Protocol):
    """What runs the tasks."""

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield ``work(task)`` in the order of the tasks, reading few of them ahead. Close it when done."""


@dataclass(frozen=True, kw_only=True)
class LocalEngine:
    """Processes of this machine. ``workers`` None takes every core, and none for what is done before they start.

    Raises:
        DataError: fewer than one worker; while mapping, that a worker process died, as when memory runs out.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise DataError(f"workers is {self.workers}; it must be 1 or more, or null for every core")

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield ``work(task)`` in order."""
        count, rest = self.workers or _cores(), iter(tasks)
        first = list(islice(rest, FEW_TASKS + 1)) if self.workers is None else []
        if count == 1 or (self.workers is None and len(first) <= FEW_TASKS):
            yield from map(work, chain(first, rest))
            return
        # Spawned, not forked: a fork would copy whatever threads and locks the caller holds.
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_follow_parent)
        try:
            started = (pool.submit(work, task) for task in chain(first, rest))
            yield from (future.result() for future in ahead(started, count * (1 + AHEAD_TASKS)))
        except BrokenProcessPool:
            raise DataError("a drawing process died (out of memory?): run again with fewer workers=N") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def ahead(started: Iterator[Result], count: int) -> Iterator[Result]:
    """Yield what ``started`` yields, in its order, ``count`` items later."""
    waiting: deque[Result] = deque()
    for item in started:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _follow_parent() -> None:
    """Leave interruptions to the parent, which keeps what is finished, and end with it should it be killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
