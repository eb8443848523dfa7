"""A model artifact is a folder: safetensors, configuration, and ``atelier.json``, the card that tells its origin."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from registry.errors import ArtifactError
from registry.files import replace_file

CARD_FILE = "atelier.json"
KINDS = ("backbone", "adapter")
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})

Card = dict[str, Any]


def read_card(folder: Path) -> Card:
    """Return the card of an artifact folder.

    Raises:
        ArtifactError: the folder is missing, holds a pickle, or its card is missing or says too little to go on.
    """
    folder = Path(folder)
    _refuse_non_artifacts(folder)
    path = folder / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path} is not valid JSON ({error})") from None
    _refuse_bad_card(card, path)
    return dict(card)


def write_card(folder: Path, card: Card) -> Path:
    """Write ``card`` into ``folder`` in one rename and return its path.

    Raises:
        ArtifactError: the card lacks its kind, its name or (an adapter) the digest of its base.
    """
    path = Path(folder) / CARD_FILE
    _refuse_bad_card(card, path)
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, text.encode())
    return path


def digest_folder(folder: Path) -> str:
    """Return the SHA-256 (64 hex digits) over the folder's sorted (relative path, SHA-256 of file) pairs.

    Each pair enters as ``path NUL hex LF`` with a POSIX path, so that equal folders have equal digests anywhere.
    """
    folder = Path(folder)
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ArtifactError(f"{folder} holds no files: a model folder has weights and {CARD_FILE}")
    total = hashlib.sha256()
    for name, path in files:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()


def _refuse_non_artifacts(folder: Path) -> None:
    if not folder.is_dir():
        raise ArtifactError(f"no model folder at {folder}")
    if not (folder / CARD_FILE).is_file():
        raise ArtifactError(f"{folder} has no {CARD_FILE}: only folders written by atelier train or onboard are models")
    pickles = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        found = pickles[0].relative_to(folder)
        raise ArtifactError(f"{folder} holds {found}, which may run code when opened: save the weights as safetensors")


def _refuse_bad_card(card: Any, path: Path) -> None:
    if not isinstance(card, dict):
        raise ArtifactError(f"{path} must hold one JSON object, not {type(card).__name__}")
    kind, name, base = card.get("kind"), card.get("name"), card.get("base")
    if kind not in KINDS:
        raise ArtifactError(f"{path} says kind {kind!r}: it must be one of {', '.join(KINDS)}")
    if not isinstance(name, str) or not name:
        raise ArtifactError(f"{path} lacks its name")
    if kind == "adapter" and not (isinstance(base, dict) and isinstance(base.get("digest"), str)):
        raise ArtifactError(
            f"{path} is an adapter's card without base.digest: it must name the backbone it was made on"
        )
