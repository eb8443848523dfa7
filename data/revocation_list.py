"""Reads the list of revocations, strictly: a loader that cannot trust it must not start.

The list is JSON lines in the form of ``registry/journal.py``, which writes it: a line holds its number and the SHA-256
of the line before, a head beside the file counts them, and a line that was declared (``.intent``) is in force before
it is written. Numbers, hashes and head are checked here; the signatures need the key, and ``atelier revoke`` checks
them. ``revoke`` and ``reinstate`` lines name a work, ``found`` lines say what holds it and what saw it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import RevocationError

ACTIONS = ("revoke", "reinstate", "found")
KINDS = ("key", "picture", "collection", "source", "creator")
_FIRST_PREVIOUS = "0" * 64

Line = dict[str, Any]
Stamp = tuple[tuple[int, int, int] | None, ...]  # time, size and number of each file


def read_list(path: Path) -> tuple[Stamp, list[Line]]:
    """Return the lines, a declared one behind them, and the stamp of the files from before they were read.

    Raises:
        RevocationError: a line is broken, was removed or changed.
    """
    for _ in range(2):
        stamp, intent, head = stamp_of(path), _beside(path, ".intent"), _beside(path, ".head")
        *raw_lines, rest = (_bytes(path) or b"").split(b"\n")
        # At the first look a line may be half-written by somebody who declared it since; at the second it is broken.
        if not rest or intent is not None:
            break
    else:
        raise _broken(path, len(raw_lines) + 1, "is cut short")
    lines = list(_chained(path, raw_lines))
    _refuse_cut(path, raw_lines, head)
    if intent is not None and intent.get("sequence") == len(lines) + 1:
        lines.append(_checked(path, len(lines) + 1, intent))
    return stamp, lines


def stamp_of(path: Path) -> Stamp:
    """Return what tells one state of the list from another, without reading it."""
    return tuple(_stat(path.with_name(path.name + suffix)) for suffix in ("", ".intent"))


def _chained(path: Path, raw_lines: list[bytes]) -> Iterator[dict[str, Any]]:
    previous = _FIRST_PREVIOUS
    for number, raw in enumerate(raw_lines, start=1):
        try:
            line = json.loads(raw)
        except ValueError:
            raise _broken(path, number, "is not JSON") from None
        if not isinstance(line, dict) or line.get("sequence") != number or line.get("previous") != previous:
            raise _broken(path, number, "does not follow from the line before")
        yield _checked(path, number, line)
        previous = hashlib.sha256(raw).hexdigest()


def _checked(path: Path, number: int, line: dict[str, Any]) -> dict[str, Any]:
    """Return a line whose action and fields are those of this list."""
    if line.get("action") not in ACTIONS or line.get("kind") not in KINDS or not line.get("value"):
        raise _broken(path, number, "is no revocation")
    held = line.get("held", {})
    said = all(isinstance(line.get(name), str) for name in ("time", "who", "reason", "value"))
    if not said or not isinstance(held, dict) or not all(_is_held(found) for found in held.values()):
        raise _broken(path, number, "lacks what a revocation says")
    return line


def _is_held(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(name), list) for name in ("collections", "keys"))


def _refuse_cut(path: Path, raw_lines: list[bytes], head: dict[str, Any] | None) -> None:
    """Refuse a list that lost its end, or whose last counted line is another."""
    if head is None:
        if raw_lines[1:]:
            raise _broken(path.with_name(path.name + ".head"), 1, "is missing")
        return
    count = head.get("count")
    if not isinstance(count, int) or count > len(raw_lines):
        raise _broken(path, len(raw_lines) + 1, f"was removed, {count} were written")
    if count and hashlib.sha256(raw_lines[count - 1]).hexdigest() != head.get("last"):
        raise _broken(path, count, "was changed")


def _broken(path: Path, number: int, what: str) -> RevocationError:
    return RevocationError(f"{path} line {number} {what}: nothing may be learnt until the list is restored")


def _beside(path: Path, suffix: str) -> dict[str, Any] | None:
    file = path.with_name(path.name + suffix)
    content = _bytes(file)
    if content is None:
        return None
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _broken(file, 1, "is not JSON")
    return value


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
