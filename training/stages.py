"""Stages of a longer way: each a command with what it reads; one that read the same before is not run again."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atelier import PROJECT_ROOT
from training.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A command of atelier's with the folders that it reads, the packages that do it, and what must be there after."""

    title: str
    arguments: Sequence[str]
    reads: Sequence[Path] = ()
    packages: Sequence[str] = ()
    makes: Sequence[Path] = ()


@dataclass
class Course:
    """Runs stages in turn and remembers in ``state`` which inputs each one was last done with."""

    state: Path
    before: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, stage: Stage) -> str:
        """Run a stage unless it is still valid; return what it printed, now or then.

        Raises:
            TrainingError: the command failed; it has said why itself.
        """
        fingerprint = self._fingerprint(stage)
        print(f"\n\033[1m{stage.title}\033[0m" if sys.stdout.isatty() else f"\n{stage.title}", flush=True)
        if self.holds(stage.title, fingerprint, stage.makes):
            print("  nothing changed since it was done: kept", flush=True)
            text = self._remembered()[stage.title]["output"]
        else:
            begin = time.monotonic()
            text = echoed([sys.executable, "-m", "atelier", *stage.arguments])
            self.seconds[stage.title] = time.monotonic() - begin
            self.remember(stage.title, fingerprint, text)
        self.before = fingerprint
        return text

    def holds(self, title: str, fingerprint: str, makes: Sequence[Path]) -> bool:
        """Whether a stage was done with these inputs and what it made is still there."""
        known = self._remembered().get(title, {})
        return known.get("fingerprint") == fingerprint and all(path.exists() for path in makes)

    def remember(self, title: str, fingerprint: str, output: str) -> None:
        """Write down that a stage is done, whole or not at all."""
        entries = self._remembered() | {title: {"fingerprint": fingerprint, "output": output}}
        self.state.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.state.with_suffix(".tmp")
        temporary.write_text(json.dumps(entries, indent=1))
        temporary.replace(self.state)

    def _remembered(self) -> dict[str, dict[str, str]]:
        try:
            entries: dict[str, dict[str, str]] = json.loads(self.state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return entries

    def _fingerprint(self, stage: Stage) -> str:
        code = [PROJECT_ROOT / package for package in (*stage.packages, "conf")]
        digest = hashlib.sha256(json.dumps([self.before, *stage.arguments]).encode())
        for folder in (*stage.reads, *code):
            digest.update(digest_of(folder))
        return digest.hexdigest()


def digest_of(folder: Path) -> bytes:
    """sha256 over names and contents of all files of a folder, compiled ones left out."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        with file.open("rb") as content:
            digest.update(
                f"{file.relative_to(folder)}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
            )
    return digest.digest()


def echoed(command: Sequence[str]) -> str:
    """Run a command, show what it prints as it prints it, and return that; its progress bars go straight through."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(f"  {line}", end="", flush=True)
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode:
        raise TrainingError(f"stopped at: {' '.join(['atelier', *command[3:]])}; its own message is above")
    return "".join(lines)


def found(pattern: str, text: str) -> str:
    """The first group of a pattern in what a command printed."""
    match = re.search(pattern, text)
    if match is None:
        raise TrainingError(f"a command did not print {pattern!r}: run make clean, then make demo")
    return match.group(1)
