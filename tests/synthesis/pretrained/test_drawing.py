"""The pipeline around a widened model draws what diffusers draws, every task, with previews that nothing clamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, PNDMScheduler
from PIL import Image

from synthesis.errors import SynthesisError
from synthesis.pipeline import MultiTaskPipeline
from synthesis.pixels import to_numbers
from synthesis.pretrained.families import open_pipeline
from synthesis.pretrained.pipeline import PretrainedPipeline
from synthesis.request import PictureRequest
from synthesis.sampler import seeded_noise
from synthesis.tasks import TASKS, resize, task_named
from tests.synthesis.pretrained.conftest import (
    CHANNELS,
    NAMES,
    SIDE,
    SIDE_PX,
    Folder,
    Open,
    drawn_by_diffusers,
    packed_for,
)

# diffusers' Euler scheduler makes an array of a tensor as numpy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
EVERY = (*NAMES, "SD-v")


def pipeline_of(name: str, open_widened: Open, *, trained: bool = True) -> PretrainedPipeline:
    """A family's widened model; ``trained``, its new columns hold numbers and it knows every task."""
    backbone = open_widened(name)
    if trained:
        entry: Any = backbone.network.get_submodule(backbone.family.entry)
        torch.nn.init.normal_(entry.weight, std=0.1, generator=torch.Generator().manual_seed(5))
    return PretrainedPipeline(backbone, tasks=tuple(TASKS) if trained else ("text_to_image",), side_px=SIDE_PX)


def request(task: str = "text_to_image", *, px: int = SIDE_PX, **fields: Any) -> PictureRequest:
    """Four guided steps of one picture, from a random picture and a mask of its lower half where a task needs them."""
    numbers = np.random.default_rng(0).integers(0, 256, (px, px, 3), dtype=np.uint8)
    half = Image.new("L", (px, px))
    half.paste(255, (0, px // 2, px, px))
    needs = task_named(task)
    given = {"images": (Image.fromarray(numbers),)} if needs.needs_picture else {}
    given |= {"masks": (half,)} if needs.needs_mask else {}
    drawn = {"num_inference_steps": 4, "guidance_scale": 3.0}
    return PictureRequest(**({"prompts": ("a dog",), "seeds": (7,), "task": task} | drawn | given | fields))


@pytest.mark.parametrize("name", EVERY)
def test_text_to_image_is_the_originals(name: str, original: Folder, open_widened: Open) -> None:
    stock = open_pipeline(str(original(name)))
    noise = seeded_noise((7,), (CHANNELS[name], SIDE, SIDE))
    true = drawn_by_diffusers(name, stock, noise, "a dog")
    *previews, last = pipeline_of(name, open_widened, trained=False).stream(request())
    torch.testing.assert_close(packed_for(name, stock, last.estimate), true, atol=1e-5, rtol=0)
    assert [preview.step for preview in previews] == [1, 2, 3] and last.final
    assert {picture.size for preview in previews for picture in preview.pictures()} == {(SIDE_PX, SIDE_PX)}
    assert max(float(preview.estimate.abs().max()) for preview in previews) > 1  # latents are not pictures: no clamp


def test_a_scheduler_that_takes_more_steps_than_asked_for_takes_them_all(original: Folder, open_widened: Open) -> None:
    stock = open_pipeline(str(original("SD")))
    stock.scheduler = PNDMScheduler(num_train_timesteps=1000, skip_prk_steps=True, steps_offset=1)
    noise = seeded_noise((7,), (CHANNELS["SD"], SIDE, SIDE))
    true = drawn_by_diffusers("SD", stock, noise, "a dog")
    pipeline = pipeline_of("SD", open_widened, trained=False)
    pipeline._backbone.scheduler = stock.scheduler
    *previews, last = pipeline.stream(request())
    assert [each.num_steps for each in (*previews, last)] == [5] * 5 and last.final
    torch.testing.assert_close(packed_for("SD", stock, last.estimate), true, atol=1e-5, rtol=0)


def test_a_scheduler_that_adds_noise_draws_the_same_from_the_same_seed(open_widened: Open) -> None:
    pipeline = pipeline_of("SDXL", open_widened, trained=False)
    pipeline._backbone.scheduler = EulerAncestralDiscreteScheduler(num_train_timesteps=1000)
    first, again, other = (list(pipeline.stream(request(seeds=(seed,))))[-1].estimate for seed in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_task_draws_from_what_it_is_given(name: str, open_widened: Open) -> None:
    pipeline = pipeline_of(name, open_widened)
    other = Image.new("RGB", (SIDE_PX, SIDE_PX), "teal")
    for task in TASKS:
        *_, one = pipeline.stream(request(task))
        assert one.estimate.isfinite().all() and one.pictures()[0].size == (SIDE_PX, SIDE_PX)
        if task_named(task).needs_picture:
            *_, two = pipeline.stream(request(task, images=(other,)))
            assert not torch.equal(one.estimate, two.estimate)


def test_outside_the_mask_stands_what_was_given(open_widened: Open) -> None:
    asked = request("inpainting")
    *_, last = pipeline_of("SD", open_widened).stream(asked)
    drawn, given = np.asarray(last.pictures()[0]), np.asarray(asked.images[0])
    half = SIDE_PX // 2
    assert np.array_equal(drawn[:half], given[:half]) and not np.array_equal(drawn[half:], given[half:])


@pytest.mark.parametrize("name", EVERY)
def test_a_redrawing_of_hardly_any_strength_is_the_picture(name: str, open_widened: Open) -> None:
    pipeline = pipeline_of(name, open_widened, trained=False)
    pipeline.tasks = tuple(TASKS)
    asked = request("image_to_image", strength=0.001, num_inference_steps=200, guidance_scale=1.0)
    (only,) = pipeline.stream(asked)
    clean = pipeline._backbone.codec.encode(to_numbers(asked.images, SIDE_PX))
    assert (only.num_steps, only.final) == (1, True)
    assert float((only.estimate - clean).square().mean().sqrt()) < 0.1
    steps = list(pipeline.stream(request("image_to_image", strength=0.5)))
    assert [progress.num_steps for progress in steps] == [2, 2]


def test_a_picture_that_is_small_already_is_shown_as_it_is(open_widened: Open) -> None:
    pipeline = pipeline_of("SD", open_widened)
    asked = request("super_resolution", px=SIDE_PX // 2)
    seen = pipeline._condition(asked, *pipeline._pictures(asked)).source
    stretched = resize(to_numbers(asked.images, SIDE_PX // 2), SIDE_PX)
    torch.testing.assert_close(seen, pipeline._backbone.codec.encode(stretched))


def test_what_it_cannot_draw_is_refused(open_widened: Open, original: Folder, tmp_path: Path) -> None:
    plain = pipeline_of("FLUX", open_widened, trained=False)
    with pytest.raises(SynthesisError, match="task 'edges' was not learnt by this model: it knows text_to_image"):
        plain.stream(request("edges"))
    with pytest.raises(SynthesisError, match="tell the style in the prompt"):
        plain.stream(request(style="noto"))
    with pytest.raises(SynthesisError, match=f"does not draw 4096 px a side: it draws {plain.picture_px}"):
        plain.stream(request(height=4096))
    with pytest.raises(SynthesisError, match="cannot be worn by a pretrained FLUX model"):
        plain.load_brand(tmp_path, "acme")
    with pytest.raises(SynthesisError, match="is a StableDiffusionPipeline: atelier generate and"):
        MultiTaskPipeline.load(original("SD"))
