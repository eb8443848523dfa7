"""Reads a folder of pictures with their captions, as a brand owner hands them over.

A caption comes from ``NAME.txt`` (one a line), ``NAME.json`` or a ``captions.csv`` with the columns file and caption.
The licence is given by the caller, by ``NAME.json``, or by a ``LICENSE`` file that is one SPDX expression or holds an
``SPDX-License-Identifier:`` line. Only regular files that lie in the folder are read.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import SourceError
from data.notes import Columns, Note, Unreadable, Whole, collection_name, note_of
from data.record import Drawing, Origin, Refused, sample_key

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg")
CAPTIONS_FILE = "captions.csv"
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
MAX_SIDECAR_BYTES = 1_000_000
MAX_PATH_CHARACTERS = 400
_SPDX_LINE = re.compile(r"SPDX-License-Identifier:\s*(.+)")


class FolderSource:
    """Offers every picture of a folder and its subfolders.

    Args:
        path: the folder.
        licence: SPDX expression for all pictures that do not state their own.
        collection: the name they go by; the folder's name if None.
        creator: who made them.
        creator_url: where to find them.

    Raises:
        SourceError: the folder is missing or empty, or its captions.csv or LICENSE cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        licence: str | None = None,
        collection: str | None = None,
        creator: str = "",
        creator_url: str = "",
    ) -> None:
        self.path = Path(path)
        self.collection = collection_name(collection or self.path.absolute().name)
        self.creator = creator
        self.creator_url = creator_url
        self._licence = licence

    @cached_property
    def files(self) -> list[Path]:
        """Whatever goes by the name of a picture, and links and folders that are not entered, in order of path."""
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is not a folder: pass the folder that holds the pictures")
        files = sorted(_offered(self.path))
        if not files:
            raise SourceError(f"{self.path} holds no pictures: it wants {', '.join(PICTURE_SUFFIXES)} files")
        return files

    @cached_property
    def licence(self) -> str | None:
        """The SPDX expression that goes for the whole folder, if one is given."""
        return self._licence or _licence_file(self.path)

    @cached_property
    def _whole(self) -> Whole:
        facts = {"collection": self.collection, "creator": self.creator, "creator_url": self.creator_url}
        facts["unsaid"] = f"write one into NAME.txt beside the picture, or into {CAPTIONS_FILE}"
        if self._licence:
            return Whole(**facts, licence=self._licence)
        return Whole(**facts, licence=self.licence, evidence="LICENSE file of the folder")

    def key(self, file: Path) -> str:
        """Return the sample key of a picture: its path without suffix, unless two pictures differ in that alone."""
        return sample_key(self.collection, self._name(file))

    def _name(self, file: Path) -> str:
        path = file.relative_to(self.path)
        bare = path.with_suffix("").as_posix()
        return shown(bare if self._bare_paths[bare] == 1 else path.as_posix())

    @cached_property
    def _bare_paths(self) -> Counter[str]:
        return Counter(file.relative_to(self.path).with_suffix("").as_posix() for file in self.files)

    def origins(self) -> list[Origin]:
        """Return the folder, pinned by the digest of its pictures and of what stands beside them."""
        digest = hashlib.sha256()
        for file in self.files:
            problem = why_not_read(file, self.path)
            said = problem or self._note(file)
            digest.update(f"{shown(file.relative_to(self.path).as_posix())}\n{said}\n".encode())
            if problem is None:
                digest.update(file_digest(file))
        return [self._whole.origin(f"folder:{self.collection}", digest.hexdigest())]

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each picture, or why it cannot be read or has no caption, in order of path."""
        for file in self.files:
            problem = why_not_read(file, self.path)
            if problem is not None:
                yield self._whole.refused(self._name(file), *problem)
            else:
                yield self._drawing(file)

    def _drawing(self, file: Path) -> Drawing | Refused:
        return self._whole.drawing(
            self._note(file),
            name=self._name(file),
            content=file,
            uri=f"folder:{self.collection}/{file.relative_to(self.path).as_posix()}",
            evidence="stated beside the picture",
            retrieved=day_of(file),
        )

    def _note(self, file: Path) -> Note | Unreadable:
        listed = self._listed.get(file.relative_to(self.path).as_posix(), ())
        values: dict[str, Any] = {}
        try:
            if (sidecar := self._sidecar(file, ".json")) is not None:
                values = _json_object(sidecar)
            elif (text := self._sidecar(file, ".txt")) is not None:
                values = {"caption": _read_text(text).splitlines()}
        except SourceError as error:
            return Unreadable(str(error))
        note = note_of(values, Columns(), source="sidecar", more=listed)
        if isinstance(note, Unreadable):
            return note
        sources = ("table" if text in listed else source for text, source in _pairs(note))
        return replace(note, caption_sources=tuple(sources))

    def _sidecar(self, file: Path, suffix: str) -> Path | None:
        """Return the file beside a picture if there is one.

        Raises:
            SourceError: what is there is no regular file of the folder, or too large.
        """
        sidecar = file.with_suffix(suffix)
        if not os.path.lexists(sidecar):
            return None
        if problem := why_not_read(sidecar, self.path):
            raise SourceError(f"{sidecar.name}: {': '.join(filter(None, problem))}")
        return sidecar

    @cached_property
    def _listed(self) -> dict[str, tuple[str, ...]]:
        file = self.path / CAPTIONS_FILE
        if not file.is_file():
            return {}
        rows = csv.DictReader(_read_text(file, MAX_SIDECAR_BYTES * 1000).splitlines())
        if not {"file", "caption"} <= set(rows.fieldnames or ()):
            raise SourceError(f"{file} must start with the line file,caption")
        captions: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            captions[row["file"] or ""].append(row["caption"] or "")
        strangers = [name for name in captions if not (self.path / name).is_file()]
        if strangers:
            raise SourceError(f"{file} names {strangers[0]!r}, which is not in {self.path}")
        return {name: tuple(texts) for name, texts in captions.items()}


def why_not_read(file: Path, folder: Path) -> tuple[str, str] | None:
    """Return (reason, detail) when a file is not an ordinary readable one that lies in ``folder``; None if it is."""
    path = file.relative_to(folder).as_posix()
    if not path.isprintable():
        return "unsafe file name", f"{shown(path)!r} holds signs that are no text"
    if len(path) > MAX_PATH_CHARACTERS:
        return "unsafe file name", f"{len(path):,} characters; at most {MAX_PATH_CHARACTERS} are taken"
    try:
        found = file.lstat()
        if stat.S_ISLNK(found.st_mode):
            if not file.resolve(strict=True).is_relative_to(folder.resolve()):
                return "not a regular file", "a link that leads out of the folder"
            found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file", f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}"
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))
    except (OSError, RuntimeError) as error:
        return "unreadable file", getattr(error, "strerror", None) or "a link that leads to itself"
    return None


_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device"}
_KINDS[stat.S_IFCHR] = "a device"


def _offered(folder: Path) -> Iterator[Path]:
    """Yield what has a picture's suffix, and links to folders and closed folders, whose pictures would be lost."""
    closed: list[Path] = []
    walk = os.walk(folder, onerror=lambda error: closed.append(Path(error.filename)))
    for parent, folders, files in walk:
        here = Path(parent)
        yield from (here / name for name in folders if (here / name).is_symlink() or _is_picture(name))
        yield from (here / name for name in files if _is_picture(name))
    yield from closed


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURE_SUFFIXES


def shown(name: str) -> str:
    """Return a file's name as valid text, other bytes as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def day_of(file: Path) -> str:
    """Return the day that a file was last written, as 2026-01-31."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()


def file_digest(file: Path) -> bytes:
    """Return the SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _pairs(note: Note) -> Iterator[tuple[str, str]]:
    return zip(note.captions, note.caption_sources, strict=True)


def _json_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(file))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file.name} is not a JSON object with a caption: {error}") from None
    if not isinstance(values, dict):
        raise SourceError(f"{file.name} is not a JSON object with a caption")
    return values


def _licence_file(folder: Path) -> str | None:
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            text = _read_text(folder / name).strip()
            line = _SPDX_LINE.search(text)
            if line or "\n" not in text:
                return line.group(1).strip() if line else text
            right = "add the line 'SPDX-License-Identifier: CC-BY-4.0', or what holds"
            raise SourceError(f"{folder / name} names no SPDX licence: {right}")
    return None


def _read_text(file: Path, most_bytes: int = MAX_SIDECAR_BYTES) -> str:
    if file.stat().st_size > most_bytes:
        raise SourceError(f"{file.name} has over {most_bytes:,} bytes")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{file.name} is not UTF-8 text: save it as UTF-8") from None
