"""Reads the Content Credentials (C2PA manifests) of a file: who signed it, and whether it may be trained on.

The training-and-data-mining assertion is ``c2pa.training-mining`` (C2PA 1.x) or ``cawg.training-mining`` (CAWG 1.1): a
map of uses, each allowed, notAllowed or constrained. An opt-out counts in any manifest of the store, so that an edited
or newly signed copy keeps it, and whether or not its signature holds: to heed one costs nothing. Nothing is fetched.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "SVG": "image/svg+xml"}
ASSERTIONS = ("c2pa.training-mining", "cawg.training-mining")
# Uses that making an image generator is; ai_inference is not: nothing asks the picture anything.
TRAINING_USES = ("ai_training", "ai_generative_training", "data_mining")
_MARKER = b"c2pa"  # the label of every manifest store, and the name of its element in SVG


@dataclass(frozen=True)
class Claims:
    """What a file says of the rights in it.

    ``marks`` are short readable statements; ``opt_out`` is one that forbids training; ``fault`` is why a part of the
    file that may hold statements could not be read.
    """

    marks: tuple[str, ...] = ()
    opt_out: str | None = None
    fault: str | None = None

    def __add__(self, other: Claims) -> Claims:
        """Return both files' or parts' statements; the first opt-out and the first fault stand."""
        marks = tuple(dict.fromkeys(self.marks + other.marks))
        return Claims(marks, self.opt_out or other.opt_out, self.fault or other.fault)


def credentials(content: bytes, kind: str) -> Claims:
    """Return the statements of a file's manifests; ``kind`` is PNG, JPEG, WEBP or SVG."""
    if _MARKER not in content:
        return Claims()
    import c2pa

    try:
        with c2pa.Reader(MEDIA_TYPES[kind], io.BytesIO(content), context=_context()) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Claims()
    except c2pa.C2paError as error:
        return Claims(fault=f"Content Credentials cannot be read ({' '.join(str(error).split())[:120]})")
    return _claims(store)


@lru_cache(maxsize=1)
def _context() -> Any:
    """Return settings that read without validating and never reach for the network."""
    import c2pa

    quiet = {"verify_after_reading": False, "remote_manifest_fetch": False, "ocsp_fetch": False}
    settings = {"verify": quiet, "builder": {"thumbnail": {"enabled": False}}}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _claims(store: dict[str, Any]) -> Claims:
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signer = (active.get("signature_info") or {}).get("issuer") or "an unnamed signer"
    marks, opt_out = [f"C2PA: Content Credentials by {str(signer)[:80]}"], None
    for use, verdict in _entries(store):
        statement = f"C2PA {use}: {verdict}"
        marks.append(statement)
        if use.rsplit(".", 1)[-1] in TRAINING_USES and verdict != "allowed":
            opt_out = opt_out or statement
    return Claims(tuple(dict.fromkeys(marks)), opt_out)


def _entries(store: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each use with what is said of it, in all manifests; the order is that of the text."""
    for _, manifest in sorted(store.get("manifests", {}).items()):
        for assertion in manifest.get("assertions", []):
            label = str(assertion.get("label", "")).split("__")[0]
            data = assertion.get("data")
            entries = data.get("entries") if label in ASSERTIONS and isinstance(data, dict) else None
            for use, entry in sorted(entries.items() if isinstance(entries, dict) else ()):
                verdict = entry.get("use") if isinstance(entry, dict) else entry
                yield str(use)[:60], str(verdict)[:20]
