"""A student of four steps without guidance comes close to its teacher's guided many; it resumes, exports and draws."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from atelier import CONF_FOLDER
from data.dataset import Dataset
from registry.artifacts import digest_folder, read_card
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import APPEARANCE_WIDTH, Condition, no_reference
from synthesis.pipeline import MultiTaskPipeline
from synthesis.request import PictureRequest
from synthesis.sampler import few_step_scheduler, guided
from synthesis.tasks import TASKS
from synthesis.testing import make_tiny_pipeline
from tests.training.test_train import assert_equal_runs
from training.distil import DistillationTraining, distil
from training.errors import TrainingError
from training.steps import Example
from training.trajectory import Distillation, lessons, segment_target, step_towards

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def teacher(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random teacher that is not straight: text and style turn its estimate much."""
    styles = tuple(sorted({record.style for record in dataset.records}))
    folder = make_tiny_pipeline(tmp_path_factory.mktemp("teacher") / "backbone", styles=styles)
    network = MultiTaskTransformer.from_pretrained(str(folder / "transformer"))
    with torch.no_grad():
        for name in ("embed_text", "embed_pooled_text", "embed_style"):
            getattr(network, name).weight.mul_(3)
        network.embed_time[2].weight.mul_(0.1)  # as in a network that has learnt, near times give near estimates
        network.modulation.weight.normal_(std=0.2)
        network.final_modulation.weight.normal_(std=0.2)
        network.final_linear.weight.normal_(std=0.08)
    network.save_pretrained(str(folder / "transformer"))
    return folder


@pytest.fixture
def settings(dataset: Dataset, teacher: Path, tmp_path: Path) -> Compose:
    """Return a function that composes a distillation on the small dataset with overrides on top."""
    told = [f"teacher={teacher}", f"dataset.folder={dataset.folder}", f"out={tmp_path / 'run'}", "code_commit=abc"]
    told += ["dataset.batch_pictures=8", "dataset.heldout_pictures=8", "dataset.caption_tokens=16", "max_steps=6"]
    told += ["checkpoint_steps=3", "trainer.val_check_interval=3", "trainer.log_every_n_steps=2"]
    told += ["trainer.accelerator=cpu", "optimizer.warmup_steps=2", "distillation.teacher_substeps=3"]

    def made(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
            config = compose("distil", [*told, *overrides])
        OmegaConf.resolve(config)
        return config

    return made


def drawn(pipeline: MultiTaskPipeline, dataset: Dataset, **fields: Any) -> Tensor:
    """The last estimates of sixteen pictures: captions and styles of the dataset, seeds that no training saw."""
    estimates = []
    for seed, row in enumerate(dataset.rows(split="train")[:16]):
        record = dataset.records[row]
        request = PictureRequest(prompts=record.captions[:1], seeds=(seed,), style=record.style, **fields)
        *_, last = pipeline.stream(request)
        estimates.append(last.estimate)
    return torch.cat(estimates)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean())


def test_a_student_comes_much_closer_than_its_teacher_in_as_many_steps(
    settings: Compose, teacher: Path, dataset: Dataset
) -> None:
    config = settings(
        *("max_steps=240", "checkpoint_steps=240", "trainer.val_check_interval=240", "optimizer.learning_rate=3e-3"),
        *("average.decay=0.9", "tasks.style_dropped=0", "tasks.text_dropped=0", "augmentation=none"),
        *(f"tasks.shares.{name}=0" for name in TASKS if name != "text_to_image"),
    )
    student, taught = MultiTaskPipeline.load(distil(config)), MultiTaskPipeline.load(teacher)
    aim = drawn(taught, dataset, num_inference_steps=30, guidance_scale=3.0)
    before = distance(drawn(taught, dataset, num_inference_steps=4, guidance_scale=1.0), aim)
    guided = distance(drawn(taught, dataset, num_inference_steps=4, guidance_scale=3.0), aim)
    after = distance(drawn(student, dataset), aim)
    print(f"squared distance to 30 guided steps: 4 steps {before:.4f}, guided {guided:.4f}, student {after:.4f}")
    assert after < 0.65 * before and after < guided

    card = read_card(Path(config.out) / "backbone")
    assert card["teacher"]["digest"] == digest_folder(teacher) == card["initial"]["digest"]
    told = {"num_inference_steps": 4, "guidance_scale": 1.0, "teacher_steps": 12, "teacher_guidance_scale": 3.0}
    assert card["drawing"] == told
    assert "in 4 steps without guidance" in (Path(config.out) / "backbone" / "README.md").read_text()
    assert (student.own_steps, student.own_guidance) == (4, 1.0) and taught.own_steps is None
    assert torch.equal(drawn(student, dataset), drawn(student, dataset, num_inference_steps=4, guidance_scale=1.0))
    steps = list(student.stream(PictureRequest(prompts=("a dog",), seeds=(1,))))
    assert [progress.num_steps for progress in steps] == [4] * 4
    with pytest.raises(TrainingError, match="was distilled itself"):
        distil(settings(f"teacher={config.out}/backbone", f"out={config.out}-2"))


