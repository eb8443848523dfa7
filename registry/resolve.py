"""From what a person writes, a folder or a ``models:/`` reference, to an artifact whose digest was checked."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from atelier import PROJECT_ROOT
from registry.artifacts import Card, digest_folder, read_card
from registry.errors import ArtifactError, RegistryError
from registry.mlflow import ModelStore
from registry.version import RegisteredVersion

_URI = "models:/"
_URI_FORM = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """An artifact, found and checked; an adapter comes with the backbone it was made on."""

    reference: str
    folder: Path
    card: Card
    digest: str
    name: str | None = None
    version: int | None = None
    base: ResolvedModel | None = None
    revoked_works: tuple[str, ...] = ()  # that it or its base learnt from, as a gate was told


def resolve_model(reference: str | Path, store: ModelStore | None = None) -> ResolvedModel:
    """Find a model by folder, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``, and an adapter's base with it.

    Every digest that something claims is checked against the files: a registered version's, and the base's that an
    adapter names. The base is looked for at the card's ``base.source`` and among the registered versions.

    Raises:
        RegistryError: nothing has that name, version or alias; says what there is.
        ArtifactError: the files are no artifact, changed since they were registered, or are not the base.
    """
    reference = str(reference)
    if reference.startswith(_URI):
        return _with_base(_registered_model(reference, _required(store, reference)), store)
    folder = Path(reference)
    if not folder.exists():
        raise RegistryError(f"no model folder at {reference}{_what_else(reference, store)}")
    return _with_base(_model_at(folder, reference), store)


def parse_reference(reference: str, store: ModelStore) -> tuple[str, int]:
    """Return the name and version that a ``models:/`` reference means.

    Raises:
        RegistryError: it is malformed, or nothing has that name, version or alias.
    """
    match = _URI_FORM.fullmatch(reference)
    if not match:
        raise RegistryError(f"'{reference}' is incomplete: write models:/NAME@ALIAS or models:/NAME/VERSION")
    name = match["name"]
    if match["version"]:
        return name, store.version(name, int(match["version"])).version
    versions = store.versions(name)
    if not versions:
        raise RegistryError(f"no registered model '{name}': {store.what_exists()}")
    version = next((entry.version for entry in versions if match["alias"] in entry.aliases), None)
    if version is None:
        raise RegistryError(f"{name} has no alias '{match['alias']}': {_aliases(versions)}")
    return name, version


def _required(store: ModelStore | None, reference: str) -> ModelStore:
    if store is None:
        raise RegistryError(f"'{reference}' names a registered model, and no registry was given to look in")
    return store


def _registered_model(reference: str, store: ModelStore) -> ResolvedModel:
    name, version = parse_reference(reference, store)
    entry, model = store.version(name, version), _model_at(store.folder(name, version), reference)
    if model.digest != entry.digest:
        raise ArtifactError(
            f"{model.folder} has changed since {name} version {version} was registered:"
            f" digest {model.digest[:12]}, registered {entry.digest[:12]}"
        )
    return replace(model, name=name, version=version)


def _model_at(folder: Path, reference: str) -> ResolvedModel:
    return ResolvedModel(reference=reference, folder=folder, card=read_card(folder), digest=digest_folder(folder))


def _with_base(model: ResolvedModel, store: ModelStore | None) -> ResolvedModel:
    if model.card["kind"] != "adapter":
        return model
    base = _find_base(model, store)
    if base.card["kind"] != "backbone":
        raise ArtifactError(f"{model.folder} names {base.reference} as its base, which is no backbone but an adapter")
    return replace(model, base=base)


def _find_base(model: ResolvedModel, store: ModelStore | None) -> ResolvedModel:
    wanted, source = str(model.card["base"]["digest"]), str(model.card["base"].get("source") or "")
    at_source = _at_source(source, store)
    if at_source and at_source.digest == wanted:
        return at_source
    elsewhere = store.with_digest(wanted) if store else []
    if store and elsewhere:
        return _registered_model(f"{_URI}{elsewhere[0].name}/{elsewhere[0].version}", store)
    found = f"digest {at_source.digest[:12]} is" if at_source else "no readable model is"
    raise ArtifactError(
        f"{model.reference} was made on the backbone {wanted[:12]}: {found} at its source '{source}',"
        f" and no registered version has that digest"
    )


def _at_source(source: str, store: ModelStore | None) -> ResolvedModel | None:
    """Return what lies at a card's ``base.source``, None where nothing does: another place may still hold the base."""
    try:
        if source.startswith(_URI):
            return _registered_model(source, store) if store else None
        folder = PROJECT_ROOT / source
        return _model_at(folder, source) if source and folder.is_dir() else None
    except RegistryError:
        return None


def _what_else(reference: str, store: ModelStore | None) -> str:
    names = store.names() if store else []
    close = difflib.get_close_matches(reference, names, n=1)
    if close:
        return f"; for the registered model write models:/{close[0]}@champion"
    if not names:
        return ": MODEL is a folder, models:/NAME@ALIAS or models:/NAME/VERSION"
    return f"; registered models are {', '.join(names)}, written models:/NAME@ALIAS or models:/NAME/VERSION"


def _aliases(versions: list[RegisteredVersion]) -> str:
    held = [f"{alias} (version {entry.version})" for entry in versions for alias in entry.aliases]
    if held:
        return f"it has {', '.join(held)}"
    return f"it has none yet, and versions {', '.join(str(entry.version) for entry in versions)}"
