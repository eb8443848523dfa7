"""Reads pictures that a CSV or Parquet table lists: a row a picture, with its captions, licence and creator."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import SourceError
from data.notes import Columns, Unreadable, Whole, collection_name, note_of
from data.pictures import day_of, file_digest, shown, why_not_read
from data.record import Drawing, Origin, Refused

BATCH_ROWS = 1024
READ_BYTES = 1_000_000
DELIMITERS = {".csv": ",", ".tsv": "\t"}

Row = Mapping[str, Any] | Unreadable


@dataclass(frozen=True)
class TableSource:
    """Offers the pictures that a table lists, in its order; rows of one picture that follow each other are one.

    Attributes:
        path: the table: .csv, .tsv or .parquet, its first line or schema naming the columns.
        pictures: the folder that file names start from; the table's own if None.
        file_column: the column that names the picture's file.
        columns: which columns say what, where they are not named as ``Columns`` has them.
        licence: SPDX expression for rows that state none.
        collection: the name that all go by; the table's name if None.
        creator: who made those whose row does not say.
        creator_url: where to find them.

    Raises:
        SourceError: the table is missing, no table, or lacks the file column.
    """

    path: str | Path
    pictures: str | Path | None = None
    file_column: str = "file"
    columns: Mapping[str, str | Sequence[str]] | None = None
    licence: str | None = None
    collection: str | None = None
    creator: str = ""
    creator_url: str = ""

    @property
    def table(self) -> Path:
        """The table's file."""
        return Path(self.path)

    @property
    def folder(self) -> Path:
        """The folder that file names start from."""
        return Path(self.pictures) if self.pictures is not None else self.table.parent

    @cached_property
    def _whole(self) -> Whole:
        name = collection_name(self.collection or self.table.stem)
        return Whole(collection=name, licence=self.licence, creator=self.creator, creator_url=self.creator_url)

    def origins(self) -> list[Origin]:
        """Return the table, pinned by its digest and those of the pictures that it lists."""
        return [self._origin]

    @cached_property
    def _origin(self) -> Origin:
        digest = hashlib.sha256(file_digest(_found(self.table)))
        for drawing in self.drawings():
            digest.update(drawing.key.encode())
            if isinstance(drawing, Drawing):
                digest.update(file_digest(Path(str(drawing.content))))
        return self._whole.origin(f"table:{self._whole.collection}", digest.hexdigest())

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each picture that the table lists, or why its row or file cannot be used."""
        seen: set[bytes] = set()
        columns = Columns.named(self.columns)
        rows = enumerate(table_rows(self.table, [self.file_column], columns.all_names()), start=1)
        for _, several in groupby(rows, key=lambda numbered: self._file_of(*numbered)):
            first, *more = several
            yield self._drawing(first[0], [first[1], *(row for _, row in more)], columns, seen)

    def _file_of(self, number: int, row: Row) -> str:
        file = None if isinstance(row, Unreadable) else row.get(self.file_column)
        return file if isinstance(file, str) and file else f"row {number}"

    def _drawing(self, number: int, rows: list[Row], columns: Columns, seen: set[bytes]) -> Drawing | Refused:
        name = shown(self._file_of(number, rows[0]))
        if isinstance(rows[0], Unreadable):
            return self._whole.refused(name, "broken row", f"{self.table.name} row {number}: {rows[0].detail}")
        if name == f"row {number}":
            return self._whole.refused(name, "broken row", f"{self.table.name} row {number} names no file")
        short = hashlib.sha256(name.encode()).digest()[:12]
        if short in seen:
            detail = f"{self.table.name} row {number} lists {name} again: put its rows one after the other"
            return self._whole.refused(f"{name}@{number}", "listed twice", detail)
        seen.add(short)
        if problem := self._problem(name):
            return self._whole.refused(name, *problem)
        note = note_of(_merged(rows, columns), columns, source="table")
        file = self.folder / name
        uri = f"table:{self._whole.collection}/{name}"
        evidence = f"stated in {self.table.name}"
        return self._whole.drawing(note, name=name, content=file, uri=uri, evidence=evidence, retrieved=day_of(file))

    def _problem(self, name: str) -> tuple[str, str] | None:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            return "unsafe file name", f"{name!r} leads out of {self.folder}"
        return why_not_read(self.folder / path, self.folder)


def table_rows(file: Path, needed: Iterable[str], wanted: Iterable[str] = ()) -> Iterator[Row]:
    """Yield a table's rows as column to value, or what is wrong with one; never more than a batch in memory.

    Args:
        file: .csv, .tsv or .parquet.
        needed: columns that must be there.
        wanted: columns that are given too where they are there.

    Raises:
        SourceError: the file is missing, is no table, or lacks a needed column.
    """
    if file.suffix == ".parquet":
        yield from _parquet_rows(_found(file), list(needed), frozenset(wanted))
    elif file.suffix in DELIMITERS:
        yield from _text_rows(_found(file), list(needed), frozenset(wanted))
    else:
        raise SourceError(f"{file} is no table: it wants a .csv, .tsv or .parquet file")


def _text_rows(file: Path, needed: list[str], wanted: frozenset[str]) -> Iterator[Row]:
    # A broken sign must not end the table: it becomes a mark in its own caption.
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.reader(lines, delimiter=DELIMITERS[file.suffix])
        try:
            names = next(reader, [])
        except csv.Error as error:
            raise SourceError(f"{file} is no table: {error}") from None
        _check_columns(file, names, needed)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Unreadable(str(error))
                continue
            if len(cells) != len(names) and cells:
                yield Unreadable(f"{len(cells)} cells under {len(names)} columns")
            elif cells:
                yield {name: cell for name, cell in zip(names, cells, strict=True) if name in {*needed, *wanted}}


def _parquet_rows(file: Path, needed: list[str], wanted: frozenset[str]) -> Iterator[Row]:
    for batch in parquet_batches(file, needed, wanted, BATCH_ROWS):
        yield from batch


def parquet_batches(
    file: Path, needed: list[str], wanted: frozenset[str], batch_rows: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a Parquet file, some at a time; a row group is the most that is in memory.

    Raises:
        SourceError: it is no Parquet file, lacks a needed column or is damaged.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file, buffer_size=READ_BYTES) as table:
            names = list(table.schema_arrow.names)
            _check_columns(file, names, needed)
            columns = [name for name in names if name in {*needed, *wanted}]
            for group in range(table.num_row_groups):  # over all at once, a reader would keep them all
                for batch in table.iter_batches(batch_rows, [group], columns, use_threads=False):
                    yield batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{file} is not a whole Parquet file: {reason}") from None


def _check_columns(file: Path, names: Sequence[str], needed: Iterable[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        there = ", ".join(names)[:200] or "none"
        raise SourceError(f"{file} lacks the column {missing[0]!r}; it has {there}")


def _merged(rows: list[Row], columns: Columns) -> dict[str, Any]:
    """Return the first of several rows with the captions of all."""
    whole = [dict(row) for row in rows if not isinstance(row, Unreadable)]
    for name in columns.caption:
        texts = [row[name] for row in whole if row.get(name) is not None]
        whole[0][name] = [one for text in texts for one in (text if isinstance(text, list) else [text])]
    return whole[0]


def _found(file: Path) -> Path:
    if not file.is_file():
        raise SourceError(f"{file} does not exist: pass a .csv, .tsv or .parquet table")
    return file
