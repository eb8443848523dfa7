"""Reads the index of the first format, ``index.jsonl``: a line of JSON a sample, which says less than the Arrow file.

The columns that it lacks are read from the samples' records, once, when one of them is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.errors import DatasetError
from data.index import SCHEMA, IndexLine
from data.record import Record

OLD_INDEX_FILE = "index.jsonl"


def _digest(value: Any) -> bytes:
    digest = bytes.fromhex(value)
    if len(digest) != 32:
        raise ValueError(f"a SHA-256 has 32 bytes, not {len(digest)}")
    return digest


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _place(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is no place in a shard")
    return value


_FIELDS = {
    "key": _text,
    "shard": _text,
    "offset": _place,
    "length": _place,
    "sha256": _digest,
    "licence": _text,
    "caption_sha256": _digest,
}
_SCHEMA: Any = pa.schema([SCHEMA.field(name) for name in _FIELDS])


def read_old_index(file: Path, shards: Sequence[str]) -> Any:
    """Return the lines as a table with the columns that they have; ``shards`` are the card's, in order.

    Raises:
        DatasetError: a line is not what the format says.
    """
    places = {name: place for place, name in enumerate(shards)}
    with file.open("rb") as lines:
        rows = [_row(file, number, line, places) for number, line in enumerate(lines, start=1)]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def complete_lines(table: Any, texts: Iterable[bytes]) -> Iterator[IndexLine]:
    """Yield whole lines: what the table says, and the rest as the samples' records (JSON) say."""
    for said, text in zip(table.to_pylist(), texts, strict=True):
        line = IndexLine.of(Record.from_json(text), said["shard"], said["offset"], said["length"])
        told = {name: said[name].hex() for name in ("sha256", "caption_sha256")}
        yield replace(line, key=said["key"], licence=said["licence"], **told)


def _row(file: Path, number: int, line: bytes, places: dict[str, int]) -> dict[str, Any]:
    try:
        values = json.loads(line)
        row = {name: kind(values[name]) for name, kind in _FIELDS.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{file} line {number} is broken: {error}") from None
    if row["shard"] not in places:
        raise DatasetError(f"{file} names {row['shard']}, which dataset.json does not list")
    return row | {"shard": places[row["shard"]]}
