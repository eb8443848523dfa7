"""Reads a folder of pictures with their captions, as a brand owner hands them over.

A caption comes from ``NAME.txt`` (one a line), ``NAME.json`` or a ``captions.csv`` with the columns file and caption.
The licence is given by the caller, by ``NAME.json``, or by a ``LICENSE`` file that is one SPDX expression or holds an
``SPDX-License-Identifier:`` line.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import SourceError
from data.record import MAX_CAPTIONS, Drawing, Origin, Refused, sample_key

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg")
CAPTIONS_FILE = "captions.csv"
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
MAX_CAPTION_CHARACTERS = 500
_SPDX_LINE = re.compile(r"SPDX-License-Identifier:\s*(.+)")


@dataclass(frozen=True)
class Note:
    """What stands beside one picture."""

    captions: tuple[str, ...] = ()
    subject: str | None = None
    licence: str | None = None
    creator: str | None = None
    creator_url: str | None = None


class FolderSource:
    """Offers every picture of a folder and its subfolders.

    Args:
        path: the folder.
        licence: SPDX expression for all pictures that do not state their own.
        collection: the name they go by; the folder's name if None.
        creator: who made them.
        creator_url: where to find them.

    Raises:
        SourceError: the folder is missing or empty, or a caption file cannot be read.
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
        self.collection = re.sub(r"[^a-z0-9]+", "-", (collection or self.path.absolute().name).lower()).strip("-")
        self.creator = creator
        self.creator_url = creator_url
        self._licence = licence

    @cached_property
    def files(self) -> list[Path]:
        """The picture files, in order of their path."""
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is not a folder: pass the folder that holds the pictures")
        files = sorted(file for file in self.path.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            raise SourceError(f"{self.path} holds no pictures: it wants {', '.join(PICTURE_SUFFIXES)} files")
        return files

    @cached_property
    def licence(self) -> str | None:
        """The SPDX expression that goes for the whole folder, if one is given."""
        return self._licence or _licence_file(self.path)

    def key(self, file: Path) -> str:
        """Return the sample key of a picture: its path without suffix, unless two pictures differ in that alone."""
        path = file.relative_to(self.path)
        bare = path.with_suffix("").as_posix()
        return sample_key(self.collection, bare if self._bare_paths[bare] == 1 else path.as_posix())

    @cached_property
    def _bare_paths(self) -> Counter[str]:
        return Counter(file.relative_to(self.path).with_suffix("").as_posix() for file in self.files)

    def origins(self) -> list[Origin]:
        """Return the folder, pinned by the digest of its pictures and of what stands beside them."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.relative_to(self.path)}\n{self._notes(file)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        origin = Origin(
            collection=self.collection,
            title=self.collection,
            creator=self.creator,
            creator_url=self.creator_url,
            licence=self.licence or "",
            licence_url="",
            uri=f"folder:{self.collection}",
            sha256=digest.hexdigest(),
        )
        return [origin]

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each picture, or that its caption is missing, in order of path."""
        for file in self.files:
            name = file.relative_to(self.path).as_posix()
            key = self.key(file)
            note = self._notes(file)
            if note.captions:
                yield self._drawing(file, name, key, note)
            else:
                detail = f"write one into NAME.txt beside the picture, or into {CAPTIONS_FILE}"
                yield Refused(key=key, collection=self.collection, reason="caption missing", detail=detail)

    def _drawing(self, file: Path, name: str, key: str, note: Note) -> Drawing:
        day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()
        return Drawing(
            key=key,
            captions=note.captions,
            subject=_subject(note.subject or note.captions[0]) or key,
            collection=self.collection,
            style=self.collection,
            monochrome=False,
            licence=note.licence or self.licence,
            creator=note.creator or self.creator,
            creator_url=note.creator_url or self.creator_url,
            source_uri=f"folder:{self.collection}/{name}",
            evidence=self._evidence(note),
            retrieved=day,
            content=file,
        )

    def _evidence(self, note: Note) -> str:
        if note.licence:
            return "stated beside the picture"
        return "stated by whoever gave the pictures" if self._licence else "LICENSE file of the folder"

    def _notes(self, file: Path) -> Note:
        listed = self._listed.get(str(file.relative_to(self.path).as_posix()), ())
        sidecar = file.with_suffix(".json")
        if sidecar.is_file():
            return _json_note(sidecar, listed)
        text = file.with_suffix(".txt")
        lines = _read_text(text).splitlines() if text.is_file() else []
        return Note(captions=_cleaned([*lines, *listed]))

    @cached_property
    def _listed(self) -> dict[str, tuple[str, ...]]:
        file = self.path / CAPTIONS_FILE
        if not file.is_file():
            return {}
        rows = csv.DictReader(_read_text(file).splitlines())
        if not {"file", "caption"} <= set(rows.fieldnames or ()):
            raise SourceError(f"{file} must start with the line file,caption")
        captions: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            captions[row["file"] or ""].append(row["caption"] or "")
        strangers = [name for name in captions if not (self.path / name).is_file()]
        if strangers:
            raise SourceError(f"{file} names {strangers[0]!r}, which is not in {self.path}")
        return {name: tuple(texts) for name, texts in captions.items()}


def _subject(caption: str) -> str:
    """Return a caption as icon sets name their drawings: "A red fox" is ``red-fox``."""
    without_article = re.sub(r"^(?:an?|the)\s+", "", caption.strip().lower())
    return re.sub(r"[^\w]+", "-", without_article).strip("-")


def _json_note(file: Path, listed: tuple[str, ...]) -> Note:
    try:
        values: dict[str, Any] = json.loads(_read_text(file))
        captions = [values.get("caption") or "", *values.get("captions", []), *listed]
    except (ValueError, AttributeError, TypeError) as error:
        raise SourceError(f"{file} is not a JSON object with a caption: {error}") from None
    rest = {name: values.get(name) for name in ("subject", "licence", "creator", "creator_url")}
    if not all(isinstance(text, str | None) for text in [*captions, *rest.values()]):
        raise SourceError(f"{file}: caption, subject, licence, creator and creator_url must be text")
    return Note(captions=_cleaned(captions), **rest)


def _cleaned(captions: list[str]) -> tuple[str, ...]:
    whole = (caption.encode("utf-8", "replace").decode() for caption in captions)
    cut = (" ".join(caption.split())[:MAX_CAPTION_CHARACTERS] for caption in whole)
    return tuple(dict.fromkeys(filter(None, cut)))[:MAX_CAPTIONS]


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


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{file} is not UTF-8 text: save it as UTF-8") from None
