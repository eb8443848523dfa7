"""Registering a trained folder with what was measured on it; onboarding, training and evaluation call this."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from registry.artifacts import digest_folder, read_card
from registry.errors import FiguresError, RegistryError
from registry.figures import FIGURES_FILE, REPORT_FILE, read_evaluation
from registry.mlflow import ModelStore
from registry.resolve import parse_reference
from registry.version import RegisteredVersion


def register_model(
    folder: Path, name: str, *, figures_file: Path | None = None, report: Path | None = None, store: ModelStore
) -> int:
    """Register an artifact folder as the next version of ``name`` and return its number.

    An equal folder already registered under the name returns its version; figures given with it are logged again.

    Raises:
        ArtifactError: the folder is no artifact.
        FiguresError: the figures cannot be read, or were measured on another model; nothing is registered.
        RegistryError: the name does not fit the kind of the artifact.
    """
    if figures_file is None:
        return store.register(name, folder, report=report)
    read_card(folder)
    _refuse_strange_figures(figures_file, digest_folder(folder))
    version = store.register(name, folder)
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copyfile(figures_file, Path(temporary) / FIGURES_FILE)
        if report:
            shutil.copyfile(report, Path(temporary) / REPORT_FILE)
        _log(store.version(name, version), Path(temporary), store)
    return version


def record_evaluation(reference: str | Path, folder: Path, *, store: ModelStore) -> list[RegisteredVersion]:
    """Log an evaluation's folder to the registered versions it measured, and return them.

    ``reference`` is what was evaluated: a ``models:/`` reference means that version, a folder every version that has
    its digest: none, where it is not registered.

    Raises:
        FiguresError: the figures cannot be read, or were measured on another model.
        RegistryError: nothing has that name, version or alias.
    """
    versions = _versions_of(str(reference), store)
    for version in versions:
        _refuse_strange_figures(folder / FIGURES_FILE, version.digest)
        _log(version, folder, store)
    return versions


def _versions_of(reference: str, store: ModelStore) -> list[RegisteredVersion]:
    if reference.startswith("models:/"):
        return [store.version(*parse_reference(reference, store))]
    if not Path(reference).is_dir():
        raise RegistryError(f"no model folder at {reference}")
    return store.with_digest(digest_folder(Path(reference))) if store.exists() else []


def _log(version: RegisteredVersion, folder: Path, store: ModelStore) -> None:
    evaluation = read_evaluation(folder / FIGURES_FILE)
    store.log_evaluation(version.name, version.version, evaluation.metrics(), folder)


def _refuse_strange_figures(path: Path, digest: str) -> None:
    measured = read_evaluation(path).model_digest
    if measured != digest:
        raise FiguresError(f"{path} was measured on the model {measured[:12]}, not on this one, {digest[:12]}")
