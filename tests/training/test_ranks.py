"""Two processes see what one sees: the same rows at every step, and one network between them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier import PROJECT_ROOT
from data.dataset import Dataset
from data.order import SampleOrder, StepRows
from registry.artifacts import read_card
from synthesis.pipeline import MultiTaskPipeline
from training.balance import balanced

if TYPE_CHECKING:
    from tests.training.conftest import Compose

RECORDING = """
import hashlib, json, os
from pathlib import Path
from training.steps import DiffusionTraining
seen = {"train": [], "heldout": []}
def recorded(method, name):
    def step(self, rows, index):
        seen[name].append(rows.tolist())
        return method(self, rows, index)
    return step
DiffusionTraining.training_step = recorded(DiffusionTraining.training_step, "train")
DiffusionTraining.validation_step = recorded(DiffusionTraining.validation_step, "heldout")
def ended(self):
    weights = b"".join(weight.detach().numpy().tobytes() for weight in self.network.parameters())
    told = seen | {"weights": hashlib.sha256(weights).hexdigest()}
    Path(f"rank-{os.environ['RANK']}.json").write_text(json.dumps(told))
DiffusionTraining.on_train_end = ended
from atelier import main
main()
"""


@pytest.mark.slow
def test_two_processes_see_the_rows_that_one_sees(smoke: Compose, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "recording.py").write_text(RECORDING)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "recording.py"]
    told = ["train", "experiment=smoke", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    told += ["trainer.precision=32-true"]
    told += [f"dataset.folder={dataset.folder}", "dataset.batch_pictures=4", "dataset.heldout_pictures=7"]
    told += [f"out={tmp_path / 'ranks'}", "max_steps=3", "checkpoint_steps=3", "trainer.val_check_interval=3"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*run, *told], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    config = smoke()
    order = SampleOrder(balanced(dataset, dataset.rows(split="train"), config.dataset.colour_share), seed=0)
    alone = islice(StepRows(order, first_step=0, batch=8, rank=0, ranks=1), 3)
    together = [one + two for one, two in zip(ranks[0]["train"], ranks[1]["train"], strict=True)]
    assert together == [rows.tolist() for rows in alone]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    held = [row for rank in ranks for batch in rank["heldout"] for row in batch]
    assert len(held) == len(set(held)) == 6  # whole batches alone, as many on each
    backbone = tmp_path / "ranks" / "backbone"
    assert read_card(backbone)["run"]["images_seen"] == 3 * 8
    assert read_card(backbone)["run"]["hardware"].startswith("2 x ")
    assert MultiTaskPipeline.load(backbone).picture_px == 64


@pytest.mark.slow
def test_two_nodes_meet_and_train_one_backbone(dataset: Dataset, tmp_path: Path) -> None:
    """Two torchruns of one process each, as on two machines, with a rendezvous on this one."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        endpoint = f"localhost:{found.getsockname()[1]}"
    run = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    run += [f"--rdzv-endpoint={endpoint}", "--rdzv-id=nodes", "-m", "atelier", "train", "experiment=smoke"]
    run += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2"]
    run += ["trainer.precision=32-true", f"dataset.folder={dataset.folder}", "dataset.batch_pictures=4", "max_steps=2"]
    run += [
        "dataset.heldout_pictures=8",
        "checkpoint_steps=2",
        "trainer.val_check_interval=2",
        f"out={tmp_path / 'run'}",
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(run, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [node.wait(timeout=120) for node in nodes] == [0, 0]
    card = read_card(tmp_path / "run" / "backbone")
    assert card["run"]["hardware"].startswith("2 x ") and card["run"]["images_seen"] == 2 * 8
