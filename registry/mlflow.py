"""MLflow, and nothing else imports it: registered models, their versions, aliases and logged evaluations.

Importing mlflow takes seconds, so it happens at the first question that needs it. On SQLite a database that does not
exist yet is not made for a question: it simply has no models.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.artifacts import Card, digest_folder, read_card
from registry.card import card_parameters, card_tags
from registry.errors import ArtifactError, RegistryError
from registry.figures import FIGURES_FILE, Evaluation, read_evaluation
from registry.files import hold_lock
from registry.places import absolute_uri, local_path, refuse_other_files, sqlite_path
from registry.version import RegisteredVersion, checked_name, refuse_wrong_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODELS_EXPERIMENT = "models"
_MODEL_PATH = "model"
_EVALUATION_TAG = "evaluation."
_PARAMETERS_PER_CALL = 100
_METRICS_PER_CALL = 1000


class ModelStore:
    """The registered models of one MLflow: ``backbone`` and ``brand-NAME``, each with its versions and aliases."""

    def __init__(
        self, tracking_uri: str = "sqlite:///var/mlflow.db", artifact_root: str | Path = "var/mlartifacts"
    ) -> None:
        """Remember where to look; relative paths are relative to the current directory, now and not later."""
        self.tracking_uri = absolute_uri(tracking_uri)
        self.artifact_root = Path(artifact_root).absolute()

    # -- runs ------------------------------------------------------------------------------------------------------

    def start_run(self, experiment: str, name: str, parameters: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id; ``end_run`` closes it."""
        with _told_in_one_line():
            tags = {"mlflow.source.name": "atelier", "mlflow.user": os.environ.get("USER", "atelier")}
            run = self._client.create_run(self._experiment_id(experiment), run_name=name, tags=tags)
            self._log_parameters(run.info.run_id, parameters or {})
            return str(run.info.run_id)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Log ``metrics`` of a run at ``step``; a name logged again shows its latest value."""
        from mlflow.entities import Metric

        now_milliseconds = int(time.time() * 1000)
        entries = [Metric(name, float(value), now_milliseconds, step) for name, value in metrics.items()]
        with _told_in_one_line():
            for start in range(0, len(entries), _METRICS_PER_CALL):
                self._client.log_batch(run_id, metrics=entries[start : start + _METRICS_PER_CALL])

    def log_artifacts(self, run_id: str, folder: Path, path: str | None = None) -> None:
        """Copy the contents of ``folder`` into the run's artifacts, under ``path``."""
        with _told_in_one_line():
            self._client.log_artifacts(run_id, str(folder), path)

    def end_run(self, run_id: str, *, finished: bool = True) -> None:
        """Close a run as finished or failed."""
        with _told_in_one_line():
            self._client.set_terminated(run_id, "FINISHED" if finished else "FAILED")

    def has_run(self, run_id: str) -> bool:
        """Whether a run is there and not deleted."""
        from mlflow.exceptions import MlflowException

        with _told_in_one_line():
            try:
                return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False

    def reopen_run(self, run_id: str) -> None:
        """Let a run that was ended or killed go on."""
        with _told_in_one_line():
            self._client.update_run(run_id, status="RUNNING")

    # -- registering -----------------------------------------------------------------------------------------------

    def register(
        self, name: str, folder: Path, *, figures: Mapping[str, float] | None = None, report: Path | None = None
    ) -> int:
        """Copy an artifact folder into the store as the next version of ``name`` and return its number.

        An equal digest already registered under the name returns that version. Nothing stays of a registration that
        was interrupted.

        Raises:
            ArtifactError: the folder is no artifact.
            RegistryError: the name does not fit the kind of the artifact, or MLflow refused.
        """
        folder = Path(folder)
        card, digest = read_card(folder), digest_folder(folder)
        refuse_wrong_name(name, str(card["kind"]))
        with _told_in_one_line(), hold_lock(self.artifact_root / ".lock"):
            known = [version for version in self.versions(name) if version.digest == digest]
            version = known[-1].version if known else self._add_version(name, folder, card, digest)
            run_id = self.version(name, version).run_id
            if figures:
                self.log_metrics(run_id, figures)
            if report:
                self._client.log_artifact(run_id, str(report))
        return version

    def log_evaluation(self, name: str, version: int, figures: Mapping[str, float], folder: Path) -> None:
        """Log what an evaluation measured on a version: its numbers as metrics, its folder as artifacts.

        ``folder`` holds ``figures.json``, usually ``report.html``, ``grid.png`` and ``pictures.parquet``. It becomes
        the evaluation that the gate reads for its suite, in one last write; earlier ones stay in the run's artifacts.
        """
        evaluation = read_evaluation(folder / FIGURES_FILE)
        content = hashlib.sha256((folder / FIGURES_FILE).read_bytes()).hexdigest()
        path = f"evaluation/{evaluation.suite}-{content[:12]}"
        run_id = self.version(name, version).run_id
        self.log_artifacts(run_id, folder, path)
        self.log_metrics(run_id, figures)
        marker = f"{time.time_ns()} {path} {content}"
        with _told_in_one_line():
            self._client.set_model_version_tag(name, str(version), _EVALUATION_TAG + evaluation.suite, marker)

    def evaluations(self, name: str, version: int) -> list[Evaluation]:
        """Return the latest logged evaluation of each suite, the oldest first.

        Raises:
            ArtifactError: a logged figures file is no longer the one that was logged.
        """
        return [read_evaluation(folder / FIGURES_FILE) for folder in self.evaluation_folders(name, version).values()]

    def evaluation_folders(self, name: str, version: int) -> dict[str, Path]:
        """Return the folder of each suite's latest logged evaluation, the oldest first: report, figures, pictures.

        Raises:
            ArtifactError: a logged figures file is no longer the one that was logged.
        """
        tags = self._model_version(name, version).tags
        markers = sorted(
            (int(order), key.removeprefix(_EVALUATION_TAG), path, content)
            for key, marker in tags.items()
            if key.startswith(_EVALUATION_TAG)
            for order, path, content in [marker.split(" ")]
        )
        return {suite: self._logged_folder(name, version, path, content) for _, suite, path, content in markers}

    # -- asking ----------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Return whether there is a database to ask; a server is taken to exist."""
        path = sqlite_path(self.tracking_uri)
        return path is None or path.is_file()

    def names(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        if not self.exists():
            return []
        with _told_in_one_line():
            return sorted(model.name for model in self._client.search_registered_models(max_results=1000))

    def versions(self, name: str) -> list[RegisteredVersion]:
        """Return all versions of ``name``, the first first; none when there is no such model."""
        return self._search(f"name = '{checked_name(name)}'")

    def with_digest(self, digest: str) -> list[RegisteredVersion]:
        """Return every registered version whose artifact has this digest, under whatever name."""
        is_hex = bool(digest) and set(digest) <= set("0123456789abcdef")
        return self._search(f"tags.digest = '{digest}'") if is_hex else []

    def version(self, name: str, version: int) -> RegisteredVersion:
        """Return one version.

        Raises:
            RegistryError: there is none; says which there are.
        """
        found = {entry.version: entry for entry in self.versions(name)}
        if version in found:
            return found[version]
        if not found:
            raise RegistryError(f"no registered model '{name}': {self.what_exists()}")
        raise RegistryError(f"{name} has no version {version}: it has {', '.join(map(str, found))}")

    def what_exists(self) -> str:
        """Return a half sentence that lists the registered models, for errors."""
        names = self.names()
        where = self.tracking_uri
        return f"{where} has {', '.join(names)}" if names else f"{where} has no models; atelier onboard registers one"

    def folder(self, name: str, version: int) -> Path:
        """Return the local folder of a version's artifact; one that lies on a server is fetched once.

        Raises:
            RegistryError: there is no such version.
            ArtifactError: its files are gone.
        """
        return self._artifact(self.version(name, version), _MODEL_PATH)

    # -- aliases ---------------------------------------------------------------------------------------------------

    def alias_version(self, name: str, alias: str) -> int | None:
        """Return the version that an alias of ``name`` points to; None when there is no such alias or model."""
        for entry in self.versions(name):
            if alias in entry.aliases:
                return entry.version
        return None

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias to a version. Only ``registry.promotion`` calls this: it keeps the journal."""
        with _told_in_one_line():
            self._client.set_registered_model_alias(name, alias, str(version))

    # -- behind the scenes -----------------------------------------------------------------------------------------

    @cached_property
    def _client(self) -> MlflowClient:
        path = sqlite_path(self.tracking_uri)
        if path is None:
            return _connect(self.tracking_uri)
        refuse_other_files(path)
        # Two processes that make the tables at once would spoil them.
        with hold_lock(path.with_name(path.name + ".lock"), deadline_seconds=120):
            return _connect(self.tracking_uri)

    def _experiment_id(self, name: str) -> str:
        # A server keeps artifacts where it was told to; a database remembers the folder it is given here.
        root = None if self.tracking_uri.startswith("http") else str(self.artifact_root)
        found = self._client.get_experiment_by_name(name)
        if found and root and found.artifact_location != root:
            # The project was moved: MLflow would go on writing where it used to lie.
            name = f"{name} at {root}"
            found = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=root))

    def _log_parameters(self, run_id: str, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:6000]) for key, value in parameters.items()]
        for start in range(0, len(entries), _PARAMETERS_PER_CALL):
            self._client.log_batch(run_id, params=entries[start : start + _PARAMETERS_PER_CALL])

    def _add_version(self, name: str, folder: Path, card: Card, digest: str) -> int:
        run_id = self.start_run(MODELS_EXPERIMENT, f"{name} {digest[:12]}", card_parameters(card))
        try:
            self.log_artifacts(run_id, folder, _MODEL_PATH)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{_MODEL_PATH}"
            tags = card_tags(card) | {"digest": digest}
            for key, value in tags.items():
                self._client.set_tag(run_id, key, value)
            if name not in self.names():
                self._client.create_registered_model(name)
            made = self._client.create_model_version(name, source, run_id=run_id, tags=tags)
        except BaseException:
            self._discard_run(run_id)
            raise
        self.end_run(run_id)
        return int(made.version)

    def _discard_run(self, run_id: str) -> None:
        self._client.delete_run(run_id)
        shutil.rmtree(self.artifact_root / run_id, ignore_errors=True)

    def _search(self, query: str) -> list[RegisteredVersion]:
        if not self.exists():
            return []
        with _told_in_one_line():
            found = self._client.search_model_versions(query, max_results=10000)
            models = {entry.name for entry in found}
            aliases = {model: self._client.get_registered_model(model).aliases for model in models}
        versions = [_registered(entry, aliases[entry.name]) for entry in found if "digest" in entry.tags]
        return sorted(versions, key=lambda entry: (entry.name, entry.version))

    def _model_version(self, name: str, version: int) -> ModelVersion:
        self.version(name, version)
        with _told_in_one_line():
            return self._client.get_model_version(name, str(version))

    def _logged_folder(self, name: str, version: int, path: str, content: str) -> Path:
        folder = self._artifact(self.version(name, version), path)
        file = folder / FIGURES_FILE
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != content:
            raise ArtifactError(f"{file} is not the file that was logged for {name} version {version}: evaluate again")
        return folder

    def _artifact(self, version: RegisteredVersion, path: str) -> Path:
        with _told_in_one_line():
            uri = f"{self._client.get_run(version.run_id).info.artifact_uri}/{path}"
        local = local_path(uri)
        if local is None:
            return self._fetched(version.run_id, path)
        # MLflow remembers where the root was when the run was made; it may have been moved since.
        here = self.artifact_root / version.run_id / "artifacts" / path
        for folder in (here, local):
            if folder.is_dir():
                return folder
        raise ArtifactError(f"the files of {version.name} version {version.version} are gone: none at {here}")

    def _fetched(self, run_id: str, path: str) -> Path:
        """Fetch artifacts from a server into a folder that is complete as soon as it has its name."""
        target = self.artifact_root / "fetched" / run_id / path
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.artifact_root) as partial, _told_in_one_line():
                found = Path(self._client.download_artifacts(run_id, path, partial))
                found.rename(target)
        return target


def _connect(tracking_uri: str) -> MlflowClient:
    """Import mlflow quietly and open the database, making its tables where there are none."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    # At INFO mlflow and alembic tell the story of every table they make.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server that is not there should be told in seconds, not after seven growing pauses.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    with warnings.catch_warnings(), _told_in_one_line():
        # MLflow 3.17 declares one relation with a loader that SQLAlchemy 2.1 deprecates; it never loads it.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri, tracking_uri)
        client.search_registered_models(max_results=1)
        return client


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Turn MLflow's exceptions, and the database's beneath them, into a RegistryError of one line."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "sqlalchemy", "alembic"):
            raise
        text = str(error).strip()
        raise RegistryError(f"MLflow: {text.splitlines()[0] if text else type(error).__name__}") from error


def _registered(entry: ModelVersion, aliases: Mapping[str, Any]) -> RegisteredVersion:
    tags, version = entry.tags, int(entry.version)
    return RegisteredVersion(
        name=entry.name,
        version=version,
        digest=tags["digest"],
        kind=tags.get("kind", ""),
        licence=tags.get("licence", ""),
        base_digest=tags.get("base_digest"),
        datasets=tags.get("datasets", ""),
        aliases=tuple(sorted(alias for alias, target in aliases.items() if int(target) == version)),
        run_id=entry.run_id or "",
        created_seconds=entry.creation_timestamp / 1000,
    )
