"""Files and folders that take their place once they are whole; a folder outlives the process that was filling it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import DatasetError, SourceError

WHOLE = "whole"
_LOCK = "lock"
_DIGEST_CHARACTERS = 16


@contextmanager
def partial_file(out: Path) -> Iterator[Path]:
    """Give a sibling file that becomes ``out`` once it is written; whatever stops that leaves nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        yield partial
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(out: Path, work_sha256: str, *, replace: bool = False) -> Iterator[Path]:
    """Give the sibling folder that belongs to ``work_sha256``, with what an earlier process left in it.

    Its subfolder ``WHOLE`` is empty; filled, it becomes ``out`` and the rest is removed. Whatever stops the work, the
    rest stays for the next process with the same digest; a source that cannot be read leaves nothing. What was left
    for other digests is removed, unless a process is at work in it. With ``replace``, what is at ``out`` stays until
    the new folder is whole.

    Raises:
        DatasetError: another process is at work for the same digest.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.partial-{work_sha256[:_DIGEST_CHARACTERS]}"
    _remove_abandoned(out, keep=folder)
    with _held(folder) as descriptor:
        if descriptor is None:
            raise DatasetError(f"another process is making {out} of the same inputs: wait until it ends")
        whole = folder / WHOLE
        try:
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            yield folder
            _install(whole, out, folder / "replaced", replace=replace)
        except SourceError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            shutil.rmtree(whole, ignore_errors=True)
            _remove_if_bare(folder)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _install(whole: Path, out: Path, replaced: Path, *, replace: bool) -> None:
    if out.is_dir() and replace:
        shutil.rmtree(replaced, ignore_errors=True)
        out.rename(replaced)
    elif out.is_dir():
        out.rmdir()  # unasked, only an empty folder may be in the way
    whole.rename(out)


def _remove_if_bare(folder: Path) -> None:
    """Remove a folder in which no work was finished: it holds its lock and empty folders."""
    if not any(path.is_file() and path.name != _LOCK for path in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(out: Path, keep: Path) -> None:
    for folder in out.parent.iterdir():
        if folder.name.startswith(f".{out.name}.partial-") and folder != keep and folder.is_dir():
            with _held(folder) as descriptor:
                if descriptor is not None:
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[int | None]:
    """Give a descriptor that locks the folder, or None if another process does; the kernel lets go at a kill."""
    descriptor = _locked(folder)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # whoever held it removed it between these two lines
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_of(descriptor, folder / _LOCK):
            return descriptor
        os.close(descriptor)


def _is_of(descriptor: int, path: Path) -> bool:
    """Return whether the file that was opened is still the one at ``path``: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
