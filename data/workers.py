"""Renders drawings on all cores; the results come in the order of the drawings, whatever the number of workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait

from data.errors import DataError
from data.record import Drawing
from data.render import Rendered, Unusable, render

CHUNK_DRAWINGS = 32
FEW_DRAWINGS = 64


def render_all(drawings: Sequence[Drawing], *, picture_px: int, workers: int | None) -> Generator[Rendered | Unusable]:
    """Yield each drawing's picture, or why there is none. ``workers`` None takes every core. Close it when done.

    Raises:
        DataError: a worker process died, as it does when memory runs out.
    """
    count = workers or _cores()
    one = partial(_render_one, picture_px=picture_px)
    if count == 1 or (workers is None and len(drawings) <= FEW_DRAWINGS):
        yield from map(one, drawings)
        return
    # Spawned, not forked: a fork would copy whatever threads and locks the caller holds.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_follow_parent)
    try:
        yield from pool.map(one, drawings, chunksize=CHUNK_DRAWINGS)
    except BrokenProcessPool:
        raise DataError("a rendering process died (out of memory?): run again with fewer workers=N") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _render_one(drawing: Drawing, *, picture_px: int) -> Rendered | Unusable:
    return render(drawing.content, monochrome=drawing.monochrome, picture_px=picture_px)


def _follow_parent() -> None:
    """Leave interruptions to the parent, which cleans up, and end with it should it be killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
