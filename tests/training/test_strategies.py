"""DDP, FSDP2 and DeepSpeed ZeRO-2 on two gloo processes: killed, resumed, exported; the same weights from each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from atelier import PROJECT_ROOT
from data.dataset import Dataset
from synthesis.pipeline import MultiTaskPipeline
from training.errors import TrainingError
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

SCRIPT = PROJECT_ROOT / "tests" / "benchmarks" / "run_strategies.py"


def shadow(run: Path) -> dict[str, Tensor]:
    """The moving average of a run's last checkpoint, in float32."""
    last = run / "checkpoints" / "last.ckpt"
    file = last / "checkpoint" / "mp_rank_00_model_states.pt" if last.is_dir() else last  # DeepSpeed writes a folder
    callbacks = torch.load(file, weights_only=last.is_file())["callbacks"].values()
    found: dict[str, Tensor] = next(state["shadow"] for state in callbacks if "shadow" in state)
    return found


@pytest.mark.slow
def test_strategies_killed_and_resumed_learn_and_export_the_same(dataset: Dataset, tmp_path: Path) -> None:
    """With all sizes, so that some weights are idle in a step."""
    strategies = ("ddp", "fsdp", "deepspeed")
    told = ["--strategies", *strategies, "--steps", "6", "--out", str(tmp_path), f"dataset.folder={dataset.folder}"]
    told += ["sizes=all", "dataset.batch_pictures=2"]
    done = subprocess.run([sys.executable, str(SCRIPT), *told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    averages = {strategy: shadow(tmp_path / strategy) for strategy in strategies}
    first = averages["ddp"]
    for strategy, average in averages.items():
        assert first.keys() == average.keys()
        apart = max(float((first[name] - average[name]).abs().max()) for name in first)
        print(f"largest difference of the averages, ddp and {strategy}: {apart:.2e}")
        assert apart < 1e-5
        assert MultiTaskPipeline.load(tmp_path / strategy / "backbone").picture_px == 64
        assert not list((tmp_path / strategy / "checkpoints").glob(".*"))


def test_a_run_does_not_go_on_under_another_strategy(smoke: Compose) -> None:
    config = smoke("max_steps=1", "checkpoint_steps=1")
    train(config)
    file = Path(config.out) / "checkpoints" / "last.ckpt"
    kept = torch.load(file, weights_only=True)
    torch.save(kept | {"strategy": "fsdp"}, file)
    with pytest.raises(TrainingError, match=r"is of trainer=fsdp, this run is of trainer=ddp: pass trainer=fsdp to go"):
        train(smoke("max_steps=2"))
    file.write_bytes(b"half a checkpoint")
    with pytest.raises(TrainingError, match=r"last.ckpt is no checkpoint: remove it to train from the start"):
        train(smoke("max_steps=2"))


def test_deepspeed_says_what_it_needs(dataset: Dataset, tmp_path: Path) -> None:
    told = ["train", "experiment=smoke", "trainer=deepspeed", "trainer.accelerator=cpu", f"out={tmp_path / 'run'}"]
    told += [f"dataset.folder={dataset.folder}"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    command = [sys.executable, "-m", "atelier", *told]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "trainer=deepspeed needs" in done.stderr
