"""``--multirun``: one parent run in MLflow, a child a job, and a failed job loses no other."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from atelier import PROJECT_ROOT
from data.dataset import Dataset

SMALL = ("dataset.batch_pictures=8", "dataset.heldout_pictures=8", "checkpoint_steps=2", "max_steps=2")


def swept(dataset: Dataset, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    told = ["train", "--multirun", "experiment=smoke", f"dataset.folder={dataset.folder}", *SMALL, *words]
    command = [sys.executable, "-m", "atelier", *told, "trainer.val_check_interval=2", "code_commit=abc"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
def test_a_sweep_is_a_parent_with_children_and_a_failed_job_loses_no_other(
    dataset: Dataset, tmp_path: Path, launcher: str
) -> None:
    if launcher != "basic":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra slurm is not installed")
    rates = "optimizer.learning_rate=1e-3,2,3e-4"
    done = swept(dataset, tmp_path, "logger=mlflow", f"hydra/launcher={launcher}", rates)
    assert done.returncode == 2, done.stderr
    assert "optimizer.learning_rate is 2" in done.stderr
    with closing(sqlite3.connect(tmp_path / "var" / "mlflow.db")) as store:
        status = dict(store.execute("select run_uuid, status from runs"))
        parents = dict(store.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'"))
        told = dict(store.execute("select run_uuid, value from params where key = 'overrides'"))
    (parent,) = status.keys() - parents.keys()
    assert status[parent] == "FAILED" and "learning_rate=1e-3,2,3e-4" in told[parent]
    assert list(parents.values()) == [parent] * 2
    assert [status[child] for child in parents] == ["FINISHED"] * 2
    folders = sorted((tmp_path / "var" / "sweeps" / "smoke").glob("*/backbone"))
    assert [folder.parent.name[:2] for folder in folders] == ["0-", "2-"]
