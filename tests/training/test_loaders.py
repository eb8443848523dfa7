"""A run sees the samples of its order whatever its ranks, batch and place of pictures; its ledger says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from omegaconf import DictConfig

from atelier import PROJECT_ROOT
from data.dataset import Dataset
from data.ledger import check_ledger
from data.order import SampleOrder
from training.balance import balanced
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
RECORDING = """
import json, os
from training.steps import DiffusionTraining
told = DiffusionTraining.training_step
def step(self, rows, index):
    with open(f"step-{self.global_step}-rank-{self.global_rank}.json", "w") as file:
        json.dump(rows.tolist(), file)
    return told(self, rows, index)
DiffusionTraining.training_step = step
from atelier import main
main()
"""


def weights(config: DictConfig) -> bytes:
    return (Path(config.out) / "backbone" / WEIGHTS).read_bytes()


def test_a_corpus_that_is_read_batch_by_batch_teaches_what_a_resident_one_does(smoke: Compose, tmp_path: Path) -> None:
    runs = [smoke(f"dataset.resident={told}", f"out={tmp_path / told}", "max_steps=3") for told in ("true", "false")]
    for config in runs:
        config.register = False
        train(config)
    assert weights(runs[0]) == weights(runs[1])
    told = check_ledger(tmp_path / "false" / "ledger")
    assert sum(epoch.samples for epoch in told) == 3 * 8


def run(tmp_path: Path, dataset: Dataset, ranks: int, *told: str) -> None:
    """Train on so many processes from the last checkpoint on, noting the rows of every step."""
    (tmp_path / "recording.py").write_text(RECORDING)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "recording.py"]
    settings = ["train", "experiment=smoke", "trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={ranks}"]
    settings += ["trainer.precision=32-true", "trainer.val_check_interval=2", "dataset.heldout_pictures=8"]
    settings += [f"dataset.folder={dataset.folder}", f"out={tmp_path / 'run'}", "checkpoint_steps=2", "register=false"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, *settings, *told], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_run_goes_on_with_other_ranks_and_another_batch_where_it_was(
    smoke: Compose, dataset: Dataset, tmp_path: Path
) -> None:
    run(tmp_path, dataset, 2, "dataset.batch_pictures=20", "max_steps=2")
    run(tmp_path, dataset, 1, "dataset.batch_pictures=16", "max_steps=4")
    order = SampleOrder(balanced(dataset, dataset.rows(split="train"), smoke().dataset.colour_share), seed=0)
    files = [
        tmp_path / f"step-{step}-rank-{rank}.json" for step, rank in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0))
    ]
    seen = list(chain(*(json.loads(file.read_text()) for file in files)))
    assert seen == order.at(0, 2 * 40 + 2 * 16).tolist()
    card = json.loads((tmp_path / "run" / "backbone" / "atelier.json").read_text())
    assert card["run"]["images_seen"] == len(seen)
    first, *others = check_ledger(tmp_path / "run" / "ledger")
    assert str(first).endswith("samples, each exactly once") and first.expected == len(order.rows)
    assert first.samples + sum(epoch.samples for epoch in others) == len(seen)
