"""A resumed run goes on in its own run of MLflow or W&B, or in its own curves of TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig

from registry.mlflow import ModelStore
from training.sweep import parent_tags

LOGBOOK_FILE = "logger.json"
# By which setting a logger takes up an earlier run. A table begins anew: its logger would delete the earlier one.
_TAKES_UP = {MLFlowLogger: "run_id", WandbLogger: "id", TensorBoardLogger: "version"}


def make_logger(settings: DictConfig | None, folder: Path, *, resumes: bool) -> Logger | bool:
    """Build the logger of ``settings``; False for none.

    Where the run ``resumes`` and ``folder`` says which run the same logger wrote before, that one is taken up; MLflow
    is asked whether it is still there.
    """
    if not settings:
        return False
    earlier = _earlier(settings, folder) if resumes else {}
    made: Logger = instantiate(settings, **(earlier or parent_tags(settings)))
    return made


def _earlier(settings: DictConfig, folder: Path) -> dict[str, Any]:
    try:
        kept = json.loads((folder / LOGBOOK_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(kept, dict) or kept.get("logger") != str(settings.get("_target_")):
        return {}
    earlier: dict[str, Any] = kept.get("earlier", {})
    if "run_id" in earlier and not ModelStore(str(settings.tracking_uri)).has_run(earlier["run_id"]):
        return {}
    return earlier


class Logbook(Callback):  # type: ignore[misc]
    """Writes into the run's folder which run of its logger it is, as soon as training starts."""

    def __init__(self, settings: DictConfig | None, folder: Path) -> None:
        self._target = str(settings.get("_target_")) if settings else ""
        self._tracking_uri = str(settings.get("tracking_uri")) if settings else ""
        self._file = folder / LOGBOOK_FILE

    def on_fit_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Note the run by the first rank alone; a logger that takes nothing up leaves no note."""
        setting = next((name for kind, name in _TAKES_UP.items() if isinstance(trainer.logger, kind)), None)
        if setting is None or not trainer.is_global_zero:
            return
        assert trainer.logger is not None
        _ = trainer.logger.experiment  # W&B has no id before its run is open
        if isinstance(trainer.logger, MLFlowLogger):
            ModelStore(self._tracking_uri).reopen_run(str(trainer.logger.run_id))  # it may have ended, or been killed
        told = {"logger": self._target, "earlier": {setting: trainer.logger.version}}
        building = self._file.with_name(f".{self._file.name}.building")
        building.parent.mkdir(parents=True, exist_ok=True)
        building.write_text(json.dumps(told))
        building.replace(self._file)
