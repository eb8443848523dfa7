"""Reads a dataset folder: its card, its records, and single pictures by ranged reads.

Legend: a row is a sample's place in the index, 0 ≤ row < R = len(dataset).
"""

from __future__ import annotations

import io
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from data.errors import DatasetError
from data.index import INDEX_FILE, Index, index_table, open_index
from data.old_index import OLD_INDEX_FILE, complete_lines, read_old_index
from data.record import Origin, Record
from data.revocations import Revocations, load_revocations
from data.shards import ShardCard, ShardReader, unpack_sample

CARD_FILE = "dataset.json"


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What ``dataset.json`` says: the version, what is in the dataset, what was refused, where it came from."""

    name: str
    version: str
    policy: str
    picture_px: int
    count: int
    licences: Mapping[str, int]
    collections: Mapping[str, int]
    splits: Mapping[str, int]
    refused: Mapping[str, int]
    shards: list[ShardCard]
    sources: list[Origin]
    inputs_sha256: str = ""
    index_sha256: str = ""
    near_copies: int = 0  # pairs in training that are listed in near_copies.jsonl, both kept
    format: str = field(default="atelier-dataset-2")

    def to_json(self) -> str:
        """Return the text of ``dataset.json``."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> DatasetCard:
        """Read a folder's card.

        Raises:
            DatasetError: the folder is missing, has no card, or the card is broken.
        """
        file = folder / CARD_FILE
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not a folder: pass the folder of a dataset, which holds {CARD_FILE}")
        if not file.is_file():
            raise DatasetError(f"{folder} is not a dataset: it has no {CARD_FILE} (make one with atelier ingest)")
        try:
            values: dict[str, Any] = json.loads(file.read_bytes())
            values["shards"] = [ShardCard(**shard) for shard in values["shards"]]
            values["sources"] = [Origin(**source) for source in values["sources"]]
            return cls(**{name: values[name] for name in (field.name for field in fields(cls)) if name in values})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{file} is broken ({error}): make the dataset again with atelier ingest") from None