def test_a_run_that_fails_in_a_step_resumes_bit_for_bit(
    settings: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, config = settings(f"out={tmp_path / 'whole'}"), settings()
    distil(whole)
    step = DistillationTraining.training_step

    def fails(module: DistillationTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == 4:
            raise RuntimeError("the disk is gone")
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationTraining, "training_step", fails)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            distil(config)
    assert not (Path(config.out) / "backbone").exists()
    distil(config)
    assert_equal_runs(config, whole)
    kept = torch.load(Path(config.out) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert kept and all(name.startswith("network.") for name in kept)  # the teacher rides in no checkpoint


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("teacher=nowhere", "teacher=nowhere is not a backbone"),
        ("sizes=own", "sizes=own is for backbone=pretrained"),
        ("sizes=all", "does not know 128, 256; it knows 64"),
        ("num_inference_steps=0", "num_inference_steps is 0: it must be a whole number from 1 to 64"),
        ("distillation.teacher_substeps=1.5", "teacher_substeps is 1.5: it must be a whole number from 1 to 100"),
        ("guidance_scale=-1", "guidance_scale is -1: it must lie in 0 to 30"),
        ("distillation.own_share=0.9", "real_share 0.25 and own_share 0.9 make up more than 1"),
        ("max_steps=0", "max_steps is 0: it must be a whole number of 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings: Compose, override: str, words: str) -> None:
    config = settings(override)
    with pytest.raises((TrainingError, InstantiationException)) as caught:
        distil(config)
    assert words in str(caught.value) or words in str(caught.value.__cause__)
    assert not Path(config.out).exists()


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_target_takes_diffusers_in_one_step_where_the_teacher_goes_in_many(steps: int, scale: float) -> None:
    def wild(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        drawn: Tensor = torch.sin(3 * x + 5 * t[:, None, None, None]) + condition.text.mean()
        return drawn

    settings, condition = Distillation(num_inference_steps=steps, guidance_scale=scale), told_nothing(2)
    scheduler = few_step_scheduler(steps)
    scheduler.set_timesteps(steps)
    assert settings.sigmas == pytest.approx([1 - place / steps for place in range(steps + 1)])
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for timestep, sigma, end in zip(scheduler.timesteps, settings.sigmas, settings.sigmas[1:], strict=False):
        fine = torch.linspace(sigma, end, 6).tolist()
        target = segment_target(wild, condition, x, fine, scale)
        assert float(target.abs().max()) <= 1 + 1e-5
        many = x
        for begin, then in pairwise(fine):
            estimate = guided(wild, condition, scale)(many, torch.full((2,), 1 - begin)).clamp(-1, 1)
            many = step_towards(many, estimate, begin, then)
        x = scheduler.step((x - target) / sigma, timestep, x, return_dict=False)[0]
        assert torch.allclose(x, many, atol=1e-5)


def test_segments_begin_at_drawings_at_the_students_states_and_at_the_teachers() -> None:
    clean, condition = torch.zeros(64, 3, 8, 8), told_nothing(64)

    def white(x: Tensor, *_: Any) -> Tensor:
        return torch.ones_like(x)

    def black(x: Tensor, *_: Any) -> Tensor:
        return -torch.ones_like(x)

    settings = Distillation(num_inference_steps=2, teacher_substeps=2, real_share=0.3, own_share=0.3)
    made = lessons(settings, white, black, (clean, condition), torch.Generator().manual_seed(0))
    first, second = made.start.chunk(2)
    ground = (second - 0.5 * first).mean(dim=(1, 2, 3)).round(decimals=4)
    assert torch.equal(made.t, torch.tensor([0.0, 0.5]).repeat_interleave(64))
    assert set(ground.tolist()) == {0.0, 0.5, -0.5}
    assert (made.target - 1).abs().max() < 1e-5


@pytest.mark.parametrize("own_share", [0.0, 0.5])
def test_under_autocast_the_student_learns_although_it_looked_without_gradients(own_share: float) -> None:
    torch.manual_seed(0)
    teacher, student = (
        MultiTaskTransformer(tasks=tuple(TASKS), width=32, depth=1, head_width=16, mlp_width=32) for _ in range(2)
    )
    settings = Distillation(teacher_substeps=1, own_share=own_share)
    run: dict[str, Any] = {"maker": None, "heldout": None, "optimizer": None, "max_steps": 1, "seed": 0}
    training = DistillationTraining(student, teacher, settings, compiled=False, **run)
    example = Example(torch.rand(2, 3, 64, 64), told_nothing(2, side_px=64), [("text_to_image", slice(0, 2))])
    with torch.autocast("cpu", torch.bfloat16):
        training._loss(example, torch.zeros(2), torch.Generator().manual_seed(0)).mean().backward()
    unlearnt = [name for name, weight in student.named_parameters() if weight.grad is None]
    assert [name for name in unlearnt if "linear" in name or "blocks" in name] == []
    assert all(weight.grad is None for weight in teacher.parameters())


def told_nothing(count: int, side_px: int = 8) -> Condition:
    """A condition of ``count`` pictures with ones for a text."""
    picture, known = no_reference(count)
    return Condition(
        source=torch.zeros(count, 3, side_px, side_px),
        mask=torch.zeros(count, 1, side_px, side_px),
        task=torch.zeros(count, dtype=torch.long),
        style=torch.zeros(count, dtype=torch.long),
        appearance=torch.zeros(count, APPEARANCE_WIDTH),
        text=torch.ones(count, 2, 384),
        text_mask=torch.ones(count, 2, dtype=torch.bool),
        reference=picture,
        reference_mask=known,
    )
