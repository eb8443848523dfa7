"""Datasets of small pictures that differ in every pixel's colour, written without a source."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from data.dataset import Dataset, DatasetCard, open_dataset
from data.merkle import merkle_root
from data.record import Record
from data.shards import ShardWriter

SHAPES = ((16, 16), (32, 16), (16, 32))


def colour_of(number: int) -> tuple[int, int, int, int]:
    """Return the colour of a picture, which no other has."""
    return number % 256, number // 256 % 256, 7, 255


def write_dataset(folder: Path, count: int, *, shaped: bool = False, per_shard: int = 7) -> Dataset:
    """Write ``count`` pictures of 16 px, or of three shapes in turn; picture i has ``colour_of(i)``."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, per_shard)
    leaves = []
    for number in range(count):
        size = SHAPES[number % 3] if shaped else SHAPES[0]
        buffer = io.BytesIO()
        Image.new("RGBA", size, colour_of(number)).save(buffer, "WEBP", lossless=True)
        content = buffer.getvalue()
        width, height = size if shaped else (0, 0)
        line = writer.write(_record(number, content, width, height), content)
        leaves.append((line.sha256, line.licence))
    writer.close()
    card = DatasetCard(
        name="flat",
        version=merkle_root(leaves),
        policy="commercial",
        picture_px=16,
        count=count,
        licences={"MIT": count},
        collections={"flat": count},
        splits={"train": count},
        refused={},
        shards=writer.cards,
        sources=[],
        index_sha256=writer.index_sha256,
    )
    (folder / "dataset.json").write_text(card.to_json())
    return open_dataset(folder)


def _record(number: int, picture: bytes, width_px: int, height_px: int) -> Record:
    return Record(
        key=f"flat-{number}",
        caption=f"field {number}",
        captions=(f"field {number}",),
        subject=f"field-{number}",
        collection="flat",
        style="flat",
        split="train",
        monochrome=False,
        licence="MIT",
        creator="A. Drawer",
        creator_url="",
        source_uri=f"test:{number}",
        evidence="test",
        sha256=hashlib.sha256(picture).hexdigest(),
        retrieved="2026-11-01",
        width_px=width_px,
        height_px=height_px,
    )
