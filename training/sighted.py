"""Which models, adapters and runs saw a work, and how often it was shown to each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.revocations import Revocation, leading_parts
from registry.artifacts import CARD_FILE, digest_folder
from registry.errors import ArtifactError
from registry.known import KnownModel
from training.exposure import NOT_SHOWN, Exposure, counted, exposure
from training.lists import SEEN_FILE, read_seen
from training.works import Holding


@dataclass(frozen=True, kw_only=True)
class Affected:
    """A model that saw a work: by itself, by what it was made from, or both; ``own`` and ``inherited`` add up."""

    model: KnownModel
    own: Exposure
    inherited: Exposure
    inherited_from: str | None = None

    @property
    def whole(self) -> Exposure:
        """All showings."""
        return self.own + self.inherited

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        runs = [version.run_id for version in self.model.versions if version.run_id]
        return {
            "reference": self.model.reference,
            "digest": self.model.digest,
            "kind": self.model.kind,
            "name": self.model.card.get("name"),
            "runs": runs,
            "aliases": list(self.model.aliases),
            "times": round(self.whole.times, 3),
            "exact": self.whole.is_exact,
            "own_times": round(self.own.times, 3),
            "inherited_from": self.inherited_from,
        }


@dataclass(frozen=True, kw_only=True)
class SeenRun:
    """A run's folder whose order drew from a dataset that holds a work; ``exposure`` None while it has not ended."""

    folder: Path
    dataset: str
    exposure: Exposure | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        shown = {"times": self.exposure.times, "exact": self.exposure.is_exact} if self.exposure else None
        return {"folder": str(self.folder), "dataset": self.dataset, "exposure": shown}


def affected(models: Sequence[KnownModel], held: Mapping[str, Holding], shares: Mapping[str, float]) -> list[Affected]:
    """Return the models that saw a work, each behind what it was made from.

    Args:
        held: what each dataset version holds of the work.
        shares: of versions that are not at hand, the share that the work had of their training (``described``).
    """
    known = {model.digest: model for model in models}
    found: dict[str, Affected] = {}
    for model in models:
        _follow(model, known, found, held, shares)
    return [one for one in found.values() if one.whole.times > 0]


def _follow(
    model: KnownModel,
    known: Mapping[str, KnownModel],
    found: dict[str, Affected],
    held: Mapping[str, Holding],
    shares: Mapping[str, float],
) -> Affected:
    """Put a model into ``found`` behind what it was made from, and return it."""
    if model.digest not in found:
        parent = known.get(_parent_digest(model.card) or "")
        inherited = _follow(parent, known, found, held, shares).whole if parent else NOT_SHOWN
        source = parent.reference if parent and inherited.times else None
        own = _own(model.card, held, shares)
        found[model.digest] = Affected(model=model, own=own, inherited=inherited, inherited_from=source)
    return found[model.digest]


def _parent_digest(card: Mapping[str, Any]) -> str | None:
    """Return the digest of what a model was made from: an adapter's base, or the backbone that a run went on from."""
    parent = card.get("base") or card.get("initial") or {}
    if parent.get("digest"):
        return str(parent["digest"])
    initial = (card.get("config") or {}).get("initial")
    try:
        return digest_folder(Path(initial)) if initial and (Path(initial) / CARD_FILE).is_file() else None
    except ArtifactError:
        return None


def _own(card: Mapping[str, Any], held: Mapping[str, Holding], shares: Mapping[str, float]) -> Exposure:
    shown = NOT_SHOWN
    for entry in card.get("datasets") or []:
        version = str(entry.get("version"))
        if version in held:
            shown += exposure(card, entry, held[version].dataset, held[version].rows)
        elif version in shares:
            pictures = float(entry.get("exposure_pictures") or 0)
            shown += Exposure(times=pictures * shares[version], is_exact=False)
    return shown


def described(one: Revocation, manifests: Sequence[Path]) -> dict[str, float]:
    """Return, by version of each dataset that a manifest describes, the share of its training that a work had.

    Manifests tell collections, creators and sources, not single pictures.
    """
    shares = {}
    for file in manifests:
        card = _manifest(file)
        splits = card.get("collection_splits") or {}
        learnt = {name: counts.get("train", 0) for name, counts in splits.items()}
        taken = {origin["collection"] for origin in card.get("sources", []) if _is_of(one, origin)}
        share = sum(learnt.get(name, 0) for name in taken) / max(1, sum(learnt.values()))
        if share:
            shares[str(card["version"])] = share
    return shares


def _manifest(file: Path) -> Mapping[str, Any]:
    """Return what a manifest says, nothing where it is none: the answer must not wait for a file beside it."""
    try:
        card = json.loads(file.read_bytes())
    except ValueError as error:
        print(f"warning: not read: {file} is no JSON ({error})", file=sys.stderr)
        return {}
    return card if isinstance(card, dict) and "version" in card else {}


def _is_of(one: Revocation, origin: Mapping[str, Any]) -> bool:
    if one.kind == "source":
        return one.value in leading_parts(str(origin["uri"]))
    return one.kind in ("collection", "creator") and origin[one.kind] == one.value


def seen_runs(roots: Sequence[Path], held: Mapping[str, Holding]) -> list[SeenRun]:
    """Return the runs at or below ``roots``, ended or not, that drew from versions which hold a work."""
    runs = []
    for file in sorted({file for root in roots if root.is_dir() for file in root.rglob(SEEN_FILE)}):
        said = read_seen(file)
        holding = held.get(said["dataset"]["version"])
        if holding is None:
            continue
        shown = counted(said["order"], holding.dataset, holding.rows)
        if shown is None or shown.times:
            runs.append(SeenRun(folder=file.parent, dataset=str(said["dataset"]["name"]), exposure=shown))
    return runs
