"""Reads a dataset folder: its card, its records, and single pictures by ranged reads.

Legend: a row is a sample's place in the index, 0 ≤ row < len(dataset).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor

from data.errors import DatasetError
from data.record import Origin, Record
from data.shards import IndexLine, ShardCard, read_index, unpack_sample

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
    format: str = field(default="atelier-dataset-1")

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
    """A finished dataset folder; use ``open_dataset``. Safe to share between threads and to send to processes."""

    def __init__(self, folder: Path, card: DatasetCard, index: list[IndexLine]) -> None:
        self.folder = folder
        self.card = card
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def records(self) -> list[Record]:
        """The records of all rows, read once from the shards, one after the other."""
        return [Record.from_json(text) for text, _ in self.samples()]

    def samples(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (record as JSON, picture bytes) of every row in order, reading each shard once."""
        shard, content = "", b""
        for line in self.index:
            if line.shard != shard:
                shard, content = line.shard, (self.folder / line.shard).read_bytes()
            yield self._unpack(line, content[line.offset : line.offset + line.length])

    def picture_bytes(self, row: int) -> bytes:
        """Return a row's picture as its WebP bytes, by one ranged read."""
        line = self.index[row]
        with (self.folder / line.shard).open("rb") as shard:
            shard.seek(line.offset)
            return self._unpack(line, shard.read(line.length))[1]

    def picture(self, row: int) -> Image.Image:
        """Return a row's picture, RGBA, ``card.picture_px`` square."""
        return Image.open(io.BytesIO(self.picture_bytes(row))).convert("RGBA")

    def rows(self, *, split: str | None = None, collection: str | None = None) -> list[int]:
        """Return the rows of one split, one collection, or both, in order."""
        return [
            row
            for row, record in enumerate(self.records)
            if split in (None, record.split) and collection in (None, record.collection)
        ]

    def _unpack(self, line: IndexLine, span: bytes) -> tuple[bytes, bytes]:
        try:
            return unpack_sample(span)
        except DatasetError as error:
            raise DatasetError(f"{self.folder / line.shard}: sample {line.key}: {error}") from None


def open_dataset(folder: str | Path) -> Dataset:
    """Open a dataset folder. Checks that every file is there and whole in size; ``atelier verify`` checks digests.

    Raises:
        DatasetError: not a dataset, or a file is missing or of another size than the card says.
    """
    folder = Path(folder)
    card = DatasetCard.read(folder)
    if not (folder / "index.jsonl").is_file():
        raise DatasetError(f"{folder} lacks index.jsonl, which {CARD_FILE} needs: copy the dataset again")
    for shard in card.shards:
        file = folder / shard.file
        if not file.is_file():
            raise DatasetError(f"{folder} lacks {shard.file}, which {CARD_FILE} lists: copy the dataset again")
        if file.stat().st_size != shard.bytes:
            raise DatasetError(f"{file} has {file.stat().st_size:,} bytes, not {shard.bytes:,}: copy it again")
    index = list(read_index(folder))
    if len(index) != card.count:
        raise DatasetError(f"{folder / 'index.jsonl'} lists {len(index):,} samples, {CARD_FILE} {card.count:,}")
    return Dataset(folder, card, index)


def on_ground(picture: Image.Image, ground: str | tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Return an RGBA picture composited over a ground colour, RGB: C = a·F + (1-a)·G."""
    colour = ImageColor.getrgb(ground) if isinstance(ground, str) else ground
    whole = Image.new("RGBA", picture.size, (*colour[:3], 255))
    whole.alpha_composite(picture.convert("RGBA"))
    return whole.convert("RGB")
