"""Reads a Hugging Face dataset in Parquet form: a column of pictures, {bytes, path} or plain bytes, and one of text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import SourceError
from data.notes import Columns, Whole, collection_name, note_of
from data.pictures import day_of, file_digest
from data.record import Drawing, Origin, Refused
from data.tabular import parquet_batches

BATCH_ROWS = 64


@dataclass(frozen=True)
class ParquetSource:
    """Offers the pictures of Parquet files, row by row; a row group is the most that is in memory.

    Attributes:
        path: a folder of .parquet files, in subfolders too, or one file.
        picture_column: the column that holds the pictures.
        columns: which columns say what, where they are not named as ``Columns`` has them.
        licence: SPDX expression for rows that state none.
        collection: the name that all go by; the folder's name if None.
        creator: who made those whose row does not say.
        creator_url: where to find them.

    Raises:
        SourceError: there is no Parquet file, one is damaged or lacks the picture column.
    """

    path: str | Path
    picture_column: str = "image"
    columns: Mapping[str, str | Sequence[str]] | None = None
    licence: str | None = None
    collection: str | None = None
    creator: str = ""
    creator_url: str = ""

    @cached_property
    def files(self) -> list[Path]:
        """The Parquet files, in order of path."""
        path = Path(self.path)
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise SourceError(f"{path} holds no Parquet files: pass the folder of a dataset's .parquet files, or one")
        return files

    @cached_property
    def _whole(self) -> Whole:
        name = collection_name(self.collection or Path(self.path).absolute().stem)
        return Whole(collection=name, licence=self.licence, creator=self.creator, creator_url=self.creator_url)

    def origins(self) -> list[Origin]:
        """Return the files, pinned by their digests."""
        return [self._origin]

    @cached_property
    def _origin(self) -> Origin:
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{self._name(file)}\n".encode() + file_digest(file))
        return self._whole.origin(f"parquet:{self._whole.collection}", digest.hexdigest())

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each row's picture, or why there is none."""
        columns = Columns.named(self.columns)
        for file in self.files:
            number, day = 0, day_of(file)
            for rows in parquet_batches(file, [self.picture_column], columns.all_names(), BATCH_ROWS):
                for row in rows:
                    yield self._drawing(f"{self._name(file)}/{number}", row, columns, day)
                    number += 1

    def _drawing(self, name: str, row: Mapping[str, Any], columns: Columns, day: str) -> Drawing | Refused:
        content = _picture_bytes(row[self.picture_column])
        if isinstance(content, str):
            return self._whole.refused(name, "picture missing", content)
        note = note_of(row, columns, source="table")
        uri = f"parquet:{self._whole.collection}/{name}"
        return self._whole.drawing(
            note, name=name, content=content, uri=uri, evidence="stated in its row", retrieved=day
        )

    def _name(self, file: Path) -> str:
        path = Path(self.path)
        return file.relative_to(path if path.is_dir() else path.parent).with_suffix("").as_posix()


def _picture_bytes(value: Any) -> bytes | str:
    """Return a cell's picture, or why it holds none. A path alone is a file of somebody else's machine."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes) and content:
        return content
    if isinstance(value, dict) and value.get("path"):
        return f"its row has the path {str(value['path'])[:80]!r} and no bytes: save the dataset with its pictures"
    return "its row holds no picture bytes"
