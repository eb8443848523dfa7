"""Says which samples a run was handed, epoch by epoch, and whether each was handed over exactly once.

Every rank writes lines into a file of its own, a line each time a checkpoint is made: how many samples it was handed
of each epoch since the last, and their fingerprint. The fingerprint of samples is the sum of 64-bit hashes of their
rows, so that lines of all ranks add up to that of the epoch, in whatever order, and a sample missed or seen twice
changes it. A run that resumes at a position takes back all that was written beyond it, as its checkpoint did.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import DatasetError
from data.order import Places, mixed

MASK = 2**64 - 1


def fingerprint(rows: Places) -> int:
    """Return the sum of the rows' 64-bit hashes, modulo 2^64; that of two sets together is the sum of theirs."""
    return int(mixed(rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)).sum(dtype=np.uint64))


@dataclass(frozen=True, kw_only=True)
class EpochOf:
    """What one epoch of an order holds: ``sha256`` of the order, its samples and their fingerprint."""

    sha256: str
    samples: int
    fingerprint: int

    @classmethod
    def of(cls, rows: Places, sha256: str) -> EpochOf:
        """Return it for the rows of an epoch, in any order."""
        return cls(sha256=sha256, samples=len(rows), fingerprint=fingerprint(rows))


@dataclass(frozen=True, kw_only=True)
class EpochTold:
    """What a ledger says of one epoch of an order. ``revoked`` were taken back meanwhile."""

    order: str
    epoch: int
    expected: int
    samples: int
    revoked: int
    is_right: bool

    def __str__(self) -> str:
        if self.samples < self.expected:
            verdict = "so far"
        elif self.revoked:
            verdict = f"{self.revoked:,} of them revoked meanwhile"
        else:
            verdict = "each exactly once" if self.is_right else "NOT each exactly once"
        return f"epoch {self.epoch}: {self.samples:,} of {self.expected:,} samples, {verdict}"


class Ledger:
    """One rank's part of a run's ledger, in ``folder``."""

    def __init__(self, folder: Path, epoch: EpochOf, *, rank: int, ranks: int, position: int) -> None:
        """``position``: where this start or resumption begins."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"rank-{rank}.jsonl"
        _drop_torn_line(self._file)
        self._epoch = epoch
        self._pending: list[tuple[int, Places, int]] = []
        self._begin = position
        self._append({"start": position, "rank": rank, "ranks": ranks, "epoch_of": asdict(epoch)})

    def add(self, begin: int, rows: Places, *, revoked: int = 0) -> None:
        """Take down rows that were handed over; they are the samples at position ``begin`` and after."""
        self._pending.append((begin, rows, revoked))

    def close_at(self, position: int) -> None:
        """Write what was handed over before ``position``, where a checkpoint is being made; the rest waits."""
        done = [item for item in self._pending if item[0] < position and len(item[1])]
        self._pending = [item for item in self._pending if item[0] >= position]
        told: dict[int, list[int]] = {}
        for begin, rows, revoked in done:
            for epoch, part in self._by_epoch(begin, rows):
                entry = told.setdefault(epoch, [0, 0, 0])
                entry[0] += len(part)
                entry[1] = (entry[1] + fingerprint(part)) & MASK
            told[begin // self._epoch.samples][2] += revoked
        if position > self._begin:
            self._append({"begin": self._begin, "end": position, "epochs": told})
            self._begin = position

    def _by_epoch(self, begin: int, rows: Places) -> Iterator[tuple[int, Places]]:
        while len(rows):
            epoch, offset = divmod(begin, self._epoch.samples)
            here = min(len(rows), self._epoch.samples - offset)
            yield epoch, rows[:here]
            begin, rows = begin + here, rows[here:]

    def _append(self, line: dict[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps({"time_ns": time.time_ns()} | line) + "\n")


def read_ledger(folder: Path) -> list[EpochTold]:
    """Add up the lines of all ranks; returns what they say of each epoch that was begun.

    Raises:
        DatasetError: there is no ledger, or a line of it is broken.
    """
    lines = [line for file in sorted(folder.glob("rank-*.jsonl")) for line in _lines(file)]
    if not lines:
        raise DatasetError(f"{folder} holds no ledger: it lacks rank-0.jsonl")
    starts = [line for line in lines if "start" in line]
    epochs = {line["epoch_of"]["sha256"]: EpochOf(**line["epoch_of"]) for line in starts}
    samples: Counter[tuple[str, int]] = Counter()
    prints, revoked = samples.copy(), samples.copy()
    for line in _standing(lines, starts):
        for number, (count, told, taken) in line["epochs"].items():
            key = (line["order"], int(number))
            samples[key] += count
            prints[key] = (prints[key] + told) & MASK
            revoked[key] += taken
    return [
        EpochTold(
            order=order,
            epoch=epoch,
            expected=epochs[order].samples,
            samples=samples[order, epoch],
            revoked=revoked[order, epoch],
            is_right=(samples[order, epoch], prints[order, epoch])
            == (epochs[order].samples, epochs[order].fingerprint),
        )
        for order, epoch in sorted(samples)
    ]


def check_ledger(folder: Path) -> list[EpochTold]:
    """Read a ledger and refuse it where a whole epoch did not hand over each sample exactly once.

    Raises:
        DatasetError: names the epoch.
    """
    told = read_ledger(folder)
    for epoch in told:
        if epoch.samples >= epoch.expected and not epoch.is_right and not epoch.revoked:
            raise DatasetError(f"{folder}: {epoch}")
    return told


def _standing(lines: list[dict[str, Any]], starts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines that no later start took back: those that end where it began, or before.

    Rank 0 speaks for all: on fewer ranks than before there is nobody to take the others' lines back.
    """
    first = [start for start in starts if start["rank"] == 0]
    for line in lines:
        taken_back = any(start["time_ns"] > line["time_ns"] and line.get("end", 0) > start["start"] for start in first)
        if "end" in line and not taken_back:
            yield line


def _lines(file: Path) -> Iterable[dict[str, Any]]:
    """Yield a file's lines, each with the order that held when it was written."""
    order = ""
    for number, text in enumerate(_whole_lines(file), start=1):
        try:
            line = json.loads(text)
            order = line["epoch_of"]["sha256"] if "start" in line else order
            yield line | {"order": order, "time_ns": int(line["time_ns"])}
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{file} line {number} is broken: {error}") from None


def _whole_lines(file: Path) -> list[str]:
    """Return the lines that were written to their end; a kill may tear the last one."""
    return file.read_text().split("\n")[:-1]


def _drop_torn_line(file: Path) -> None:
    if file.is_file():
        os.truncate(file, file.read_bytes().rfind(b"\n") + 1)  # in place: a rewrite that is killed would lose them all
