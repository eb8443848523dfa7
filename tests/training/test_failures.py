"""What ends a run from outside is told in one line, and the run goes on from its last good checkpoint."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from atelier import PROJECT_ROOT
from data.dataset import Dataset
from training.errors import TrainingError
from training.steps import DiffusionTraining
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

LIMITED = """
import resource, sys
from training.steps import DiffusionTraining
told = DiffusionTraining.training_step
def step(self, rows, index):
    if self.global_step == {step}:
        {limit}
    return told(self, rows, index)
DiffusionTraining.training_step = step
from atelier import main
main()
"""
NO_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))"
NO_MEMORY = """held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + 2**26, held + 2**26))
        rows = rows.repeat(1000)"""
LOSES_ITSELF = "import os, signal; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL)"


def told(dataset: Dataset, out: Path, *more: str) -> list[str]:
    """The words of a small run of six steps with a checkpoint each three."""
    words = ["train", "experiment=smoke", f"dataset.folder={dataset.folder}", f"out={out}", "code_commit=abc"]
    words += ["dataset.batch_pictures=8", "dataset.heldout_pictures=8", "checkpoint_steps=3", "max_steps=6"]
    return [*words, "optimizer.warmup_steps=2", "trainer.val_check_interval=3", *more]


def started(program: str, words: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    variables = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kept_step(out: Path) -> int:
    return int(torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"])


def line_of(process: subprocess.Popen[str], seconds: float = 100) -> str:
    """The one line, among a bar's, of a process that ended with a mistake and with no traceback."""
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 2 and "Traceback" not in errors, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("atelier: ")]
    return line


@pytest.mark.parametrize(
    ("limit", "line"),
    [
        (
            NO_ROOM,
            r"atelier: the checkpoint of step 6 could not be written to .*last.ckpt \(File too large; [\d,]+ MiB",
        ),
        (NO_MEMORY, "atelier: out of memory at step 4 with dataset.batch_pictures=8: pass dataset.batch_pictures=4 "),
    ],
    ids=["disk", "memory"],
)
def test_no_room_and_no_memory_are_told_and_the_run_goes_on(
    smoke: Compose, dataset: Dataset, tmp_path: Path, limit: str, line: str
) -> None:
    config = smoke()
    program = LIMITED.format(step=4, limit=limit)
    said = line_of(started(program, told(dataset, Path(config.out)), tmp_path))
    assert re.match(line, said), said
    assert kept_step(Path(config.out)) == 3
    assert not list((Path(config.out) / "checkpoints").glob(".*"))
    train(config)
    assert kept_step(Path(config.out)) == 6


@pytest.mark.slow
def test_a_lost_rank_ends_the_other_with_a_line_and_the_run_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    """Without torchrun, whose agent would end the other itself."""
    out, program = tmp_path / "run", LIMITED.format(step=4, limit=LOSES_ITSELF)
    ranks = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    place |= {"TORCHELASTIC_RUN_ID": "lost", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    both = [
        started(program, told(dataset, out, *ranks), tmp_path, RANK=str(rank), LOCAL_RANK=str(rank), **place)
        for rank in range(2)
    ]
    assert both[1].wait(timeout=120) == -signal.SIGKILL
    lost = time.monotonic()
    line = line_of(both[0])
    assert time.monotonic() - lost < 60
    both[1].communicate()
    assert line.startswith("atelier: process 0 of 2 lost another one at step 4") and "last.ckpt" in line
    assert kept_step(out) == 3
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "atelier"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *told(dataset, out, *ranks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert kept_step(out) == 6 and (out / "backbone").is_dir()


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(
    smoke: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is looked at only when it is logged, here never: the checkpoint of step 6 looks for itself."""
    step = DiffusionTraining.training_step

    def spoilt(module: DiffusionTraining, rows: Any, index: int) -> Any:
        loss = step(module, rows, index)
        return loss * float("nan") if module.global_step == 4 else loss

    config = smoke("trainer.log_every_n_steps=100")
    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", spoilt)
        with pytest.raises(TrainingError, match=r"the weights are no numbers any more at step 6: lower optimizer"):
            train(config)
    assert kept_step(Path(config.out)) == 3
    train(config)
    assert kept_step(Path(config.out)) == 6
