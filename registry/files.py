"""Writing a file whole or not at all, and holding a lock that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from registry.errors import LockError

_POLL_SECONDS = 0.05


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write ``content`` to a temporary name beside ``path``, flush it to the disk, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def hold_lock(path: Path, *, deadline_seconds: float = 60.0) -> Iterator[None]:
    """Hold an exclusive ``flock`` on ``path``; the kernel lets go of it when the process ends, however it ends.

    Raises:
        LockError: another process still held it after ``deadline_seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        _acquire(stream.fileno(), path, deadline_seconds)
        try:
            yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)


def _acquire(descriptor: int, path: Path, deadline_seconds: float) -> None:
    end = time.monotonic() + deadline_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                message = (
                    f"{path} has been locked by another process for {deadline_seconds:g} s: try again when it ends"
                )
                raise LockError(message) from None
            time.sleep(_POLL_SECONDS)
