"""What a source says of one picture beside the picture itself, and the drawing that comes of both.

Every source but icon sets goes through here: a folder's sidecar files, a table's row, a tar's JSON member, a parquet
row. A value that cannot be used is a reason to refuse that picture, never to stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from data.errors import SourceError
from data.record import MAX_CAPTIONS, Drawing, Origin, Refused, sample_key

MAX_CAPTION_CHARACTERS = 500
MAX_FACT_CHARACTERS = 2000
MAX_TAGS = 8


@dataclass(frozen=True)
class Unreadable:
    """What is said of a picture cannot be used: ``detail`` tells what and why."""

    detail: str


@dataclass(frozen=True)
class Note:
    """What stands beside one picture; ``caption_sources`` are those of ``captions``, one each."""

    captions: tuple[str, ...] = ()
    caption_sources: tuple[str, ...] = ()
    subject: str | None = None
    licence: str | None = None
    creator: str | None = None
    creator_url: str | None = None
    source_uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Under which names a table, a JSON file or a parquet folder says what; of several, the first that says something.

    ``caption`` and ``tags`` may hold one text, a list of texts, or tags with commas between them.
    """

    caption: tuple[str, ...] = ("caption", "captions", "text", "TEXT")
    tags: tuple[str, ...] = ("tags", "keywords")
    subject: tuple[str, ...] = ("subject",)
    licence: tuple[str, ...] = ("licence", "license", "LICENSE")
    creator: tuple[str, ...] = ("creator", "author")
    creator_url: tuple[str, ...] = ("creator_url", "author_url")
    source_uri: tuple[str, ...] = ("source_uri", "url", "URL")

    @classmethod
    def named(cls, given: Mapping[str, str | Sequence[str]] | None) -> Columns:
        """Return the columns with some of them named otherwise.

        Raises:
            SourceError: there is no such thing to name.
        """
        known = {field.name for field in fields(cls)}
        for name in given or {}:
            if name not in known:
                raise SourceError(f"source.columns has {name!r}: it may name {', '.join(sorted(known))}")
        pairs = (given or {}).items()
        return cls(**{name: (value,) if isinstance(value, str) else tuple(value) for name, value in pairs})

    def all_names(self) -> frozenset[str]:
        """Return every name that may be read."""
        return frozenset(name for field in fields(self) for name in getattr(self, field.name))


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What goes for all pictures of a source that do not say otherwise."""

    collection: str
    licence: str | None = None
    creator: str = ""
    creator_url: str = ""
    evidence: str = "stated by whoever gave the pictures"  # of the licence that goes for all
    unsaid: str = "neither caption, text nor tags stand beside it"

    def drawing(
        self, note: Note | Unreadable, *, name: str, content: Any, uri: str, evidence: str, retrieved: str
    ) -> Drawing | Refused:
        """Return the drawing called ``name`` in this source, or why its note gives none."""
        key = sample_key(self.collection, name)
        if isinstance(note, Unreadable):
            return Refused(key=key, collection=self.collection, reason="caption unreadable", detail=note.detail)
        if not note.captions:
            return Refused(key=key, collection=self.collection, reason="caption missing", detail=self.unsaid)
        return Drawing(
            key=key,
            captions=note.captions,
            caption_sources=note.caption_sources,
            subject=subject_of(note.subject or note.captions[0]) or key,
            collection=self.collection,
            style=self.collection,
            monochrome=False,
            licence=note.licence or self.licence,
            creator=note.creator or self.creator,
            creator_url=note.creator_url or self.creator_url,
            source_uri=note.source_uri or uri,
            evidence=evidence if note.licence else self.evidence,
            retrieved=retrieved,
            content=content,
        )

    def refused(self, name: str, reason: str, detail: str = "") -> Refused:
        """Return the refusal of what is called ``name`` in this source."""
        return Refused(key=sample_key(self.collection, name), collection=self.collection, reason=reason, detail=detail)

    def origin(self, uri: str, sha256: str) -> Origin:
        """Return what the attribution needs to say of the whole source."""
        return Origin(
            collection=self.collection,
            title=self.collection,
            creator=self.creator,
            creator_url=self.creator_url,
            licence=self.licence or "",
            licence_url="",
            uri=uri,
            sha256=sha256,
        )


def collection_name(given: str) -> str:
    """Return a name as collections bear it: lower case, hyphens between its words."""
    return re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-") or "pictures"


def subject_of(caption: str) -> str:
    """Return a caption as icon sets name their drawings: "A red fox" is ``red-fox``."""
    without_article = re.sub(r"^(?:an?|the)\s+", "", caption.strip().lower())
    return re.sub(r"[^\w]+", "-", without_article).strip("-")


def note_of(values: Mapping[str, Any], columns: Columns, *, source: str, more: Iterable[str] = ()) -> Note | Unreadable:
    """Return what a row or a JSON object says, or why it cannot be used.

    ``source`` is recorded of its captions and of ``more`` ones that were given elsewhere; tags are captions too.
    """
    facts: dict[str, str | None] = {}
    for name in ("subject", "licence", "creator", "creator_url", "source_uri"):
        fact = _first(values, getattr(columns, name))
        if fact is not None and (not isinstance(fact, str) or len(fact) > MAX_FACT_CHARACTERS):
            return Unreadable(f"{name} is {_shown(fact)}, not a text of at most {MAX_FACT_CHARACTERS:,} characters")
        facts[name] = clean(fact) if fact else None
    said = [text for name in columns.caption for text in _texts(values.get(name))]
    tags = _texts(_first(values, columns.tags))
    if wrong := [text for text in [*said, *tags] if not isinstance(text, str)]:
        return Unreadable(f"caption holds {_shown(wrong[0])}, not text")
    by_text = dict.fromkeys(filter(None, map(clean, [*said, *more])), source)
    by_text = dict(list(by_text.items())[: MAX_CAPTIONS - 1 if tags else MAX_CAPTIONS])
    if tagged := clean(", ".join(_split_tags(tags))):
        by_text.setdefault(tagged, "tag")
    return Note(captions=tuple(by_text), caption_sources=tuple(by_text.values()), **facts)


def clean(text: str) -> str:
    """Return a text of one line with single spaces, valid UTF-8 and cut at 500 characters."""
    whole = text.encode("utf-8", "replace").decode()
    visible = "".join(sign if sign.isprintable() else " " for sign in whole)
    return " ".join(visible.split())[:MAX_CAPTION_CHARACTERS].rstrip()


def _first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((values[name] for name in names if values.get(name) not in (None, "", [])), None)


def _texts(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _split_tags(tags: Iterable[str]) -> list[str]:
    parts = [part.strip().replace("_", " ") for tag in tags for part in re.split(r"[,;|]", tag)]
    return list(dict.fromkeys(filter(None, parts)))[:MAX_TAGS]


def _shown(value: Any) -> str:
    return f"{str(value)[:40]!r}"
