"""Files of weights: that they are there, which ones they are, and that they are the expected ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import EvaluationError


def weights_sha256(files: Sequence[Path], expected: str | None = None) -> str:
    """Return the sha256 of a weights file; of several, that of the sorted lines ``SHA256  NAME``, as sha256sum prints.

    Raises EvaluationError when one is missing, or the digest is not the expected one.
    """
    for file in files:
        if not file.is_file():
            raise EvaluationError(f"no weights at {file}: pass extractor.path=FILE")
    digests = {file.name: _sha256(file) for file in files}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    found = digests[files[0].name] if len(files) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    if expected is not None:
        _compare(files[0], found, str(expected).lower())
    return found


def _compare(file: Path, found: str, expected: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise EvaluationError(f"sha256 {expected!r} must be 64 hexadecimal digits, as sha256sum prints them")
    if found != expected:
        raise EvaluationError(
            f"{file} has sha256 {found}, {expected} is expected: it is another file, or was damaged on its way"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def first_line(error: Exception) -> str:
    """Return the first line of what a library said that tells something, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
