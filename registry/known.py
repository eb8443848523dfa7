"""Every model that the project can find: the registered versions, and artifact folders that nobody registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.artifacts import CARD_FILE, Card, digest_folder, read_card
from registry.errors import ArtifactError
from registry.settings import RegistrySettings
from registry.version import RegisteredVersion


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One artifact by its digest, with its card, where it lies, and the versions it is registered as."""

    digest: str
    card: Card
    folder: Path | None
    versions: tuple[RegisteredVersion, ...] = ()

    @property
    def kind(self) -> str:
        """What it is: ``backbone`` or ``adapter``."""
        return str(self.card.get("kind"))

    @property
    def reference(self) -> str:
        """How a person names it: its last registered version, else its folder."""
        if self.versions:
            return f"models:/{self.versions[-1].name}/{self.versions[-1].version}"
        return str(self.folder)

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases that point to it, as ``NAME@ALIAS``."""
        return tuple(f"{version.name}@{alias}" for version in self.versions for alias in version.aliases)


def known_models(registry: RegistrySettings, roots: Sequence[Path]) -> list[KnownModel]:
    """Return every registered model, then every artifact folder at or below ``roots``; an artifact is told once.

    A registered version whose files are gone is told by its tags. A folder that is no sound artifact is left out.
    """
    known: dict[str, KnownModel] = {}
    for name in registry.store.names():
        for version in registry.store.versions(name):
            held = known.get(version.digest) or _registered(registry, version)
            known[version.digest] = replace(held, versions=(*held.versions, version))
    for folder in artifact_folders(roots):
        try:
            card, digest = read_card(folder), digest_folder(folder)
        except ArtifactError:
            continue
        known.setdefault(digest, KnownModel(digest=digest, card=card, folder=folder))
    return list(known.values())


def artifact_folders(roots: Sequence[Path]) -> list[Path]:
    """Return the folders at or below ``roots`` that hold a card, sorted; hidden ones are somebody's half-made work."""
    return sorted(folders_with(CARD_FILE, roots))


def folders_with(name: str, roots: Sequence[Path]) -> set[Path]:
    """Return the folders at or below ``roots`` that hold a file of that name and are not hidden below their root."""
    found = ((root, file.parent) for root in roots if root.is_dir() for file in root.rglob(name))
    return {folder for root, folder in found if not any(part[0] == "." for part in folder.relative_to(root).parts)}


def _registered(registry: RegistrySettings, version: RegisteredVersion) -> KnownModel:
    try:
        folder = registry.store.folder(version.name, version.version)
        return KnownModel(digest=version.digest, card=read_card(folder), folder=folder)
    except ArtifactError:
        return KnownModel(digest=version.digest, card=_card_of_tags(version), folder=None)


def _card_of_tags(version: RegisteredVersion) -> Card:
    pairs = [pair.rpartition("@") for pair in version.datasets.split(", ") if "@" in pair]
    return {
        "kind": version.kind,
        "name": version.name,
        "datasets": [{"name": name, "version": dataset} for name, _, dataset in pairs],
        "base": {"digest": version.base_digest} if version.base_digest else None,
    }
