"""The smoke experiment: it trains, keeps checkpoints, exports a backbone that draws, and resumes bit for bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import Tensor

from atelier import PROJECT_ROOT
from data.dataset import Dataset
from registry.artifacts import digest_folder, read_card
from synthesis.backbone import MultiTaskTransformer
from synthesis.pipeline import MultiTaskPipeline
from training.balance import balanced
from training.errors import TrainingError
from training.steps import DiffusionTraining, Example, ExampleMaker
from training.terms import Sizes
from training.train import heldout, train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

on_a_gpu = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"))
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
DIES_IN_STEP_4 = """
import os, signal
from training.steps import DiffusionTraining, Example, ExampleMaker
told = DiffusionTraining.training_step
def step(self, rows, index):
    if self.global_step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return told(self, rows, index)
DiffusionTraining.training_step = step
from atelier import main
main()
"""


def kept(config: DictConfig) -> dict[str, Any]:
    """The last checkpoint; no class is unpickled."""
    file = Path(config.out) / "checkpoints" / "last.ckpt"
    checkpoint: dict[str, Any] = torch.load(file, weights_only=True)
    return checkpoint


def tensors(value: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor within lists and dictionaries, by its path."""
    if isinstance(value, Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {key: tensor for part, inner in items for key, tensor in tensors(inner, f"{name}/{part}").items()}


def assert_equal_runs(one: DictConfig, other: DictConfig) -> None:
    """Weights, optimizer moments, moving average and the exported backbone are equal bit for bit."""
    first, second = kept(one), kept(other)
    assert first["global_step"] == second["global_step"] == one.max_steps
    for part in ("state_dict", "optimizer_states", "callbacks", "lr_schedulers"):
        left, right = tensors(first[part]), tensors(second[part])
        assert left.keys() == right.keys()
        assert [name for name, tensor in left.items() if not torch.equal(tensor, right[name])] == []
    exported = [(Path(config.out) / "backbone" / WEIGHTS).read_bytes() for config in (one, other)]
    assert exported[0] == exported[1]


@pytest.fixture(scope="module")
def straight() -> dict[str, DictConfig]:
    """Runs that went through without a stop, made once."""
    return {}


@pytest.fixture
def whole(straight: dict[str, DictConfig], smoke: Compose, tmp_path: Path) -> DictConfig:
    """Return the settings of a run of six steps that is done, elsewhere than that of the test that asks first."""
    if "whole" not in straight:
        straight["whole"] = smoke(f"out={tmp_path / 'whole'}")
        train(straight["whole"])
    return straight["whole"]


def test_it_exports_a_backbone_whose_card_tells_its_origin(whole: DictConfig, dataset: Dataset) -> None:
    folder = Path(whole.out) / "backbone"
    card = read_card(folder)
    (learnt,) = card["datasets"]
    assert (learnt["name"], learnt["version"]) == ("small", dataset.card.version)
    assert learnt["pictures"] == len(dataset.rows(split="train"))
    assert learnt["exposure_pictures"] == card["run"]["images_seen"] == 6 * 8
    assert learnt["licences"] == dataset.card.licences
    assert (card["kind"], card["name"], card["seed"]) == ("backbone", "smoke", 0)
    assert "of 64 px: text to image, image to image" in card["summary"]
    assert card["config"]["optimizer"]["warmup_steps"] == 2 and card["code_commit"]
    assert (folder / "ATTRIBUTION.md").read_text() == (dataset.folder / "ATTRIBUTION.md").read_text()
    assert dataset.card.version[:16] in (folder / "README.md").read_text()
    assert not list(Path(whole.out).glob(".*"))  # nothing half-written


def test_what_it_exports_draws_in_the_styles_of_the_dataset(whole: DictConfig, dataset: Dataset) -> None:
    pipeline = MultiTaskPipeline.load(Path(whole.out) / "backbone")
    assert pipeline.styles == tuple(sorted({record.style for record in dataset.records}))
    assert pipeline("a dog", style=pipeline.styles[0], num_inference_steps=1).images[0].size == (64, 64)


def test_it_exports_the_moving_average_in_half_precision(whole: DictConfig) -> None:
    exported = load_file(Path(whole.out) / "backbone" / WEIGHTS)
    (shadow,) = (state["shadow"] for state in kept(whole)["callbacks"].values() if "shadow" in state)
    weights = kept(whole)["state_dict"]
    assert exported.keys() == shadow.keys()
    for name, tensor in exported.items():
        assert torch.equal(tensor, shadow[name].half())
    assert any(not torch.equal(shadow[name], weights[f"network.{name}"]) for name in shadow)


def test_the_losses_are_logged_by_task(whole: DictConfig) -> None:
    (table,) = Path(whole.out).rglob("metrics.csv")
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows if row.get("heldout_loss")] == ["2", "5"]
    assert [row["step"] for row in rows if row.get("loss")] == ["1", "3", "5"]
    assert {"loss/text_to_image", "heldout_loss/inpainting"} <= rows[0].keys()


