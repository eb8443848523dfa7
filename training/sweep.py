"""A sweep: each job of ``atelier train --multirun`` has a folder of its own and is a child of one MLflow run."""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from registry.mlflow import ModelStore

PARENT_VARIABLE = "ATELIER_SWEEP_RUN"  # jobs that a launcher starts elsewhere inherit it
PARENT_TAG = "mlflow.parentRunId"


class MLflowSweep(Callback):
    """Opens the parent run before the first job and closes it after the last; tells which jobs failed."""

    def __init__(self) -> None:
        self._ended_well = False

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Open the parent where the logger is MLflow's; it is closed at exit, since a failed job skips Hydra's end."""
        os.environ.pop(PARENT_VARIABLE, None)
        logger: Any = config.get("logger") or {}
        if not str(logger.get("_target_", "")).endswith("MLFlowLogger"):
            return
        store = ModelStore(logger.tracking_uri, logger.artifact_location)
        overrides = {"overrides": " ".join(config.hydra.overrides.task)}
        parent = store.start_run(logger.experiment_name, f"{config.name}-sweep", overrides)
        os.environ[PARENT_VARIABLE] = parent
        atexit.register(lambda: store.end_run(parent, finished=self._ended_well))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Hydra comes here only when no job failed, wherever the jobs ran."""
        self._ended_well = True

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Name a job that failed; the others go on."""
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN or job_return.status != JobStatus.FAILED:
            return
        why = " ".join(str(job_return._return_value).split())
        print(f"job {hydra.job.num} ({hydra.job.override_dirname}) failed: {why}", file=sys.stderr)


def parent_tags(logger: DictConfig) -> dict[str, Any]:
    """Settings that make a job's MLflow run a child of the sweep's; none outside a sweep or for another logger."""
    parent = os.environ.get(PARENT_VARIABLE)
    if not parent or not str(logger.get("_target_", "")).endswith("MLFlowLogger"):
        return {}
    return {"tags": {PARENT_TAG: parent}}


def job_folder(out: str) -> str:
    """The folder of a run: ``out``, or within a sweep that of the job, named by its overrides so that it resumes."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return out
    hydra = HydraConfig.get()
    named = hashlib.sha256("\n".join(sorted(hydra.overrides.task)).encode()).hexdigest()[:8]
    return str(Path(hydra.sweep.dir) / f"{hydra.job.num}-{named}")
