"""The index of a dataset: where each sample lies and what is asked of it most, one Arrow IPC file, memory-mapped.

Ten million rows open in well under a second and hold no memory until a column is asked for; a column asked for is one
NumPy array, kept. Repeated words (licence, collection, style, split, source) are stored once and numbered.

Legend: R rows.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import DatasetError
from data.record import Record

INDEX_FILE = "index.arrow"
ROWS_PER_BATCH = 65_536
WORDS = ("licence", "collection", "style", "split", "source")
DIGESTS = ("sha256", "caption_sha256")
SCHEMA: Any = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("licence", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("collection", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("style", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("split", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("monochrome", pa.bool_(), nullable=False),
        pa.field("caption_sha256", pa.binary(32), nullable=False),
        pa.field("subject_hash", pa.uint64(), nullable=False),
        pa.field("width_px", pa.uint16(), nullable=False),
        pa.field("height_px", pa.uint16(), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)


def subject_hash(subject: str) -> int:
    """Return the first eight bytes of SHA-256(subject), big endian."""
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big")


@dataclass(frozen=True, kw_only=True)
class IndexLine:
    """One row: where a sample lies, and what can be asked without reading it.

    ``shard`` is its place in the card's list; ``sha256`` the sample's, as in the version; ``source`` the URI of the
    origin of its collection, empty where the writer was not told.
    """

    key: str
    shard: int
    offset: int
    length: int
    sha256: str
    licence: str
    collection: str
    style: str
    split: str
    monochrome: bool
    caption_sha256: str
    subject_hash: int
    width_px: int
    height_px: int
    source: str = ""

    @classmethod
    def of(cls, record: Record, shard: int, offset: int, length: int, source: str = "") -> IndexLine:
        """Return the line for a sample that lies at ``offset`` of a shard."""
        return cls(
            key=record.key,
            shard=shard,
            offset=offset,
            length=length,
            sha256=record.sample_sha256(),
            licence=record.licence,
            collection=record.collection,
            style=record.style,
            split=record.split,
            monochrome=record.monochrome,
            caption_sha256=record.caption_sha256(),
            subject_hash=subject_hash(record.subject),
            width_px=record.width_px,
            height_px=record.height_px,
            source=source,
        )


class IndexWriter:
    """Writes an index row by row, in memory that does not grow with the rows; the same rows give the same bytes."""

    def __init__(self, file: Path) -> None:
        self.sha256 = ""
        self._file = file
        self._lines: list[IndexLine] = []
        self._words: dict[str, dict[str, int]] = {name: {} for name in WORDS}
        # A batch brings only the words that are new since the last one.
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._sink = pa.OSFile(str(file), "wb")
        self._writer = pa.ipc.new_file(self._sink, SCHEMA, options=options)

    def add(self, line: IndexLine) -> None:
        """Append one row."""
        self._lines.append(line)
        if len(self._lines) == ROWS_PER_BATCH:
            self._flush()

    def close(self) -> None:
        """Finish the file; ``sha256`` is then its digest."""
        if self._lines:
            self._flush()
        self._writer.close()
        self._sink.close()
        with self._file.open("rb") as content:
            self.sha256 = hashlib.file_digest(content, "sha256").hexdigest()

    def _flush(self) -> None:
        self._writer.write_batch(_batch(self._lines, self._words))
        self._lines = []


class Index:
    """The rows of a dataset. ``more`` gives the whole table where the one at hand lacks columns."""

    def __init__(
        self, table: Any, more: Callable[[], Any] | None = None, mapped: mmap.mmap | None = None, name: str = "index"
    ) -> None:
        """``mapped``: what the table's columns are views of; ``name`` is said in errors."""
        self._table = table
        self._more = more
        self._mapped = mapped
        self._name = name
        self._kept: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> IndexLine:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of an index of {len(self):,} rows")
        return next(self._lines(row, 1))

    def __iter__(self) -> Iterator[IndexLine]:
        for begin in range(0, len(self), ROWS_PER_BATCH):
            yield from self._lines(begin, ROWS_PER_BATCH)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column [R]; words as their numbers (see ``words``), digests as [R,32] bytes.

        Raises:
            DatasetError: it holds the number of a word that there is not.
        """
        if name not in self._kept:
            column = np.array(_array(self._chunks(name)))
            if name in WORDS and len(column) and not 0 <= column.min() <= column.max() < len(self.words(name)):
                raise DatasetError(f"{self._name} is broken (a {name} that it does not list): copy it again")
            column.flags.writeable = False
            self._kept[name] = column
            self._let_go()
        return self._kept[name]

    def words(self, name: str) -> list[str]:
        """Return the words that the numbers of ``column(name)`` stand for."""
        chunks = self._chunks(name).chunks
        return self._read(lambda: list(chunks[-1].dictionary.to_pylist())) if chunks else []

    def equals(self, name: str, word: str) -> NDArray[np.bool_]:
        """Return which rows [R] hold a word in a column of words."""
        words = self.words(name)
        if word not in words:
            return np.zeros(len(self), dtype=np.bool_)
        return np.asarray(self.column(name) == words.index(word))

    def keys(self) -> Any:
        """Return the keys as an Arrow chunked array; ten million Python strings would fill a gigabyte.

        Raises:
            DatasetError: a key is no text.
        """
        keys = self._chunks("key")
        self._read(lambda: keys.validate(full=True))
        return keys

    def _chunks(self, name: str) -> Any:
        return self._whole(name).column(name)

    def _whole(self, name: str) -> Any:
        if name not in self._table.column_names and self._more is not None:
            self._table, self._more = self._more(), None
        return self._table

    def _lines(self, begin: int, count: int) -> Iterator[IndexLine]:
        part = self._whole("style").slice(begin, count)
        names = [field.name for field in fields(IndexLine)]
        columns = self._read(lambda: _checked_lists(part, names))
        for values in zip(*columns, strict=True):
            named = dict(zip(names, values, strict=True))
            yield IndexLine(**named | {name: named[name].hex() for name in DIGESTS})
        self._let_go()

    def _read(self, reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DatasetError(f"{self._name} is broken ({_first_line(error)}): copy it again") from None

    def _let_go(self) -> None:
        """Give pages back that were read; the next reader finds them in the system's cache."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)


