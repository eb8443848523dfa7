"""Larger sizes: the native picture first, then the network's own super-resolution of it, in one count of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from synthesis.errors import SynthesisError
from synthesis.pipeline import REFINING_GUIDANCE, MultiTaskPipeline, Progress
from synthesis.request import PictureRequest
from synthesis.sampler import few_step_scheduler
from synthesis.tasks import TASKS
from synthesis.testing import make_tiny_brand, make_tiny_pipeline
from training.terms import Objective

LARGER = ((128, 16), (256, 16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_pipeline(tmp_path_factory.mktemp("sized") / "backbone", larger=LARGER)


@pytest.fixture(scope="module")
def sized(folder: Path) -> MultiTaskPipeline:
    return MultiTaskPipeline.load(folder)


def picture(seed: int = 0, side_px: int = 300) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8))


def mask(side_px: int = 300) -> Image.Image:
    drawn = Image.new("L", (side_px, side_px))
    ImageDraw.Draw(drawn).ellipse((40, 80, 160, 200), fill=255)
    return drawn


def request(task: str = "text_to_image", **fields: Any) -> PictureRequest:
    wanted: dict[str, Any] = {"prompts": ("a cat", "two long words"), "seeds": (5, 6), "task": task}
    wanted |= {"num_inference_steps": 3, "num_refinement_steps": 2}
    if TASKS[task].needs_picture:
        wanted["images"] = (picture(0), picture(1))
    if TASKS[task].needs_mask:
        wanted["masks"] = (mask(), mask())
    return PictureRequest(**wanted | fields)


def steps_of(pipeline: MultiTaskPipeline, asked: PictureRequest) -> list[Progress]:
    return list(pipeline.stream(asked))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_draws_every_size_the_same_again_in_one_count_of_steps(sized: MultiTaskPipeline, task: str) -> None:
    for side_px in (64, 128, 256):
        asked = request(task, height=side_px, width=side_px)
        first, again = (steps_of(sized, asked) for _ in range(2))
        last = first[-1]
        assert last.estimate.shape == (2, 3, side_px, side_px)
        assert torch.equal(last.estimate, again[-1].estimate)
        assert [progress.step for progress in first] == list(range(1, last.num_steps + 1))
        assert [progress.final for progress in first] == [False] * (len(first) - 1) + [True]
        for progress in first:
            assert {image.size for image in progress.pictures()} == {(side_px, side_px)}


@pytest.mark.parametrize("task", [task for task in TASKS if task != "super_resolution"])
def test_the_first_stage_is_the_native_drawing_bit_by_bit(sized: MultiTaskPipeline, task: str) -> None:
    native, large = steps_of(sized, request(task)), steps_of(sized, request(task, height=256))
    assert len(large) == len(native) + 2
    for small, preview in zip(native, large, strict=False):
        assert torch.equal(small.estimate, preview.estimate)
    assert [progress.estimate.shape[-1] for progress in large[len(native) :]] == [256, 256]


def test_the_second_stage_is_super_resolution_of_the_first_ones_picture(sized: MultiTaskPipeline) -> None:
    small = steps_of(sized, request())[-1]
    large = steps_of(sized, request(width=256))[-1]
    told: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": REFINING_GUIDANCE, "height": 256}
    enlarged = steps_of(sized, request("super_resolution", images=tuple(small.pictures()), **told))
    assert len(enlarged) == 2
    assert torch.equal(enlarged[-1].estimate, large.estimate)


def test_without_refinement_it_is_drawn_at_its_size_at_once(sized: MultiTaskPipeline) -> None:
    at_once = steps_of(sized, request(height=256, num_refinement_steps=0))
    assert [progress.estimate.shape[-1] for progress in at_once] == [256] * 3
    assert not torch.equal(at_once[-1].estimate, steps_of(sized, request(height=256))[-1].estimate)


@pytest.mark.parametrize("task", ["text_to_image", "inpainting", "super_resolution"])
def test_a_picture_does_not_depend_on_its_batch(sized: MultiTaskPipeline, task: str) -> None:
    together = steps_of(sized, request(task, height=256))[-1].estimate
    for row in range(2):
        alone = steps_of(sized, request(task, height=256).part(row, row + 1))[-1].estimate
        # What lies between the stages is a picture of whole bytes: a last bit of a float may move one by 1/255.
        assert (alone[0] - together[row]).abs().max() < 0.02


@pytest.mark.parametrize("task", ["inpainting", "outpainting"])
@pytest.mark.parametrize("side_px", [128, 256])
def test_what_a_mask_keeps_is_the_persons_own_at_the_final_size(
    sized: MultiTaskPipeline, task: str, side_px: int
) -> None:
    own = picture(3, side_px)
    hole = mask(300).resize((side_px, side_px), Image.Resampling.NEAREST)
    asked = request(task, images=(own, own), masks=(hole, hole), height=side_px)
    refined = [progress for progress in steps_of(sized, asked) if progress.estimate.shape[-1] == side_px]
    kept = np.asarray(hole) < 128
    for progress in refined:
        for image in progress.pictures():
            assert np.array_equal(np.asarray(image)[kept], np.asarray(own)[kept])
            assert not np.array_equal(np.asarray(image)[~kept], np.asarray(own)[~kept])


def test_edges_of_a_larger_picture_reach_the_first_stage_at_their_full_strength(sized: MultiTaskPipeline) -> None:
    lines = Image.new("RGB", (256, 256), "black")
    ImageDraw.Draw(lines).rectangle((40, 40, 200, 200), outline="white")
    condition, _ = sized._condition(request("edges", images=(lines, lines), height=256), 64)
    assert (condition.source[:, :, 10, 10:51] == 1).all()
    assert (condition.source[:, :, 12:48, 12:48] == -1).all()


def test_style_and_brand_reach_the_second_stage(folder: Path, tmp_path: Path) -> None:
    pipeline = MultiTaskPipeline.load(folder)
    pipeline.load_brand(make_tiny_brand(tmp_path / "acme", folder, "acme"), "acme")
    small = tuple(picture(seed, 64) for seed in range(2))
    drawn = {
        key: steps_of(pipeline, request("super_resolution", images=small, height=256, **fields))[-1].estimate
        for key, fields in {"plain": {}, "style": {"style": "noto"}, "brand": {"brand": "acme"}}.items()
    }
    assert not torch.equal(drawn["plain"], drawn["style"])
    assert not torch.equal(drawn["plain"], drawn["brand"])
    branded = steps_of(pipeline, request(brand="acme", height=256))
    native = steps_of(pipeline, request(brand="acme"))
    assert torch.equal(branded[2].estimate, native[2].estimate)
    assert not torch.equal(branded[-1].estimate, steps_of(pipeline, request(height=256))[-1].estimate)


@pytest.mark.parametrize("side_px", [64, 128, 256])
def test_levels_of_noise_are_shifted_as_in_training(sized: MultiTaskPipeline, side_px: int) -> None:
    plain, shifted = sized._scheduler(64, 9), sized._scheduler(side_px, 9)
    even = torch.linspace(1, shifted.sigma_min, 9, dtype=torch.float64)
    trained = 1 - Objective().shifted(1 - even, side_px / 64)
    assert torch.allclose(shifted.timesteps.double() / 1000, trained, atol=1e-5)
    assert plain.timesteps[0] == shifted.timesteps[0] == 1000
    assert torch.equal(sized._scheduler(64, 9).timesteps, plain.timesteps)
    assert bool((shifted.timesteps[1:] >= plain.timesteps[1:]).all())


def test_a_distilled_model_draws_its_own_steps_and_is_refined_like_any_other(sized: MultiTaskPipeline) -> None:
    student = MultiTaskPipeline(sized.transformer, few_step_scheduler(4), num_inference_steps=4, guidance_scale=1.0)
    assert torch.equal(student._scheduler(256, 8).timesteps, sized._scheduler(256, 8).timesteps)
    assert student._scheduler(64, 4).timesteps.tolist() == pytest.approx([1000, 750, 500, 250])
    fields: dict[str, Any] = {"num_inference_steps": None, "height": 128}
    sizes = [progress.estimate.shape[-1] for progress in steps_of(student, request(**fields))]
    assert sizes == [64] * 4 + [128] * 2


def test_a_distilled_model_draws_in_one_step_too(sized: MultiTaskPipeline) -> None:
    student = MultiTaskPipeline(sized.transformer, few_step_scheduler(4), num_inference_steps=4, guidance_scale=1.0)
    asked = request(num_inference_steps=1, guidance_scale=1.0)
    (only,) = steps_of(student, asked)
    assert torch.equal(only.estimate, steps_of(sized, asked)[0].estimate)


def test_a_size_that_it_does_not_know_is_answered_with_those_it_does(sized: MultiTaskPipeline, base: Path) -> None:
    with pytest.raises(SynthesisError, match=r"^this backbone does not draw 512 px a side: it draws 64, 128, 256$"):
        sized.stream(request(height=512))
    with pytest.raises(SynthesisError, match=r"^this backbone does not draw 256 px a side: it draws 64$"):
        MultiTaskPipeline.load(base).stream(request(height=256))


def test_a_network_that_did_not_learn_super_resolution_draws_its_native_size_alone(tmp_path: Path) -> None:
    tasks = ("text_to_image", "image_to_image")
    pipeline = MultiTaskPipeline.load(make_tiny_pipeline(tmp_path / "backbone", larger=LARGER, tasks=tasks))
    assert pipeline.sizes == (64,)
    with pytest.raises(SynthesisError, match=r"does not draw 256 px a side: it draws 64$"):
        pipeline.stream(request(height=256))


def test_it_says_which_sizes_it_draws(sized: MultiTaskPipeline, base: Path) -> None:
    assert sized.sizes == (64, 128, 256)
    assert MultiTaskPipeline.load(base).sizes == (64,)


def test_the_pipeline_is_called_as_diffusers_calls_it(sized: MultiTaskPipeline) -> None:
    (image,) = sized("a red cat", height=128, width=128, num_inference_steps=2, num_refinement_steps=1).images
    assert image.size == (128, 128)
