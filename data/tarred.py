"""Reads WebDataset tars, those of img2dataset among them: a picture, its text and its JSON are members of one key.

A sample's key is its members' name up to the first dot, as in WebDataset. Only pictures, .txt and .json are read, and
nothing is unpickled, unpacked to disk or fetched: a tar may come from anybody.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from data.errors import SourceError
from data.notes import Columns, Note, Unreadable, Whole, collection_name, note_of
from data.pictures import MAX_SIDECAR_BYTES, PICTURE_SUFFIXES, day_of, file_digest, shown, why_not_read
from data.record import Drawing, Origin, Refused
from data.tabular import parquet_batches

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_MEMBER_BYTES = 100_000_000
MAX_NAMED_MEMBERS = 32
DOWNLOADED = "success"  # img2dataset's word for a row that became a sample

_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"K")
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)


class Member(NamedTuple):
    """A member of a tar: its key, its suffix, and its content, or what keeps it from being read."""

    key: str
    suffix: str
    content: bytes
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class TarSource:
    """Offers the samples of WebDataset tars, in order; one sample is the most that is in memory.

    Beside ``NAME.tar``, img2dataset leaves ``NAME.parquet``: what it says of a key is read too, and rows that were
    never downloaded are refused by their own word.

    Attributes:
        path: a folder of .tar, .tar.gz or .tgz files, or one of them.
        columns: which fields of the JSON say what, where they are not named as ``Columns`` has them.
        licence: SPDX expression for samples that state none.
        collection: the name that all go by; the folder's name if None.
        creator: who made those whose sample does not say.
        creator_url: where to find them.

    Raises:
        SourceError: there is no tar.
    """

    path: str | Path
    columns: Mapping[str, str | Sequence[str]] | None = None
    licence: str | None = None
    collection: str | None = None
    creator: str = ""
    creator_url: str = ""

    @cached_property
    def shards(self) -> list[Path]:
        """The tars, in order of name."""
        path = Path(self.path)
        shards = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
        if not shards or not all(shard.name.endswith(SUFFIXES) and shard.exists() for shard in shards):
            raise SourceError(f"{path} holds no tars: pass a folder of {', '.join(SUFFIXES)} files, or one")
        return shards

    @cached_property
    def _whole(self) -> Whole:
        name = collection_name(self.collection or Path(self.path).absolute().name.split(".")[0])
        return Whole(collection=name, licence=self.licence, creator=self.creator, creator_url=self.creator_url)

    def origins(self) -> list[Origin]:
        """Return the tars, pinned by their digests."""
        return [self._origin]

    @cached_property
    def _origin(self) -> Origin:
        digest = hashlib.sha256()
        for shard in self.shards:
            for file in (shard, _table_of(shard)):
                if file.exists() and why_not_read(file, file.parent) is None:
                    digest.update(file.name.encode() + file_digest(file))
        return self._whole.origin(f"wds:{self._whole.collection}", digest.hexdigest())

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each sample's picture, or why there is none; a damaged tar gives what lies before the damage."""
        columns = Columns.named(self.columns)
        for shard in self.shards:
            name = shown(shard.name.split(".")[0])
            if problem := why_not_read(shard, shard.parent):
                yield self._whole.refused(name, *problem)
                continue
            listed = _listed(shard, columns)
            seen: set[str] = set()
            for key, members in groupby(_members(shard), key=lambda member: member.key):
                again = f"@{len(seen)}" if key in seen else ""
                yield self._drawing(shard, f"{name}/{key}{again}", _gathered(members), listed.pop(key, {}), columns)
                seen.add(key + again)
            yield from self._never_there(name, listed)

    def _drawing(
        self, shard: Path, name: str, members: list[Member], listed: Mapping[str, Any], columns: Columns
    ) -> Drawing | Refused:
        if problem := next((member.problem for member in members if member.problem), None):
            return self._whole.refused(name, *problem)
        pictures = [member for member in members if member.suffix in PICTURE_SUFFIXES]
        if len(pictures) != 1:
            reason = "picture missing" if not pictures else "several pictures"
            return self._whole.refused(name, reason, f"among {', '.join(member.suffix for member in members)[:200]}")
        return self._whole.drawing(
            _note(members, listed, columns),
            name=name,
            content=pictures[0].content,
            uri=f"wds:{self._whole.collection}/{name}",
            evidence=f"stated in {shard.name}",
            retrieved=day_of(shard),
        )

    def _never_there(self, name: str, listed: Mapping[str, Mapping[str, Any]]) -> Iterator[Refused]:
        for key, row in listed.items():
            status = row.get("status") or DOWNLOADED
            reason = "picture missing" if status == DOWNLOADED else "never downloaded"
            yield self._whole.refused(f"{name}/{key}", reason, shown(str(row.get("error_message") or status))[:200])


