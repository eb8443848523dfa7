"""What an ingest has drawn so far, on disk, part by part: a part is there whole or not at all.

A part holds what came of ``part_drawings`` offered drawings in the source's order. Its folder ``part-000000`` has
``rows.npy`` (a ``ROW`` a drawn sample), ``looks.npy`` (its thumbnail), ``spans.bin`` (its facts as JSON, then its
picture) and ``refused.jsonl``. A source offers the same drawings in the same order each time, so a part's number says
what is in it.

Legend: N drawn samples of all parts, in the order of the source; a row is a sample's place in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.looks import LOOK_PX
from data.record import Drawing, Record, Refused, canonical_json
from data.splits import held_out, prefix

ROW = np.dtype(
    [
        ("offset", np.int64),
        ("facts_bytes", np.int32),
        ("picture_bytes", np.int32),
        ("key", np.uint64),  # prefixes, as data.splits has them
        ("subject", np.uint64),
        ("collection", np.uint64),
        ("sha256", np.uint64, 2),  # the first half of the picture's: enough to find equal ones
        ("phash", np.uint64),
        ("monochrome", np.bool_),
        ("pair_held_out", np.bool_),
    ]
)
_ROWS, _LOOKS, _SPANS, _REFUSED = "rows.npy", "looks.npy", "spans.bin", "refused.jsonl"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A drawing that became a picture: ``facts`` is the record that it will have, but for its split."""

    facts: bytes
    picture: bytes
    look: NDArray[np.uint8]
    row: tuple[Any, ...]  # the columns of ``ROW`` from the key on

    @classmethod
    def of(cls, drawing: Drawing, picture: bytes, look: NDArray[np.uint8], phash: str, **found: Any) -> Drawn:
        """Return what is known of a drawing and its picture; ``found`` are optional fields of its record."""
        digest = hashlib.sha256(picture)
        facts = {field.name: getattr(drawing, field.name) for field in fields(drawing) if field.name != "content"}
        facts |= found | {"phash": phash, "sha256": digest.hexdigest()}
        row = (
            prefix(drawing.key),
            prefix(drawing.subject),
            prefix(drawing.collection),
            tuple(np.frombuffer(digest.digest()[:16], ">u8").tolist()),
            int(phash, 16),
            drawing.monochrome,
            held_out(f"{drawing.subject}@{drawing.collection}"),
        )
        return cls(facts=canonical_json(facts), picture=picture, look=look, row=row)


class PartWriter:
    """Takes what came of the drawings of one part; ``finish`` makes it a part, else it stays out of sight."""

    def __init__(self, folder: Path, number: int) -> None:
        self._final = folder / f"part-{number:06d}"
        self._folder = folder / f"unfinished-{number:06d}"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._spans = (self._folder / _SPANS).open("wb")
        self._refused = (self._folder / _REFUSED).open("wb")
        self._rows: list[tuple[Any, ...]] = []
        self._looks: list[NDArray[np.uint8]] = []
        self._offset = 0

    def add(self, item: Drawn | Refused) -> None:
        """Append one drawing's outcome."""
        if isinstance(item, Refused):
            self._refused.write(item.to_json() + b"\n")
            return
        self._rows.append((self._offset, len(item.facts), len(item.picture), *item.row))
        self._looks.append(item.look)
        self._offset += self._spans.write(item.facts) + self._spans.write(item.picture)

    def finish(self) -> None:
        """Make the part whole."""
        np.save(self._folder / _ROWS, np.array(self._rows, ROW))
        np.save(self._folder / _LOOKS, np.array(self._looks, np.uint8).reshape(-1, LOOK_PX, LOOK_PX, 3))
        self._close()
        self._folder.rename(self._final)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk cannot take what is still buffered, and has been told already
            self._close()

    def _close(self) -> None:
        self._spans.close()
        self._refused.close()


def finished_parts(folder: Path) -> list[int]:
    """Return the numbers of the parts that are whole, and remove what is not."""
    for unfinished in folder.glob("unfinished-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    return sorted(int(part.name.removeprefix("part-")) for part in folder.glob("part-*"))


class Parts:
    """Reads all parts of an ingest, which are whole by now."""

    def __init__(self, folder: Path) -> None:
        self.folders = [folder / f"part-{number:06d}" for number in finished_parts(folder)]

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.folders else 0

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The row after each part's last."""
        return np.cumsum([len(np.load(part / _ROWS, mmap_mode="r")) for part in self.folders], dtype=np.int64)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of ``ROW`` of all parts."""
        columns = [np.load(part / _ROWS, mmap_mode="r")[name].copy() for part in self.folders]
        return np.concatenate(columns) if columns else np.empty(0, ROW[name])

    def record(self, row: int, split: str) -> tuple[Record, bytes]:
        """Return a row's record and picture."""
        facts, picture = self._read(row)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        return Record(caption=values["captions"][0], split=split, **values), picture

    def name(self, row: int) -> tuple[str, str]:
        """Return a row's sample key and collection."""
        facts = self._read(row)[0]
        return str(facts["key"]), str(facts["collection"])

    def picture(self, row: int) -> bytes:
        """Return a row's picture."""
        return self._read(row)[1]

    def looks(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the thumbnails of some rows, uint8 [rows, LOOK_PX, LOOK_PX, 3], each part's file opened once."""
        looks = np.empty((len(rows), LOOK_PX, LOOK_PX, 3), np.uint8)
        parts = np.searchsorted(self._ends, rows, side="right")
        for part in np.unique(parts):
            of_part = np.flatnonzero(parts == part)
            first = self._ends[part - 1] if part else 0
            looks[of_part] = np.load(self.folders[part] / _LOOKS, mmap_mode="r")[rows[of_part] - first]
        return looks

    def refused(self, part: int) -> Iterator[Refused]:
        """Yield what was turned away of one part, in the order of the source."""
        with (self.folders[part] / _REFUSED).open("rb") as lines:
            for line in lines:
                yield Refused(**json.loads(line))

    @cached_property
    def _spans(self) -> NDArray[Any]:
        names = ["offset", "facts_bytes", "picture_bytes"]
        return np.concatenate([np.load(part / _ROWS, mmap_mode="r")[names] for part in self.folders])

    def _read(self, row: int) -> tuple[dict[str, Any], bytes]:
        offset, facts_bytes, picture_bytes = self._spans[row]
        part = int(np.searchsorted(self._ends, row, side="right"))
        descriptor = os.open(self.folders[part] / _SPANS, os.O_RDONLY)
        try:
            span = os.pread(descriptor, int(facts_bytes) + int(picture_bytes), int(offset))
        finally:
            os.close(descriptor)
        return json.loads(span[:facts_bytes]), span[facts_bytes:]
