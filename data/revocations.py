"""The works that nobody may learn from any more, laid over the index of a dataset when it is opened.

``atelier revoke`` writes the list; shards are never rewritten for it.

Legend: R rows of a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atelier import revocations_path
from data.errors import RevocationError
from data.record import Drawing, Record
from data.revocation_list import KINDS, Line, Stamp, read_list, stamp_of

_BOUNDARIES = "/#?@:&"

UNINDEXED = ("picture", "source", "creator")  # only records tell these

Mask = NDArray[np.bool_]


class Columns(Protocol):
    """What is asked of a dataset's index: ``data.index.Index``."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def keys(self) -> Any:
        """Return the keys as Arrow text [R]."""

    def equals(self, name: str, word: str) -> Mask:
        """Return which rows [R] hold a word in a column of words."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What one dataset version holds of a work: whole collections, and samples of others by key."""

    collections: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """One work, or all of one source, taken back: ``value`` is a key, a picture's SHA-256, a collection, a URI or a
    creator, as ``kind`` says; ``held`` is what ``atelier revoke`` found of it, by dataset version.
    """

    sequence: int
    time: str
    who: str
    reason: str
    kind: str
    value: str
    held: Mapping[str, Held] = field(default_factory=dict)

    def matches(self, item: Record | Drawing) -> bool:
        """Return whether it takes back this sample; a picture's digest is known of finished samples alone."""
        if self.kind == "picture":
            found = any(item.key in held.keys for held in self.held.values())
            return found or (isinstance(item, Record) and self.value in (item.sha256, item.sample_sha256()))
        if self.kind == "source":
            return self.value in leading_parts(item.source_uri)
        return self.value == {"key": item.key, "collection": item.collection, "creator": item.creator}[self.kind]

    def told(self) -> str:
        """Return it as a person reads it."""
        return f"{self.kind} {self.value} (revoked {self.time[:10]} by {self.who}: {self.reason})"


class Revocations:
    """The revocations in force at one moment; ``through`` is the number of the last line that was read.

    Made by ``load_revocations``; safe to share between threads and to send to processes.
    """

    def __init__(self, lines: Iterable[Line], path: Path | None = None, stamp: Stamp = ()) -> None:
        self.path, self._stamp = path, stamp
        self._lines = list(lines)
        self.through = len(self._lines)
        self.in_force = tuple(_in_force(self._lines))
        self._values = {kind: {one.value: one for one in self.in_force if one.kind == kind} for kind in KINDS}

    def __len__(self) -> int:
        return len(self.in_force)

    def until(self, through: int) -> Revocations:
        """Return the list as it stood when it had ``through`` lines, to retrace what a run was given."""
        return Revocations(self._lines[:through])

    def changed(self) -> bool:
        """Return whether the list on disk is another by now; one ``stat`` or two, cheap enough for every batch."""
        return self.path is not None and stamp_of(self.path) != self._stamp

    def refreshed(self) -> Revocations:
        """Return the list as it is now: itself where it did not change.

        Raises:
            RevocationError: as ``load_revocations``.
        """
        return load_revocations(self.path) if self.changed() else self

    def covers(self, item: Record | Drawing) -> Revocation | None:
        """Return the revocation that takes back a sample or an offered drawing, None where there is none."""
        if not self.in_force:
            return None
        values = self._values
        for kind, value in (("key", item.key), ("collection", item.collection), ("creator", item.creator)):
            if value in values[kind]:
                return values[kind][value]
        parts = leading_parts(item.source_uri) if values["source"] else ()
        found = next((values["source"][part] for part in parts if part in values["source"]), None)
        return found or next((one for one in values["picture"].values() if one.matches(item)), None)

    def rows(self, index: Columns, *, version: str = "", records: Callable[[], Iterable[Record]] | None = None) -> Mask:
        """Return which rows of a dataset's index are revoked, bool [R].

        Keys and collections are compared in the index's columns. A source, a creator or a picture is not in them:
        where ``version`` was searched for it the answer is in the list; another dataset's ``records``, in order of
        row, are read for it once.

        Raises:
            RevocationError: records are needed and were not given.
        """
        mask = np.zeros(len(index), dtype=np.bool_)
        told = [one.held[version] for one in self.in_force if version in one.held]
        keys = [*self._values["key"], *(key for held in told for key in held.keys)]
        if keys:
            mask |= np.asarray(pc.is_in(index.keys(), value_set=pa.array(keys, pa.string())).to_numpy(), dtype=np.bool_)
        for collection in {*self._values["collection"], *(name for held in told for name in held.collections)}:
            mask |= index.equals("collection", collection)
        unknown = [one for one in self.in_force if one.kind in UNINDEXED and version not in one.held]
        return mask | _read(unknown, records, len(index), version) if unknown else mask


def load_revocations(path: Path | None = None) -> Revocations:
    """Read the list at ``path``, by default ``var/revocations.jsonl`` or what ``ATELIER_REVOCATIONS`` names.

    No list is an empty one.

    Raises:
        RevocationError: a line is broken, missing or was changed; nothing may be learnt until it is restored.
    """
    path = Path(path or revocations_path()).absolute()
    stamp, lines = read_list(path)
    return Revocations(lines, path, stamp)


def leading_parts(uri: str) -> Iterator[str]:
    """Yield the whole URI and each part of it that ends at, or before, one of ``/#?@:&``, the longest first."""
    yield uri
    for place in range(len(uri) - 1, 0, -1):
        if uri[place] in _BOUNDARIES:
            yield uri[: place + 1]
            yield uri[:place]


def _read(unknown: list[Revocation], records: Callable[[], Iterable[Record]] | None, count: int, version: str) -> Mask:
    if records is None:
        raise RevocationError(
            f"dataset {version[:12]} was not searched for {unknown[0].told()}: its records are needed"
        )
    return np.fromiter(
        (any(one.matches(record) for one in unknown) for record in records()), dtype=np.bool_, count=count
    )


def _in_force(lines: Iterable[Line]) -> list[Revocation]:
    """Return what was revoked and not reinstated since, in order, with all that was found of it by now."""
    standing: dict[tuple[str, str], Revocation] = {}
    for sequence, line in enumerate(lines, start=1):
        work = (str(line["kind"]), str(line["value"]))
        if line["action"] == "reinstate":
            standing.pop(work, None)
        elif work in standing:
            standing[work] = replace(standing[work], held={**standing[work].held, **_held(line)})
        elif line["action"] == "revoke":
            told = {name: str(line[name]) for name in ("time", "who", "reason")}
            standing[work] = Revocation(sequence=sequence, kind=work[0], value=work[1], held=_held(line), **told)
    return list(standing.values())


def _held(line: Line) -> dict[str, Held]:
    found = line.get("held", {}).items()
    return {version: Held(collections=tuple(one["collections"]), keys=tuple(one["keys"])) for version, one in found}
