"""Writes and reads shards: plain WebDataset tar files whose bytes depend on nothing but their samples.

A sample is two members, ``KEY.json`` (its record) and ``KEY.webp`` (its picture), in USTAR form with modification
time 0 and no owner. The index tells each sample's span in its shard: ``offset`` of its first header, ``length`` to
the end of its last padding, so that one ranged read gives the sample.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data.errors import DatasetError
from data.index import INDEX_FILE, IndexLine, IndexWriter
from data.record import Record

BLOCK_BYTES = 512
OPEN_SHARDS = 256
END_OF_TAR = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, kw_only=True)
class ShardCard:
    """One shard as ``dataset.json`` lists it."""

    file: str
    sha256: str
    bytes: int
    samples: int


def pack_sample(record: Record, picture: bytes) -> bytes:
    """Return a sample's span of a shard."""
    return _member(f"{record.key}.json", record.to_json()) + _member(f"{record.key}.webp", picture)


def unpack_sample(span: bytes) -> tuple[bytes, bytes]:
    """Return (record as JSON, picture bytes) of a sample's span.

    Raises:
        DatasetError: the span does not hold the two members.
    """
    text, text_end = _content(span, 0, b".json")
    picture, end = _content(span, text_end, b".webp")
    if end != len(span):
        raise DatasetError("sample's span in its shard has another length than the index says")
    return bytes(text), bytes(picture)


def unpack_picture(span: bytes) -> memoryview:
    """Return the picture's bytes in a sample's span, without copying them.

    Raises:
        DatasetError: the span does not hold the two members.
    """
    view = memoryview(span)
    return _content(view, _content(view, 0, b".json")[1], b".webp")[0]


class ShardWriter:
    """Writes samples into shards of at most ``samples_per_shard``, and the index beside them."""

    def __init__(self, folder: Path, samples_per_shard: int, sources: Mapping[str, str] | None = None) -> None:
        """``sources``: the URI of the origin of each collection, for the index."""
        self.cards: list[ShardCard] = []
        self._folder = folder
        self._samples_per_shard = samples_per_shard
        self._sources = sources or {}
        self._index = IndexWriter(folder / INDEX_FILE)
        self._open_shard()

    @property
    def index_sha256(self) -> str:
        """Digest of the index, once closed."""
        return self._index.sha256

    def write(self, record: Record, picture: bytes) -> IndexLine:
        """Append one sample; returns its line of the index."""
        if self._samples == self._samples_per_shard:
            self._close_shard()
            self._open_shard()
        span = pack_sample(record, picture)
        source = self._sources.get(record.collection, "")
        line = IndexLine.of(record, len(self.cards), self._offset, len(span), source)
        self._append(span)
        self._index.add(line)
        self._samples += 1
        return line

    def close(self) -> None:
        """Finish the last shard and the index."""
        self._close_shard()
        self._index.close()

    def abandon(self) -> None:
        """Close the files as they are, where something stopped the work."""
        with suppress(OSError):  # a full disk cannot take what is still buffered
            self._shard.close()

    def _open_shard(self) -> None:
        self._name = shard_name(len(self.cards))
        self._shard = (self._folder / self._name).open("wb")
        self._digest = hashlib.sha256()
        self._offset = self._samples = 0

    def _append(self, span: bytes) -> None:
        self._shard.write(span)
        self._digest.update(span)
        self._offset += len(span)

    def _close_shard(self) -> None:
        self._append(END_OF_TAR)
        self._shard.close()
        self.cards.append(
            ShardCard(file=self._name, sha256=self._digest.hexdigest(), bytes=self._offset, samples=self._samples)
        )


class ShardReader:
    """Reads spans of shards by ``pread``: no seeking, so threads and forked processes share what is open."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda shard: _Descriptor(files[shard]))

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """Return a span; one cut short by a damaged index or shard is returned as short as it is."""
        try:
            # Held while it is read: another thread that opened the same shard may have taken its place in the cache.
            opened = self._open(shard)
            return os.pread(opened.number, length, offset)
        except (OSError, OverflowError, ValueError) as error:
            raise DatasetError(f"{self._files[shard]} cannot be read at {offset:,}: {error}") from None

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Sequence[Path]]]:
        return ShardReader, (self._files,)


class _Descriptor:
    """An open file that closes when the last one who reads from it lets it go."""

    def __init__(self, file: Path) -> None:
        self.number = -1
        try:
            self.number = os.open(file, os.O_RDONLY)
        except OSError as error:
            raise DatasetError(f"{file} cannot be read: {error.strerror}") from None

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


def shard_name(number: int) -> str:
    """Return the file name of a dataset's shard."""
    return f"shard-{number:06d}.tar"


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.mode = 0o644
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK_BYTES)


def _content(span: bytes | memoryview, start: int, suffix: bytes) -> tuple[memoryview, int]:
    """Return a member's content and where the next begins.

    Reads the three fields of the USTAR header that ``_member`` varies; ``tarfile`` would check the other thirteen,
    at a tenth of a millisecond a sample.
    """
    span = memoryview(span)
    header = bytes(span[start : start + BLOCK_BYTES])
    name, octal_bytes, magic = header[:100].rstrip(b"\0"), header[124:135], header[257:262]
    if magic != b"ustar" or octal_bytes.strip(b"01234567"):
        raise DatasetError("no tar header where the index says that a sample lies")
    content_bytes = int(octal_bytes, 8)
    first = start + BLOCK_BYTES
    end = first + content_bytes + -content_bytes % BLOCK_BYTES
    if not name.endswith(suffix) or end > len(span):
        raise DatasetError(f"member {name!r} where the index says that a {suffix.decode()} lies")
    return span[first : first + content_bytes], end