class _Strict(tarfile.TarInfo):
    """A header that tells damage: tarfile itself takes a broken header amid a tar for its end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Strict:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _HEADERS and header.size > MAX_SIDECAR_BYTES:
            raise tarfile.ReadError(f"a name of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Strict:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}: no mark of its end") from None


def _members(shard: Path) -> Iterator[Member]:
    """Yield the members that may be read, one at a time. At damage, the last sample gets it as its problem.

    Whether that sample is whole cannot be known: its licence may lie behind the damage.
    """
    mode = "r:" if shard.name.endswith(".tar") else "r:gz"
    key, count = "first", 0
    try:
        with tarfile.open(shard, mode, tarinfo=_Strict) as archive:  # type: ignore[call-overload]
            while (header := archive.next()) is not None:
                archive.members = []  # it would keep every header
                name, suffix = _key_and_suffix(header)
                if not header.isdir() and name:
                    key, count = name, count + 1
                    yield _read(archive, header, key, suffix)
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:100]
        yield Member(key, "", b"", ("broken tar", f"{shard.name} is damaged after {count:,} members ({reason})"))


def _key_and_suffix(header: tarfile.TarInfo) -> tuple[str, str]:
    """Return ``a/b`` and ``.png`` for ``a/b.left.png``; the key is empty where the name has none."""
    folder, _, file = shown(header.name).rpartition("/")
    stem, dot, ending = file.partition(".")
    suffix = f".{ending.rpartition('.')[2].lower()}" if dot else ""
    return (f"{folder}/{stem}" if folder and stem else stem), suffix


def _read(archive: tarfile.TarFile, header: tarfile.TarInfo, key: str, suffix: str) -> Member:
    if not header.isreg() or header.issparse():
        return Member(key, suffix, b"", ("not a regular file", f"{shown(header.name)[:200]} is a link or a device"))
    wanted = suffix in (*PICTURE_SUFFIXES, ".txt", ".json")
    most = MAX_MEMBER_BYTES if suffix in PICTURE_SUFFIXES else MAX_SIDECAR_BYTES
    if wanted and header.size > most:
        return Member(key, suffix, b"", ("picture too large", f"{shown(header.name)[:200]} has over {most:,} bytes"))
    member = archive.extractfile(header) if wanted else None
    return Member(key, suffix, member.read() if member else b"")


def _gathered(members: Iterator[Member]) -> list[Member]:
    """Return one sample's members, together no larger than one may be."""
    kept: list[Member] = []
    for member in members:
        if sum(len(one.content) for one in kept) + len(member.content) > MAX_MEMBER_BYTES:
            problem = ("picture too large", f"its members have over {MAX_MEMBER_BYTES:,} bytes together")
            return [*kept, Member(member.key, member.suffix, b"", problem)]
        if member.content or member.problem or len(kept) < MAX_NAMED_MEMBERS:
            kept.append(member)
    return kept


def _note(members: list[Member], listed: Mapping[str, Any], columns: Columns) -> Note | Unreadable:
    """Return what a sample's JSON and text say; the table beside the tar fills in what they leave out."""
    said: dict[str, Any] = {name: value for name, value in listed.items() if value is not None}
    lines: list[str] = []
    for member in members:
        try:
            if member.suffix == ".json":
                values = json.loads(member.content)
                said |= {str(name): value for name, value in values.items() if value is not None}
            elif member.suffix == ".txt":
                lines += member.content.decode("utf-8-sig").splitlines()
        except (ValueError, AttributeError, RecursionError) as error:
            return Unreadable(f"its {member.suffix} is broken ({' '.join(str(error).split())[:100]})")
    return note_of(said, columns, source="sidecar", more=lines)


def _listed(shard: Path, columns: Columns) -> dict[str, dict[str, Any]]:
    """Return the rows that img2dataset's table beside a tar has, by key."""
    table = _table_of(shard)
    if not table.is_file():
        return {}
    wanted = columns.all_names() | {"key", "status", "error_message"}
    rows = (row for batch in parquet_batches(table, [], wanted, 1024) for row in batch)
    return {str(row.pop("key")): row for row in rows if "key" in row}


def _table_of(shard: Path) -> Path:
    return shard.with_name(f"{shard.name.split('.')[0]}.parquet")
