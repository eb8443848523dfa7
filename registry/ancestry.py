"""The tree of what a model was made from: itself, its base, their datasets and runs, and where it was registered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from registry.promotion import Move, history
from registry.resolve import ResolvedModel
from registry.revocations import revocation_lines, sightings
from registry.settings import RegistrySettings
from registry.version import RegisteredVersion


@dataclass(frozen=True)
class Node:
    """One line of the tree and what hangs below it."""

    text: str
    children: list[Node] = field(default_factory=list)


def ancestry(model: ResolvedModel, registry: RegistrySettings) -> Node:
    """Return the tree of a resolved model; reads the registry only where there is one.

    Raises:
        JournalError: the journal of promotions or the list of revoked works does not verify.
    """
    versions = registry.store.with_digest(model.digest) if registry.store.exists() else []
    children = [_list("obligations", [str(o) for o in model.card.get("obligations") or []])]
    children += [_base(model.base, registry)] if model.base else []
    children += [_dataset(entry) for entry in model.card.get("datasets") or []]
    alone = replace(model, base=None)
    children += [Node(sighting.told()) for sighting in sightings(alone, revocation_lines(registry))]
    children += [_run(model.card), *(_registered(version, registry) for version in versions)]
    return Node(_headline(model), children)


def draw(node: Node) -> Iterator[str]:
    """Yield the tree's lines as text."""
    yield node.text
    for index, child in enumerate(node.children):
        is_last = index == len(node.children) - 1
        lines = draw(child)
        yield ("└─ " if is_last else "├─ ") + next(lines)
        yield from (("   " if is_last else "│  ") + line for line in lines)


def _headline(model: ResolvedModel) -> str:
    card = model.card
    registered = f"{model.name} version {model.version}, " if model.name else ""
    digest, licence = model.digest[:12], card.get("licence") or "none named"
    return f"{registered}{card['kind']} {card['name']} (digest {digest}), licence {licence}"


def _base(base: ResolvedModel, registry: RegistrySettings) -> Node:
    tree = ancestry(base, registry)
    return Node(f"base: {tree.text}, from {base.reference}", tree.children)


def _dataset(entry: dict[str, Any]) -> Node:
    version = str(entry.get("version") or "none named")[:12]
    parts = [f"dataset {entry.get('name')} (version {version})", f"{_number(entry.get('pictures'))} pictures"]
    if entry.get("exposure_pictures") is not None:
        parts.append(f"shown {_number(entry['exposure_pictures'])} times")
    if entry.get("policy"):
        parts.append(f"policy {entry['policy']}")
    licences = entry.get("licences") or {}
    children = [_list("licences", [f"{licence}: {_number(count)}" for licence, count in sorted(licences.items())])]
    credits = [str(credit) for credit in entry.get("attribution") or []]
    if credits:
        children.append(_list("attribution", credits))
    return Node(", ".join(parts), children)


def _run(card: dict[str, Any]) -> Node:
    run = card.get("run") or {}
    facts = [
        f"seed {card.get('seed', 'unknown')}",
        f"code commit {str(card.get('code_commit') or 'unknown')[:12]}",
        f"{_number(run.get('images_seen'))} images seen",
    ]
    facts += [f"{float(run['seconds']):.0f} s"] if run.get("seconds") is not None else []
    facts += [f"on {run['hardware']}"] if run.get("hardware") else []
    facts += [f"at {card['created']}"] if card.get("created") else []
    return Node("run: " + ", ".join(facts))


def _registered(version: RegisteredVersion, registry: RegistrySettings) -> Node:
    aliases = f", {', '.join(version.aliases)}" if version.aliases else ""
    moves = [move for move in history(registry, version.name) if version.version in (move.version, move.from_version)]
    return Node(
        f"registered as {version.name} version {version.version}{aliases}", [Node(told(move)) for move in moves]
    )


def told(move: Move) -> str:
    """Return one move as one line."""
    gate = f", gate {move.gate} {move.gate_digest[:12]}" if move.gate and move.gate_digest else ""
    why = f": {move.why}" if move.why else ""
    origin = "none" if move.from_version is None else move.from_version
    return f"{move.time} {move.action} {move.alias} {origin} → {move.version} by {move.who}{gate}{why}"


def _list(title: str, entries: list[str]) -> Node:
    if len(entries) <= 1:
        return Node(f"{title}: {entries[0] if entries else 'none'}")
    return Node(f"{title}:", [Node(entry) for entry in entries])


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number of"
