"""Lists of works by their key, where they come from, their maker, or a domain: what was revoked or opted out.

An entry is one line of text:

    key:openmoji__red-apple
    uri:https://example.org/gallery/        every address that starts so
    creator:Jane Doe                        case and spacing do not matter
    domain:example.org                      and its subdomains, of the work or of its maker
    file:lists/opted-out.txt                a file of such entries, one a line; # begins a remark
"""

from __future__ import annotations

import bisect
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from data.errors import PolicyError
from data.record import Drawing

KINDS = ("key", "uri", "creator", "domain")


class WorkList:
    """Finds the entry that names a drawing, whatever the list's length.

    Args:
        entries: as above. A file's own path is read from the folder where the command is run.

    Raises:
        PolicyError: an entry is none of the kinds, or a file cannot be read.
    """

    def __init__(self, entries: Sequence[str] = ()) -> None:
        self.entries = frozenset(_read(entries))
        by_kind: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for entry in sorted(self.entries):
            kind, _, value = entry.partition(":")
            by_kind[kind][_normal(kind, value)] = entry
        self._by_kind = by_kind
        self._prefixes = _shortest(sorted(by_kind["uri"]))

    def sha256(self) -> str:
        """Return the digest of the entries, in whatever order they were given."""
        return hashlib.sha256("\n".join(sorted(self.entries)).encode()).hexdigest()

    def entry_for(self, drawing: Drawing) -> str | None:
        """Return the entry that names the drawing, or None."""
        if not self.entries:
            return None
        found = self._by_kind["key"].get(drawing.key) or self._uri_entry(drawing.source_uri)
        return found or self._creator_entry(drawing.creator) or self._domain_entry(drawing)

    def _uri_entry(self, uri: str) -> str | None:
        address = _normal("uri", uri)
        at = bisect.bisect_right(self._prefixes, address)
        before = self._prefixes[at - 1] if at else ""
        return self._by_kind["uri"][before] if before and address.startswith(before) else None

    def _creator_entry(self, creator: str) -> str | None:
        return self._by_kind["creator"].get(_normal("creator", creator)) if creator else None

    def _domain_entry(self, drawing: Drawing) -> str | None:
        for address in (drawing.source_uri, drawing.creator_url):
            labels = (_host(address) or "").split(".")
            for start in range(len(labels)):
                if entry := self._by_kind["domain"].get(".".join(labels[start:])):
                    return entry
        return None


def _read(entries: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        kind, _, value = str(entry).strip().partition(":")
        if kind == "file" and value.strip():
            yield from (_entry(line) for line in _lines(Path(value.strip())))
        else:
            yield _entry(str(entry))


def _entry(text: str) -> str:
    kind, _, value = text.strip().partition(":")
    if kind not in KINDS or not _normal(kind, value):
        right = ", ".join(f"{kind}:…" for kind in KINDS)
        raise PolicyError(f"list entry {text[:80]!r} names no work: write one of {right}, or in a policy file:PATH")
    return f"{kind}:{value.strip()}"


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"list {file} cannot be read as UTF-8 text ({error})") from None
    lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _normal(kind: str, value: str) -> str:
    """Return a value as it is compared: addresses without scheme and with a small host, names in small letters."""
    value = " ".join(value.split())
    if kind == "uri":
        address = re.sub(r"^https?://(?:www\.)?", "", value, flags=re.IGNORECASE)
        host, slash, path = address.partition("/")
        return host.lower() + slash + path
    if kind == "domain":
        return (_host(value) or value).lower().removeprefix("www.").strip(".")
    return value.casefold() if kind == "creator" else value


def _host(address: str) -> str | None:
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname
    except ValueError:  # brackets that are no IPv6 address
        return None


def _shortest(prefixes: list[str]) -> list[str]:
    """Return sorted prefixes without those that a shorter one covers, so that one look to the left finds any."""
    kept: list[str] = []
    for prefix in prefixes:
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept
