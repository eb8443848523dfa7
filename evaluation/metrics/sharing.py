"""Work that is spread over the processor's cores, one piece a core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return ``work`` of each item, in their order, on as many cores as torch may use.

    Cores that share one matrix wait for each other at every step, and on a machine that others use they wait long: a
    product that takes 2.7 s alone took 14 s on two busy cores.  Here each core has pieces of its own.
    """
    pieces, workers = list(items), torch.get_num_threads()
    with one_thread(), ThreadPoolExecutor(max(1, min(workers, len(pieces)))) as pool:
        return list(pool.map(work, pieces))


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices gain nothing from a second thread, and wait long for it on a machine that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def stripes(count: int, rows: int) -> list[slice]:
    """Return slices of at most ``rows`` that cover ``count`` rows."""
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
