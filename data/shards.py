"""Writes and reads shards: plain WebDataset tar files whose bytes depend on nothing but their samples.

A sample is two members, ``KEY.json`` (its record) and ``KEY.webp`` (its picture), in USTAR form with modification
time 0 and no owner. The index tells each sample's span in its shard: ``offset`` of its first header, ``length`` to
the end of its last padding, so that one ranged read gives the sample.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from data.errors import DatasetError
from data.record import Record, canonical_json

BLOCK_BYTES = 512
END_OF_TAR = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, kw_only=True)
class IndexLine:
    """Where one sample lies, and the digests of what it says; ``sha256`` is the sample's, as in the version."""

    key: str
    shard: str
    offset: int
    length: int
    sha256: str
    licence: str
    caption_sha256: str

    @classmethod
    def of(cls, record: Record, shard: str, offset: int, length: int) -> IndexLine:
        """Return the line for a sample that lies at ``offset`` of ``shard``."""
        return cls(
            key=record.key,
            shard=shard,
            offset=offset,
            length=length,
            sha256=record.sample_sha256(),
            licence=record.licence,
            caption_sha256=record.caption_sha256(),
        )

    def to_json(self) -> bytes:
        """Return the line, without its line feed."""
        return canonical_json(asdict(self))


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
    return text, picture


class ShardWriter:
    """Writes samples into shards of at most ``samples_per_shard``, and the index beside them."""

    def __init__(self, folder: Path, samples_per_shard: int) -> None:
        self.cards: list[ShardCard] = []
        self._folder = folder
        self._samples_per_shard = samples_per_shard
        self._index = (folder / "index.jsonl").open("wb")
        self._open_shard()

    def write(self, record: Record, picture: bytes) -> IndexLine:
        """Append one sample; returns its line of the index."""
        if self._samples == self._samples_per_shard:
            self._close_shard()
            self._open_shard()
        span = pack_sample(record, picture)
        line = IndexLine.of(record, self._name, self._offset, len(span))
        self._append(span)
        self._index.write(line.to_json() + b"\n")
        self._samples += 1
        return line

    def close(self) -> None:
        """Finish the last shard and the index."""
        self._close_shard()
        self._index.close()

    def _open_shard(self) -> None:
        self._name = f"shard-{len(self.cards):06d}.tar"
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


def read_index(folder: Path) -> Iterator[IndexLine]:
    """Yield the lines of a dataset's index.

    Raises:
        DatasetError: a line is not what ``ShardWriter`` writes.
    """
    with (folder / "index.jsonl").open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield IndexLine(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DatasetError(f"{folder / 'index.jsonl'} line {number} is broken: {error}") from None


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    header.mode = 0o644
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK_BYTES)


def _content(span: bytes, start: int, suffix: bytes) -> tuple[bytes, int]:
    """Return a member's content and where the next begins.

    Reads the three fields of the USTAR header that ``_member`` varies; ``tarfile`` would check the other thirteen,
    at a tenth of a millisecond a sample.
    """
    header = span[start : start + BLOCK_BYTES]
    name, octal_bytes, magic = header[:100].rstrip(b"\0"), header[124:135], header[257:262]
    if magic != b"ustar" or octal_bytes.strip(b"01234567"):
        raise DatasetError("no tar header where the index says that a sample lies")
    content_bytes = int(octal_bytes, 8)
    first = start + BLOCK_BYTES
    end = first + content_bytes + -content_bytes % BLOCK_BYTES
    if not name.endswith(suffix) or end > len(span):
        raise DatasetError(f"member {name!r} where the index says that a {suffix.decode()} lies")
    return span[first : first + content_bytes], end
