"""Each logger by its word: the losses by task, the held-out loss and the sheet of a fixed subset reach it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier import PROJECT_ROOT
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

WANTED = ("loss", "loss/text_to_image", "heldout_loss", "measured/super_resolution_psnr")
SMALL = ("dataset.batch_pictures=8", "dataset.heldout_pictures=8", "checkpoint_steps=2", "max_steps=2")
MEASURED = ("measured.every_steps=2", "measured.pictures=16", "measured.num_inference_steps=1")


def trained(logger: str, folder: Path, *settings: str) -> None:
    told = ["train", "experiment=smoke", f"logger={logger}", "trainer.log_every_n_steps=1", "code_commit=abc"]
    told += [f"dataset.folder={PROJECT_ROOT / 'assets' / 'sample' / 'base'}", *SMALL, *MEASURED]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    command = [sys.executable, "-m", "atelier", *told, "trainer.val_check_interval=2", *settings]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mlflow_keeps_curves_and_sheets(tmp_path: Path) -> None:
    trained("mlflow", tmp_path)
    with closing(sqlite3.connect(tmp_path / "var" / "mlflow.db")) as store:
        keys = {key for (key,) in store.execute("select distinct key from metrics")}
    assert set(WANTED) <= keys
    assert list((tmp_path / "var" / "mlartifacts").rglob("images/measured*.png"))


@pytest.mark.slow
def test_tensorboard_keeps_curves_and_sheets(tmp_path: Path) -> None:
    trained("tensorboard", tmp_path)
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    written = file.read_bytes()
    assert all(key.encode() in written for key in WANTED)
    (sheet,) = tmp_path.rglob("measured/*.png")
    assert b"\x89PNG" in written and sheet.stat().st_size < len(written)


@pytest.mark.slow
def test_wandb_offline_keeps_curves_and_sheets(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    trained("wandb", tmp_path)
    (file,) = tmp_path.rglob("offline-run-*/*.wandb")
    written = file.read_bytes()
    assert all(key.encode() in written for key in WANTED)
    assert list(tmp_path.rglob("offline-run-*/files/media/images/measured_*.png"))


def runs(store: Path) -> dict[str, tuple[str, list[int]]]:
    """The status and the steps of the loss of each run that is not deleted."""
    with closing(sqlite3.connect(store)) as opened:
        found = dict(opened.execute("select run_uuid, status from runs where lifecycle_stage = 'active'"))
        steps = "select step from metrics where run_uuid = ? and key = 'loss' order by step"
        return {run: (status, [step for (step,) in opened.execute(steps, (run,))]) for run, status in found.items()}


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
def test_a_resumed_run_goes_on_in_the_same_run_of_mlflow(smoke: Compose, tmp_path: Path) -> None:
    """One that was deleted there begins anew."""
    store = tmp_path / "mlflow.db"
    told = ["logger=mlflow", f"logger.tracking_uri=sqlite:///{store}", f"logger.artifact_location={tmp_path}/artifacts"]
    told += ["checkpoint_steps=1", "trainer.log_every_n_steps=1"]
    train(smoke(*told, "max_steps=1"))
    ((first, _),) = runs(store).items()
    train(smoke(*told, "max_steps=2"))
    assert runs(store) == {first: ("FINISHED", [0, 1])}
    with closing(sqlite3.connect(store)) as opened, opened:
        opened.execute("update runs set lifecycle_stage = 'deleted'")
    train(smoke(*told, "max_steps=3"))
    ((fresh, (_, steps)),) = runs(store).items()
    assert fresh != first and steps == [2]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
def test_a_run_that_begins_anew_in_its_folder_has_a_run_of_its_own(smoke: Compose, tmp_path: Path) -> None:
    store = tmp_path / "mlflow.db"
    told = ["logger=mlflow", f"logger.tracking_uri=sqlite:///{store}", f"logger.artifact_location={tmp_path}/artifacts"]
    told += ["checkpoint_steps=1", "trainer.log_every_n_steps=1", "max_steps=1"]
    for _ in range(2):
        config = smoke(*told)
        train(config)
        shutil.rmtree(Path(config.out) / "checkpoints")
    assert list(runs(store).values()) == [("FINISHED", [0])] * 2
