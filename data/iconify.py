"""Reads icon sets in Iconify JSON form: npm packages ``@iconify-json/NAME``, as tarballs, folders or bare JSON.

A set holds SVG bodies by name, sizes with defaults for the whole set, ``hidden`` drawings that its authors withdrew,
and aliases, which are further names of a drawing. https://iconify.design/docs/types/iconify-json.html
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from data.captions import Caption, IconSetWords, captions_of
from data.errors import SourceError
from data.naming import Name, Naming, has_skin_tone, is_flag
from data.record import Drawing, Origin, Refused, sample_key
from data.svg import icon_svg

_PARTS = ("icons", "info", "metadata", "package")
SETS_OF_THINGS = ("game-icons",)  # besides emoji: sets whose names are nouns
_TRANSFORMS = ("rotate", "hFlip", "vFlip")


@dataclass(frozen=True, kw_only=True)
class IconSet:
    """One icon set as read: the parsed JSON files of its package, the digest of what was read, and its date."""

    icons: Mapping[str, Any]
    info: Mapping[str, Any]
    metadata: Mapping[str, Any]
    package_version: str
    sha256: str
    retrieved: str

    @property
    def collection(self) -> str:
        """The set's name, as in ``@iconify-json/NAME``."""
        return str(self.icons["prefix"])

    @property
    def licence(self) -> str | None:
        """The SPDX expression that the set states, if it states one."""
        return self.info.get("license", {}).get("spdx") or None

    @property
    def uri(self) -> str:
        """The set's package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:npm/%40iconify-json/{self.collection}@{self.package_version}"

    def origin(self) -> Origin:
        """Return what the attribution needs to say of this set."""
        author = self.info.get("author", {})
        return Origin(
            collection=self.collection,
            title=str(self.info.get("name", self.collection)),
            creator=str(author.get("name", "")),
            creator_url=str(author.get("url", "")),
            licence=self.licence or "",
            licence_url=str(self.info.get("license", {}).get("url", "")),
            uri=self.uri,
            sha256=self.sha256,
        )


class Shelved(NamedTuple):
    """One set that is there: its file, and what it said when it was read first."""

    file: Path
    origin: Origin
    offered: int


class IconifySource:
    """Offers every drawing of one or more icon sets.

    Args:
        path: a folder of tarballs, one tarball, an unpacked npm package, or an Iconify JSON file.
        collections: the sets to read, all that are there if None; a mapping gives each its package version, which
            must be the one that is there.

    Raises:
        SourceError: nothing to read there, or a file is not an icon set.
    """

    def __init__(self, path: str | Path, collections: Sequence[str] | Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self.collections = None if collections is None else tuple(collections)
        self._versions = dict(collections) if isinstance(collections, Mapping) else {}

    @property
    def sets(self) -> list[IconSet]:
        """The icon sets, by name, all in memory."""
        return [self._read_again(shelved) for shelved in self._shelf]

    @cached_property
    def _shelf(self) -> list[Shelved]:
        """Where each set lies, by name; every file was read once, and none is kept in memory."""
        by_name: dict[str, Shelved] = {}
        for file in _set_files(self.path):
            if self.collections is not None and not _may_hold(file, self.collections):
                continue
            icon_set = _read_set(file)
            if self.collections is not None and icon_set.collection not in self.collections:
                continue
            if icon_set.collection in by_name:
                raise SourceError(f"{self.path} holds two versions of set {icon_set.collection}: keep one")
            self._check_version(icon_set)
            by_name[icon_set.collection] = Shelved(file, icon_set.origin(), len(icon_set.icons["icons"]))
        missing = sorted(set(self.collections or ()) - by_name.keys())
        if missing:
            raise SourceError(f"{self.path} lacks {', '.join(missing)}: fetch with npm pack @iconify-json/{missing[0]}")
        return [by_name[name] for name in sorted(by_name)]

    def _check_version(self, icon_set: IconSet) -> None:
        name = icon_set.collection
        wanted = self._versions.get(name, icon_set.package_version)
        if wanted != icon_set.package_version:
            raise SourceError(
                f"{self.path} holds {name} {icon_set.package_version}, not {wanted}: "
                f"fetch with npm pack @iconify-json/{name}@{wanted} or pass source.collections.{name}=VERSION"
            )

    def origins(self) -> list[Origin]:
        """Return the sets read, for attribution and for the dataset's inputs."""
        return [shelved.origin for shelved in self._shelf]

    def __length_hint__(self) -> int:
        """Return how many drawings are offered or left out."""
        return sum(shelved.offered for shelved in self._shelf)

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield every drawing of every set, or why it is left out, in order of set and name."""
        for shelved in self._shelf:
            yield from _drawings(self._read_again(shelved))

    def _read_again(self, shelved: Shelved) -> IconSet:
        icon_set = _read_set(shelved.file)
        if icon_set.sha256 != shelved.origin.sha256:
            raise SourceError(f"{shelved.file} changed while it was read: run again once it is complete")
        return icon_set


def _set_files(path: Path) -> list[Path]:
    if path.is_dir() and not (path / "icons.json").is_file():
        files = sorted([*path.glob("*.tgz"), *path.glob("*.tar.gz")])
        files = files or sorted(folder for folder in path.iterdir() if (folder / "icons.json").is_file())
        if not files:
            raise SourceError(f"{path} holds no icon sets: it wants npm tarballs (npm pack @iconify-json/NAME)")
        return files
    if not path.exists():
        raise SourceError(f"source.path {path} does not exist: pass a folder of npm tarballs or an Iconify JSON file")
    return [path]


def _may_hold(file: Path, collections: Sequence[str]) -> bool:
    """Return False only for a tarball whose name says that it holds another set, to spare its reading."""
    name = file.name
    named_by_npm = name.startswith("iconify-json-") and name.endswith(".tgz")
    return not named_by_npm or name.removeprefix("iconify-json-").rsplit("-", 1)[0] in collections


def _read_set(file: Path) -> IconSet:
    try:
        parts, sha256 = _read_parts(file)
        icons = parts["icons"]
        info = parts.get("info") or icons.get("info") or {}
        if not isinstance(icons.get("icons"), dict) or not isinstance(icons.get("prefix"), str):
            raise SourceError(f"{file} is not an icon set: its JSON has no 'prefix' and 'icons'")
    except (KeyError, ValueError, AttributeError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        told = str(error).partition("\n")[0]
        raise SourceError(f"{file} is not an icon set ({told}): it wants package/icons.json") from None
    version = parts.get("package", {}).get("version") or info.get("version") or "0"
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()
    metadata = parts.get("metadata", {})
    return IconSet(
        icons=icons, info=info, metadata=metadata, package_version=str(version), sha256=sha256, retrieved=day
    )


def _read_parts(file: Path) -> tuple[dict[str, Any], str]:
    """Return the parsed JSON files by their stem, and the digest of the bytes read."""
    if file.is_dir():
        texts = {part: (file / f"{part}.json").read_bytes() for part in _PARTS if (file / f"{part}.json").is_file()}
        whole = b"".join(texts[part] for part in sorted(texts))
    elif file.suffix == ".json":
        whole = file.read_bytes()
        texts = {"icons": whole}
    else:
        whole = file.read_bytes()
        texts = {}
        with tarfile.open(file) as archive:
            for part in _PARTS:
                member = archive.extractfile(f"package/{part}.json")
                texts[part] = member.read() if member else b"{}"
    return {part: json.loads(text) for part, text in texts.items()}, hashlib.sha256(whole).hexdigest()


def _drawings(icon_set: IconSet) -> Iterator[Drawing | Refused]:
    metadata = icon_set.metadata
    naming = Naming(icon_set.collection, metadata.get("prefixes") or (), metadata.get("suffixes") or ())
    icons = icon_set.icons["icons"]
    shown = {name for name, icon in icons.items() if not icon.get("hidden")}
    parsed = {name: naming.parse(name) for name in shown}
    kept_sizes = _preferred_sizes(icon_set, parsed, naming.preferred_px)
    categories = _categories(metadata)
    other_names = _other_names(icon_set.icons, naming)
    emoji = "emoji" in icon_set.collection or icon_set.info.get("category") == "Emoji"
    of_set = IconSetWords(
        subjects={parts.subject for parts in parsed.values()},
        things=emoji or icon_set.collection in SETS_OF_THINGS,
        files=icon_set.info.get("category") == "Programming",
    )
    for name in sorted(icons):
        reason = _left_out(name, shown, kept_sizes, categories[name], emoji=emoji)
        key = sample_key(icon_set.collection, name)
        if reason:
            yield Refused(key=key, collection=icon_set.collection, reason=reason)
            continue
        captions = captions_of(parsed[name].subject, other_names[name], categories[name], of_set)
        yield _drawing(icon_set, name, parsed[name], captions)


def _left_out(name: str, shown: set[str], kept: set[str], categories: Sequence[str], *, emoji: bool) -> str | None:
    if name not in shown:
        return "hidden by its set"
    if has_skin_tone(name, shown):
        return "skin tone variant"
    if is_flag(name, categories, emoji=emoji):
        return "flag"
    return None if name in kept else "size variant"


def _drawing(icon_set: IconSet, name: str, parsed: Name, captions: tuple[Caption, ...]) -> Drawing:
    icon = icon_set.icons["icons"][name]
    origin = icon_set.origin()
    collection = icon_set.collection
    return Drawing(
        key=sample_key(collection, name),
        captions=tuple(caption.text for caption in captions),
        caption_sources=tuple(caption.source for caption in captions),
        subject=parsed.subject,
        collection=collection,
        style=f"{collection}-{parsed.style}" if parsed.style else collection,
        monochrome=not icon_set.info.get("palette", False),
        licence=icon_set.licence,
        creator=origin.creator,
        creator_url=origin.creator_url,
        source_uri=f"{icon_set.uri}#{name}",
        evidence=f"license.spdx in the set's info.json; package sha256 {icon_set.sha256}",
        retrieved=icon_set.retrieved,
        content=icon_svg(icon, icon_set.icons),
    )


def _preferred_sizes(icon_set: IconSet, parsed: Mapping[str, Name], preferred_px: int) -> set[str]:
    """Return the names that remain when each drawing and style keeps the size nearest to the preferred one."""
    sizes: defaultdict[tuple[str, str | None], list[tuple[int, int, str]]] = defaultdict(list)
    for name, parts in parsed.items():
        icon = icon_set.icons["icons"][name]
        drawn_px = parts.drawn_px or int(icon.get("height", icon_set.icons.get("height", 16)))
        sizes[parts.drawing, parts.style].append((abs(drawn_px - preferred_px), -drawn_px, name))
    return {min(candidates)[2] for candidates in sizes.values()}


def _categories(metadata: Mapping[str, Any]) -> defaultdict[str, list[str]]:
    categories: defaultdict[str, list[str]] = defaultdict(list)
    for category, names in (metadata.get("categories") or {}).items():
        for name in names:
            categories[name].append(category)
    return categories


def _other_names(icons: Mapping[str, Any], naming: Naming) -> defaultdict[str, list[str]]:
    """Return the subjects of each drawing's aliases; a turned or mirrored alias shows something else."""
    aliases = icons.get("aliases") or {}
    names: defaultdict[str, list[str]] = defaultdict(list)
    for alias in sorted(aliases):
        parent: str | None = alias
        for _ in range(len(aliases) + 1):
            if parent not in aliases or any(aliases[parent].get(turn) for turn in _TRANSFORMS):
                break
            parent = aliases[parent].get("parent")
        if parent in icons["icons"]:
            names[str(parent)].append(naming.parse(alias).subject)
    return names