def test_a_second_start_of_a_finished_run_trains_no_further(whole: DictConfig) -> None:
    before = (Path(whole.out) / "backbone" / WEIGHTS).read_bytes()
    train(whole)
    assert kept(whole)["global_step"] == 6
    assert (Path(whole.out) / "backbone" / WEIGHTS).read_bytes() == before
    assert len(list(Path(whole.out).rglob("metrics.csv"))) == 1  # the first run's table is still there


@pytest.mark.slow
def test_a_run_that_is_killed_resumes_bit_for_bit(whole: DictConfig, smoke: Compose, tmp_path: Path) -> None:
    config = smoke()
    told = [f"dataset.folder={config.dataset.folder}", "dataset.batch_pictures=8", "dataset.heldout_pictures=8"]
    told += [f"out={config.out}", "checkpoint_steps=3", "max_steps=6", "optimizer.warmup_steps=2"]
    told += ["trainer.val_check_interval=3", "code_commit=abc"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DIES_IN_STEP_4, "train", "experiment=smoke", *told],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (Path(config.out) / "backbone").exists()
    assert kept(config)["global_step"] == 3
    train(config)
    assert_equal_runs(config, whole)


@pytest.mark.parametrize("at", [1, 4])
def test_a_run_that_fails_in_a_step_resumes_bit_for_bit(
    whole: DictConfig, smoke: Compose, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    config = smoke()
    step = DiffusionTraining.training_step

    def fails(module: DiffusionTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == at:
            raise RuntimeError("the disk is gone")
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", fails)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            train(config)
    assert not (Path(config.out) / "backbone").exists()
    train(config)
    assert_equal_runs(config, whole)


@pytest.mark.slow
def test_a_run_of_all_sizes_resumes_bit_for_bit(
    smoke: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 3 to 6, after the checkpoint, are of more than one size."""
    told = ("sizes=all", "dataset.batch_pictures=2", "max_steps=7")
    through, config = smoke(*told, f"out={tmp_path / 'through'}"), smoke(*told)
    sizes = Sizes(shares=dict(config.sizes.shares))
    assert len({sizes.at(step) for step in range(3, 7)}) > 1
    train(through)
    step = DiffusionTraining.training_step

    def fails(module: DiffusionTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == 5:
            raise ZeroDivisionError
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", fails)
        with pytest.raises(ZeroDivisionError):
            train(config)
    assert kept(config)["global_step"] == 3
    train(config)
    assert equal_exports(through, config)


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=on_a_gpu)])
def test_a_run_that_resumes_is_shown_the_same_examples(
    smoke: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    """Pictures, tasks, sources, masks, captions and styles of each step, bit for bit, on a GPU too."""
    shown: list[list[Tensor]] = []
    make = ExampleMaker.make

    def noted(maker: ExampleMaker, *given: Any) -> Example:
        example = make(maker, *given)
        shown.append([part.cpu() for part in (example.clean, *vars(example.condition).values())])
        return example

    told = (f"trainer.accelerator={accelerator}", "+trainer.limit_val_batches=0")
    monkeypatch.setattr(ExampleMaker, "make", noted)
    train(smoke(*told, f"out={tmp_path / 'through'}"))
    through = shown.copy()
    shown.clear()
    step = DiffusionTraining.training_step

    def fails(module: DiffusionTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == 4:
            raise ZeroDivisionError
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", fails)
        with pytest.raises(ZeroDivisionError):
            train(smoke(*told))
    shown.clear()
    train(smoke(*told))
    assert len(through) == 6 and len(shown) == 3
    for resumed, straight_on in zip(shown, through[3:], strict=True):
        assert all(torch.equal(one, other) for one, other in zip(resumed, straight_on, strict=True))


def equal_exports(one: DictConfig, other: DictConfig) -> bool:
    """Whether the moving averages and the exported files are equal bit for bit."""
    left, right = tensors(kept(one)["callbacks"]), tensors(kept(other)["callbacks"])
    exported = [(Path(config.out) / "backbone" / WEIGHTS).read_bytes() for config in (one, other)]
    return exported[0] == exported[1] and all(torch.equal(left[name], right[name]) for name in left)


def test_ctrl_c_keeps_a_checkpoint_and_is_told_as_an_interruption(
    whole: DictConfig, smoke: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = smoke()
    step, handler = DiffusionTraining.training_step, signal.getsignal(signal.SIGINT)

    def interrupted(module: DiffusionTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == 4:
            raise KeyboardInterrupt
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", interrupted)
        try:
            with pytest.raises(KeyboardInterrupt):
                train(config)
        finally:
            signal.signal(signal.SIGINT, handler)
    assert not (Path(config.out) / "backbone").exists()
    train(config)
    assert_equal_runs(config, whole)


def test_another_seed_is_another_run(whole: DictConfig, smoke: Compose) -> None:
    other = smoke("seed=1", "max_steps=3")
    train(other)
    weights, others = kept(whole)["state_dict"], kept(other)["state_dict"]
    assert not torch.equal(weights["network.final_linear.weight"], others["network.final_linear.weight"])


def test_a_run_goes_on_from_an_earlier_backbone(whole: DictConfig, smoke: Compose) -> None:
    earlier = Path(whole.out) / "backbone"
    further = smoke(f"initial={earlier}", "max_steps=1", "average.decay=0", "optimizer.learning_rate=1e-12")
    folder = train(further)
    card = read_card(folder)
    assert card["run"]["images_seen"] == 6 * 8 + 8
    assert card["initial"]["digest"] == digest_folder(earlier)
    before, after = load_file(earlier / WEIGHTS), load_file(folder / WEIGHTS)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-5, rtol=1e-3)


def test_a_run_does_not_go_on_with_another_order_of_samples(smoke: Compose) -> None:
    train(smoke("max_steps=1", "checkpoint_steps=1"))
    with pytest.raises(TrainingError, match="the last checkpoint is of another order: the dataset, seed or"):
        train(smoke("max_steps=2", "seed=5"))


def test_a_backbone_of_another_shape_is_refused_as_a_start(whole: DictConfig, smoke: Compose) -> None:
    with pytest.raises(TrainingError, match=r"initial=.*: its depth is 2, this run's is 3"):
        train(smoke(f"initial={Path(whole.out) / 'backbone'}", "backbone.depth=3"))


def test_a_loss_that_is_no_number_is_told(smoke: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(module: DiffusionTraining, *_: Any) -> Tensor:
        weight: Tensor = next(module.parameters())
        return weight.sum() * float("nan") + torch.full((8,), float("nan"))

    monkeypatch.setattr(DiffusionTraining, "_loss", lost)
    with pytest.raises(TrainingError, match=r"the loss became nan at step 1: lower optimizer.learning_rate"):
        train(smoke("max_steps=2"))


def test_it_learns_to_repeat_a_single_drawing(smoke: Compose) -> None:
    """Forty steps are enough for the loss to fall by half: gradients reach the network with the right sign."""
    losses: list[float] = []

    class Watch(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(outputs["loss"]))

    with pytest.MonkeyPatch.context() as patch:
        told = lightning.Trainer.__init__
        patch.setattr(
            lightning.Trainer,
            "__init__",
            lambda trainer, **settings: told(trainer, **settings | {"callbacks": [*settings["callbacks"], Watch()]}),
        )
        train(smoke("max_steps=40", "optimizer.learning_rate=3e-3", "checkpoint_steps=100"))
    assert sum(losses[-8:]) < sum(losses[:8]) / 2


OUT_OF_RANGE = {
    "backbone.width=100": "backbone: width 100 is not a multiple of head_width 32",
    "backbone.native_px=60": "backbone: 60 px is not a multiple of the patch of 8 px",
    "+backbone.colour=red": "backbone: .*colour",
    "dataset.colour_share=2": r"dataset.colour_share is 2: it must lie in 0 to 1",
    "dataset.batch_pictures=0": "dataset.batch_pictures is 0: it must be a whole number of 1 or more",
    "max_steps=0": "max_steps is 0: it must be a whole number of 1 or more",
    "max_steps=many": "max_steps is many: it must be a whole number of 1 or more",
    "checkpoint_steps=-1": "checkpoint_steps is -1: it must be a whole number of 1 or more",
    "seed=-1": "seed is -1: it must be a whole number from 0 to 4294967295",
    "initial=nowhere": "initial=nowhere is not a backbone: name a folder that atelier train wrote",
}


@pytest.mark.parametrize(("override", "message"), OUT_OF_RANGE.items())
def test_settings_out_of_range_are_refused(smoke: Compose, override: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        train(smoke(override))


def test_held_out_rows_are_never_learnt_from(dataset: Dataset) -> None:
    rows = heldout(dataset)
    assert rows and not set(rows) & set(dataset.rows(split="train"))
    assert not any(dataset.records[row].monochrome for row in rows)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_an_epoch_holds_coloured_drawings_to_their_share_in_whole_repeats(dataset: Dataset, share: float) -> None:
    rows = dataset.rows(split="train")
    epoch = balanced(dataset, rows, share)
    coloured = [place for place in epoch if not dataset.records[rows[place]].monochrome]
    repeats = {epoch.count(place) for place in coloured}
    assert len(repeats) == 1 and set(coloured) | set(epoch) <= set(range(len(rows)))
    if share == 1.0:
        assert len(epoch) == len(coloured)
    elif share == 0.9:
        assert abs(len(coloured) / len(epoch) - share) < 0.05


def test_the_configured_network_is_what_is_saved(whole: DictConfig) -> None:
    config = MultiTaskTransformer.load_config(str(Path(whole.out) / "backbone" / "transformer"))
    assert (config["width"], config["depth"], config["native_px"]) == (64, 2, 64)
