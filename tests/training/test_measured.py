"""A run measured on the way: figures with their steps, the same weights as without, every step once."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from PIL import Image

from atelier import PROJECT_ROOT
from data.dataset import Dataset, open_dataset
from data.sample_cut import cut
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.tasks.steps import RECORD_FILE, curves_of
from evaluation.tasks.subset import HeldOutSubset
from synthesis.text import TextEncoder
from training.measured import MeasuredOnTheWay
from training.steps import DiffusionTraining
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

OFTEN = ("measured.every_steps=2", "measured.pictures=16", "measured.num_inference_steps=1")
WEIGHTS = "backbone/transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 coloured drawings to learn from and 20 held out, of as many subjects."""
    source = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")
    records = source.records

    def coloured(split: str) -> list[int]:
        rows = [row for row in source.rows(split=split) if not records[row].monochrome]
        return list({records[row].subject: row for row in rows}.values())

    rows = [*coloured("train")[:24], *coloured("heldout_pair")[:20]]
    return cut(source, rows, tmp_path_factory.mktemp("datasets") / "held")


@pytest.fixture(scope="module", autouse=True)
def _one_text_encoder() -> Iterator[None]:
    """Every pipeline of these runs shares the text encoder, which takes a second to load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthesis.pipeline.TextEncoder", lru_cache(maxsize=2)(TextEncoder))
        yield


@pytest.fixture
def settings(held: Dataset, smoke: Compose) -> Compose:
    def made(*overrides: str) -> DictConfig:
        return smoke(f"dataset.folder={held.folder}", *overrides)

    return made


def steps_of(folder: Path) -> list[int]:
    return [each["step"] for each in json.loads((folder / RECORD_FILE).read_text())["steps"]]


def logged(folder: Path) -> dict[int, float]:
    """PSNR by step, of all tables of a run."""
    rows: list[dict[str, Any]] = []
    for table in sorted(folder.rglob("metrics.csv")):
        rows += csv.DictReader(table.read_text().splitlines())
    name = "measured/super_resolution_psnr"
    return {int(row["step"]): float(row[name]) for row in rows if row.get(name)}


def test_a_measured_run_learns_what_it_learns_without_and_resumed_measures_no_step_twice(
    settings: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is killed after step 4 was measured, and resumed from the checkpoint of step 3."""
    whole, killed = settings(*OFTEN), settings(*OFTEN, f"out={tmp_path / 'killed'}")
    plain = settings(f"out={tmp_path / 'plain'}")
    train(whole)
    train(plain)
    drawn: list[int] = []
    measure, step = HeldOutSubset.measure, DiffusionTraining.training_step

    def counted(self: Any, *arguments: Any) -> Any:
        drawn.append(1)
        return measure(self, *arguments)

    def dies(self: Any, rows: Any, index: int) -> Any:
        if self.global_step == 4:
            raise KeyboardInterrupt
        return step(self, rows, index)

    monkeypatch.setattr(HeldOutSubset, "measure", counted)
    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", dies)
        with pytest.raises(KeyboardInterrupt):
            train(killed)
    runs = [Path(config.out) for config in (whole, killed, plain)]
    assert steps_of(runs[1]) == [2, 4] and len(drawn) == 2
    assert torch.load(runs[1] / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    train(killed)
    assert len(drawn) == 3
    assert len({(run / WEIGHTS).read_bytes() for run in runs}) == 1
    assert (runs[0] / RECORD_FILE).read_bytes() == (runs[1] / RECORD_FILE).read_bytes()
    assert steps_of(runs[0]) == sorted(logged(runs[0])) == [2, 4, 6]
    assert logged(runs[0]) == logged(runs[1])  # step 4 again in the second table, from the record
    sheets = [(run / "measured" / "step-0000006.png").read_bytes() for run in runs[:2]]
    assert sheets[0] == sheets[1]
    with Image.open(runs[0] / "measured" / "step-0000002.png") as sheet:
        assert sheet.size == (1204, 404)
    assert not (runs[2] / "measured").exists()
    kernel, psnr = curves_of(runs[0])
    assert [point[0] for point in psnr.lines[0].points] == [2, 4, 6]
    assert (psnr.y_label, psnr.unit) == ("higher is better", "dB") and len(kernel.lines[0].bounds) == 3


def test_a_figure_that_fails_does_not_end_the_run(
    settings: Compose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise EvaluationError("the network draws values that are not numbers")

    monkeypatch.setattr(HeldOutSubset, "measure", fails)
    config = settings(*OFTEN, "max_steps=2")
    train(config)
    assert "warning: step 2 is not measured: the network draws" in capsys.readouterr().err
    with pytest.raises(EvaluationError, match=r"has no measured/figures.json: name the folder of a run"):
        curves_of(Path(config.out))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("measured.every_steps=-1", "measured.every_steps is -1: it must be a whole number of 0 or more"),
        ("measured.every_steps=0.5", "measured.every_steps is 0.5: it must be a whole number"),
        ("measured.pictures=3", "measured.pictures is 3: it must be a whole number of 16 or more"),
        ("measured.num_inference_steps=0", "num_inference_steps 0 must lie in 1 to 200"),
    ],
)
def test_wrong_settings_are_told_before_any_work(settings: Compose, override: str, line: str) -> None:
    with pytest.raises(InstantiationException) as caught:
        train(settings(override))
    assert line in str(caught.value.__cause__)


def test_too_few_held_out_drawings_are_told_before_the_first_step(settings: Compose) -> None:
    config = settings("measured.every_steps=2", "measured.pictures=21")
    with pytest.raises(TooFewPicturesError, match=r"holds 20 colour drawings .* pass measured.pictures=20 or less"):
        train(config)
    assert not (Path(config.out) / "checkpoints").exists()


def test_off_it_does_nothing() -> None:
    callback = MeasuredOnTheWay(judge="no/such", text_encoder="none")
    callback.setup(None, None, "fit")
    callback.on_train_batch_end(type("Trainer", (), {"global_step": 500}), None)


@pytest.mark.slow
def test_two_processes_measure_on_the_first_and_neither_waits_for_ever(held: Dataset, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "atelier"]
    told = ["train", "experiment=smoke", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    told += ["trainer.precision=32-true", "dataset.heldout_pictures=8", *OFTEN]
    told += [f"dataset.folder={held.folder}", "dataset.batch_pictures=4", "max_steps=4", "checkpoint_steps=4"]
    told += [f"out={tmp_path / 'ranks'}"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*run, *told], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert steps_of(tmp_path / "ranks") == sorted(logged(tmp_path / "ranks")) == [2, 4]