class Dataset:
    """A finished dataset folder; use ``open_dataset``. Safe to share between threads and to send to processes.

    It holds no object per row until ``records`` is asked for; ``record`` and ``index`` answer for single rows.
    """

    def __init__(self, folder: Path, card: DatasetCard, index: Index, revocations: Revocations) -> None:
        self.folder = folder
        self.card = card
        self.index = index
        self.revocations = revocations
        self.shards = ShardReader([folder / shard.file for shard in card.shards])

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.folder, self.card, self.revocations)

    @cached_property
    def records(self) -> list[Record]:
        """The records of all rows, read once from the shards, one after the other."""
        return list(self.each_record())

    def each_record(self) -> Iterator[Record]:
        """Yield the records of all rows without keeping them."""
        return (Record.from_json(text) for text, _ in self.samples())

    def record(self, row: int) -> Record:
        """Return a row's record, by one ranged read."""
        return Record.from_json(self._sample(row)[0])

    def samples(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (record as JSON, picture bytes) of every row in order, reading each shard once."""
        spans = zip(*(self.index.column(name) for name in ("shard", "offset", "length")), strict=True)
        mapped, content = -1, b""
        for row, (shard, offset, length) in enumerate(spans):
            if shard != mapped:
                mapped, content = shard, mapped_file(self.folder / self.card.shards[shard].file)
            yield self._unpack(row, content[offset : offset + length])

    def picture_bytes(self, row: int) -> bytes:
        """Return a row's picture as its WebP bytes, by one ranged read."""
        return self._sample(row)[1]

    def picture(self, row: int) -> Image.Image:
        """Return a row's picture, RGBA, ``card.picture_px`` square unless its record says otherwise."""
        return Image.open(io.BytesIO(self.picture_bytes(row))).convert("RGBA")

    def rows(self, *, split: str | None = None, collection: str | None = None) -> list[int]:
        """Return the rows of one split, one collection, or both, in order, without those revoked."""
        rows: list[int] = self.select(split=split, collection=collection).tolist()
        return rows

    def select(self, *, split: str | None = None, collection: str | None = None) -> NDArray[np.int64]:
        """Return what ``rows`` does as an array, which ten million rows fit into."""
        chosen = ~self.revoked
        for name, word in (("split", split), ("collection", collection)):
            if word is not None:
                chosen = chosen & self.index.equals(name, word)
        return np.flatnonzero(chosen)

    @cached_property
    def revoked(self) -> NDArray[np.bool_]:
        """Which rows [R] nobody may learn from any more, as the list stood when the dataset was opened."""
        return self.revocations.rows(self.index, version=self.card.version, records=self.each_record)

    def span(self, row: int) -> bytes:
        """Return a row's span of its shard: its record and picture as ``data.shards.unpack_sample`` takes them."""
        shard, offset, length = (int(self.index.column(name)[row]) for name in ("shard", "offset", "length"))
        return self.shards.read(shard, offset, length)

    def _sample(self, row: int) -> tuple[bytes, bytes]:
        return self._unpack(row, self.span(row))

    def _unpack(self, row: int, span: bytes) -> tuple[bytes, bytes]:
        try:
            return unpack_sample(span)
        except DatasetError as error:
            line = self.index[row]
            file = self.folder / self.card.shards[line.shard].file
            raise DatasetError(f"{file}: sample {line.key}: {error}") from None


def open_dataset(folder: str | Path) -> Dataset:
    """Open a dataset folder. Checks that every file is there and whole in size; ``atelier verify`` checks digests.

    Raises:
        DatasetError: not a dataset, or a file is missing, broken or of another size than the card says.
        RevocationError: the list of revoked works is damaged.
    """
    folder = Path(folder)
    card = DatasetCard.read(folder)
    for shard in card.shards:
        file = folder / shard.file
        if not file.is_file():
            raise DatasetError(f"{folder} lacks {shard.file}, which {CARD_FILE} lists: copy the dataset again")
        if file.stat().st_size != shard.bytes:
            raise DatasetError(f"{file} has {file.stat().st_size:,} bytes, not {shard.bytes:,}: copy it again")
    dataset = _reopened(folder, card, load_revocations())
    file = index_file(folder)
    if len(dataset) != card.count:
        raise DatasetError(f"{file} lists {len(dataset):,} samples, {CARD_FILE} {card.count:,}: copy it again")
    shards = dataset.index.column("shard")
    if len(shards) and not 0 <= int(shards.min()) <= int(shards.max()) < len(card.shards):
        raise DatasetError(f"{file} names a shard that {CARD_FILE} does not list: copy it again")
    return dataset


def index_file(folder: Path) -> Path:
    """Return a dataset's index: ``index.arrow``, or the ``index.jsonl`` of the format before.

    Raises:
        DatasetError: it has neither.
    """
    for name in (INDEX_FILE, OLD_INDEX_FILE):
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(f"{folder} lacks {INDEX_FILE}, which {CARD_FILE} needs: copy the dataset again")


def mapped_file(file: Path) -> Any:
    """Return a file's bytes, mapped: they cost no memory of the process's own, and slices are copied."""
    with file.open("rb") as content:
        return mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)


def _reopened(folder: Path, card: DatasetCard, revocations: Revocations) -> Dataset:
    """Return a dataset whose files were checked before."""
    file = index_file(folder)
    if file.name == INDEX_FILE:
        return Dataset(folder, card, open_index(file), revocations)
    table = read_old_index(file, [shard.file for shard in card.shards])
    dataset = Dataset(folder, card, Index(table), revocations)
    dataset.index = Index(table, lambda: index_table(complete_lines(table, _texts(dataset))))
    return dataset


def _texts(dataset: Dataset) -> Iterator[bytes]:
    return (text for text, _ in dataset.samples())


def on_ground(picture: Image.Image, ground: str | tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Return an RGBA picture composited over a ground colour, RGB: C = a·F + (1-a)·G."""
    colour = ImageColor.getrgb(ground) if isinstance(ground, str) else ground
    whole = Image.new("RGBA", picture.size, (*colour[:3], 255))
    whole.alpha_composite(picture.convert("RGBA"))
    return whole.convert("RGB")
