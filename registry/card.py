"""What of a model's card goes into a tracker: short tags to search by, and flat parameters to compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.artifacts import Card


def card_tags(card: Card) -> dict[str, str]:
    """Return the tags of a registered version: kind, name, licence, digest of its base, versions of its datasets."""
    tags = {
        "kind": card["kind"],
        "card_name": card["name"],
        "brand": card.get("brand"),
        "licence": card.get("licence"),
        "base_digest": (card.get("base") or {}).get("digest"),
        "datasets": ", ".join(f"{d.get('name')}@{d.get('version')}" for d in card.get("datasets") or []),
        "code_commit": card.get("code_commit"),
    }
    return {key: str(value) for key, value in tags.items() if value}


def card_parameters(card: Card) -> dict[str, str]:
    """Return the card as dotted keys and short values; long lists, such as attributions, are left out."""
    return {_allowed(key): value for key, value in _flat("", card) if len(value) <= 500}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{prefix}.{index}", inner)
    elif value is not None:
        yield prefix, str(value)


def _allowed(key: str) -> str:
    """Keep what MLflow allows in a parameter's name."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in key)[:250]
