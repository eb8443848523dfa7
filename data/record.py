"""One sample's record, the drawing it is made from, and the refusal that takes its place.

A ``Drawing`` leaves a source, passes admission and is rendered; then it is a sample: a picture and its ``Record``.
Wherever it is turned away, a ``Refused`` says why.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from data.errors import DataError

SPLITS = ("train", "heldout_subject", "heldout_pair")
MAX_CAPTIONS = 4
KEY_PATTERN = re.compile(r"[a-z0-9_-]{1,88}")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one sample; ``sha256`` is that of the picture's bytes.

    Raises:
        DataError: a field does not hold what the format allows.
    """

    key: str
    caption: str
    captions: tuple[str, ...]
    subject: str
    collection: str
    style: str
    split: str
    monochrome: bool
    licence: str
    creator: str
    creator_url: str
    source_uri: str
    evidence: str
    sha256: str
    retrieved: str
    # Optional: left out of the JSON, and so of the digest, where there is nothing to say.
    caption_sources: tuple[str, ...] = ()  # of each caption: name, alias, category, tag, sidecar, table, person
    marks: tuple[str, ...] = ()  # rights statements found in the file itself
    phash: str = ""  # perceptual hash of the picture on white, 64 bits as 16 hexadecimal digits
    width_px: int = 0  # of the stored picture; 0 where it is the dataset's square
    height_px: int = 0

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.key):
            raise DataError(f"record key {self.key!r} must be 1 to 88 of a-z, 0-9, '_' and '-'")
        if self.split not in SPLITS:
            raise DataError(f"record {self.key}: split {self.split!r} is none of {', '.join(SPLITS)}")
        if not self.captions or self.captions[0] != self.caption or not self.caption:
            raise DataError(f"record {self.key}: captions must start with a non-empty caption")
        if self.caption_sources and len(self.caption_sources) != len(self.captions):
            raise DataError(
                f"record {self.key}: {len(self.captions)} captions have {len(self.caption_sources)} caption_sources"
            )

    def to_json(self) -> bytes:
        """Return the canonical JSON: keys sorted, no spaces, UTF-8, optional fields left out where empty."""
        return canonical_json(self._said())

    def _said(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if value or name not in _OPTIONAL}

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Read what ``to_json`` wrote.

        Raises:
            DataError: it is not JSON, or a field is missing, unknown or of the wrong type.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DataError(f"record is not JSON: {error}") from None
        needed = _FIELD_TYPES.keys() - _OPTIONAL
        if not isinstance(values, dict) or not needed <= set(values) <= _FIELD_TYPES.keys():
            raise DataError(
                f"record does not have the fields {', '.join(n for n in _FIELD_TYPES if n in needed)} "
                f"and of {', '.join(sorted(_OPTIONAL))} those that hold something"
            )
        for name, value in values.items():
            if not isinstance(value, _FIELD_TYPES[name]):
                raise DataError(f"record {values['key']}: {name} is {value!r}, not a {_FIELD_TYPES[name].__name__}")
        texts = {name: tuple(map(str, value)) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | texts)

    def sample_sha256(self) -> str:
        """Return the digest of the sample: SHA-256(picture's digest as 32 bytes · JSON of the rest of the record).

        ``retrieved`` is left out, so that the same drawings fetched on another day are the same dataset.
        """
        rest = {name: value for name, value in self._said().items() if name not in ("sha256", "retrieved")}
        return hashlib.sha256(bytes.fromhex(self.sha256) + canonical_json(rest)).hexdigest()

    def caption_sha256(self) -> str:
        """Return the digest of the captions, joined by line feeds."""
        return hashlib.sha256("\n".join(self.captions).encode()).hexdigest()


_TYPES = {"bool": bool, "int": int, "tuple[str, ...]": list}
_FIELD_TYPES = {field.name: _TYPES.get(str(field.type), str) for field in fields(Record)}
_OPTIONAL = {field.name for field in fields(Record) if field.default is not MISSING}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture that a source offers, not yet admitted or rendered; ``content`` is SVG text or a picture file."""

    key: str
    captions: tuple[str, ...]
    subject: str
    collection: str
    style: str
    monochrome: bool
    licence: str | None
    creator: str
    creator_url: str
    source_uri: str
    evidence: str
    retrieved: str
    content: bytes | Path
    caption_sources: tuple[str, ...] = ()

    def record(self, split: str, sha256: str, **found: Any) -> Record:
        """Return the record of this drawing once it is rendered and admitted; ``found`` are optional fields of it."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "content"}
        return Record(caption=self.captions[0], split=split, sha256=sha256, **values, **found)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture turned away: ``reason`` is counted, ``detail`` tells this picture's own case."""

    key: str
    collection: str
    reason: str
    detail: str = ""

    def to_json(self) -> bytes:
        """Return the canonical JSON, as a line of ``refusals.jsonl`` holds it."""
        return canonical_json(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One place that drawings were read from, with the digest that pins it."""

    collection: str
    title: str
    creator: str
    creator_url: str
    licence: str
    licence_url: str
    uri: str
    sha256: str


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces, as UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sample_key(collection: str, name: str) -> str:
    """Return a key of 1 to 88 safe characters, the same for the same names; long ones end in a digest."""
    key = re.sub(r"[^a-z0-9_-]+", "-", f"{collection}__{name}".lower())
    if len(key) <= 80 and key == f"{collection}__{name}":
        return key
    return f"{key[:71]}-{hashlib.sha256(f'{collection}/{name}'.encode()).hexdigest()[:16]}"