def open_index(file: Path) -> Index:
    """Map an index into memory and check its form; its content is checked as far as it is read.

    Raises:
        DatasetError: it is no index, or its bytes are not whole.
    """
    try:
        with file.open("rb") as content:
            mapped = mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)
        table = pa.ipc.open_file(pa.py_buffer(mapped)).read_all()
        if table.schema.remove_metadata() != SCHEMA:
            raise DatasetError(f"{file} has other columns than an index has: make the dataset again")
        table.validate()
        if any(column.null_count for column in table.columns):
            raise ValueError("values are missing")
        return Index(table.unify_dictionaries(), mapped=mapped, name=str(file))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{file} is broken ({_first_line(error)}): copy it again") from None


def index_table(lines: Iterator[IndexLine]) -> Any:
    """Return rows as a table in memory."""
    words: dict[str, dict[str, int]] = {name: {} for name in WORDS}
    return pa.Table.from_batches([_batch(list(lines), words)], schema=SCHEMA)


def _batch(lines: list[IndexLine], words: dict[str, dict[str, int]]) -> Any:
    arrays = [_column(field, [getattr(line, field.name) for line in lines], words) for field in SCHEMA]
    return pa.record_batch(arrays, schema=SCHEMA)


def _column(field: Any, values: list[Any], words: dict[str, dict[str, int]]) -> Any:
    if field.name in DIGESTS:
        return pa.array([bytes.fromhex(value) for value in values], field.type)
    if field.name not in WORDS:
        return pa.array(values, field.type)
    known = words[field.name]
    numbers = pa.array([known.setdefault(value, len(known)) for value in values], pa.int32())
    return pa.DictionaryArray.from_arrays(numbers, pa.array(list(known), pa.string()))


def _array(chunks: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(chunks.type):
        parts = [chunk.indices.to_numpy() for chunk in chunks.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    if pa.types.is_fixed_size_binary(chunks.type):
        return np.concatenate([_bytes(chunk) for chunk in chunks.chunks] or [np.zeros((0, 32), dtype=np.uint8)])
    return np.asarray(chunks.to_numpy())


def _bytes(chunk: Any) -> NDArray[np.uint8]:
    wide = chunk.type.byte_width
    content = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
    return content[chunk.offset * wide : (chunk.offset + len(chunk)) * wide].reshape(-1, wide)


def _checked_lists(part: Any, names: list[str]) -> list[list[Any]]:
    """Return columns as lists, but first refuse what could lead a reader out of the file."""
    part.validate(full=True)
    return [part.column(name).to_pylist() for name in names]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
