"""The pipeline: a folder that draws, the same picture whatever the batch, and clear words when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image, ImageDraw

from synthesis.errors import SynthesisError
from synthesis.pipeline import MultiTaskPipeline
from synthesis.request import PictureRequest
from synthesis.tasks import STARTING_TASKS, TASKS
from synthesis.testing import make_tiny_pipeline

if TYPE_CHECKING:
    from tests.synthesis.conftest import MakeBrand


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def mask() -> Image.Image:
    drawn = Image.new("L", (64, 64))
    ImageDraw.Draw(drawn).ellipse((10, 20, 40, 50), fill=255)
    return drawn


def needs(task: str, count: int = 1) -> dict[str, Any]:
    fields: dict[str, Any] = {"task": task, "num_inference_steps": 3}
    if TASKS[task].needs_picture:
        fields["images"] = tuple(picture(number) for number in range(count))
    if TASKS[task].needs_mask:
        fields["masks"] = (mask(),) * count
    return fields


def drawn(pipeline: MultiTaskPipeline, **fields: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(image) for image in pipeline("a red cat", **fields).images]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_draws_a_picture_and_the_same_one_again(pipeline: MultiTaskPipeline, task: str) -> None:
    (first,), (again,) = drawn(pipeline, **needs(task)), drawn(pipeline, **needs(task))
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    (other,) = drawn(pipeline, seed=1, **needs(task))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_does_not_depend_on_its_batch(pipeline: MultiTaskPipeline, task: str) -> None:
    fields = needs(task, 3) | {"prompts": ("a cat", "", "two long words"), "seeds": (5, 6, 7)}
    *_, together = pipeline.stream(PictureRequest(**fields))
    for row in range(3):
        *_, alone = pipeline.stream(PictureRequest(**fields).part(row, row + 1))
        difference = (alone.estimate[0] - together.estimate[row]).abs().max()
        assert difference < 1e-4


def test_saved_and_loaded_it_draws_the_same_bytes(pipeline: MultiTaskPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    again = MultiTaskPipeline.load(tmp_path)
    for task in TASKS:
        assert np.array_equal(drawn(again, **needs(task)), drawn(pipeline, **needs(task)))
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_the_folder_is_in_diffusers_own_layout(base: Path) -> None:
    index = json.loads((base / "model_index.json").read_text())
    assert index["_class_name"] == "MultiTaskPipeline"
    assert index["transformer"] == ["synthesis.backbone", "MultiTaskTransformer"]
    assert index["scheduler"] == ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(str(base), subfolder="scheduler")
    assert scheduler.config.num_train_timesteps == 1000


@pytest.mark.parametrize("task", ["inpainting", "outpainting"])
def test_outside_the_mask_every_pixel_is_the_sources_at_every_step(pipeline: MultiTaskPipeline, task: str) -> None:
    kept = np.asarray(mask()) < 128
    request = PictureRequest(prompts=("a",), seeds=(0,), **needs(task))
    for progress in pipeline.stream(request):
        (image,) = progress.pictures()
        assert np.array_equal(np.asarray(image)[kept], np.asarray(picture())[kept])
        assert not np.array_equal(np.asarray(image)[~kept], np.asarray(picture())[~kept])


@pytest.mark.parametrize(("steps", "held"), [(1, 1), (4, 3)])
def test_a_palette_is_held_in_every_step_but_the_last_of_several(
    pipeline: MultiTaskPipeline, steps: int, held: int
) -> None:
    strip = Image.new("RGB", (640, 80), "red")  # no part of it is padding
    told = PictureRequest(prompts=("a",), seeds=(0,), task="palette", images=(strip,), num_inference_steps=steps)
    pictures = [np.asarray(progress.pictures()[0], int) for progress in pipeline.stream(told)]
    reds = [bool((np.abs(each - (255, 0, 0)) <= 8).all()) for each in pictures]
    assert reds == [True] * held + [False] * (steps - held)


@pytest.mark.parametrize("task", STARTING_TASKS)
@pytest.mark.parametrize(("strength", "steps"), [(1.0, 10), (0.8, 8), (0.34, 3), (0.0, 1)])
def test_strength_says_how_many_steps_are_taken(
    pipeline: MultiTaskPipeline, task: str, strength: float, steps: int
) -> None:
    fields = needs(task) | {"num_inference_steps": 10, "strength": strength}
    told = list(pipeline.stream(PictureRequest(prompts=("a",), seeds=(0,), **fields)))
    assert [progress.step for progress in told] == list(range(1, steps + 1))
    assert {progress.num_steps for progress in told} == {steps}
    assert [progress.final for progress in told] == [False] * (steps - 1) + [True]


def test_strength_is_of_no_account_to_other_tasks(pipeline: MultiTaskPipeline) -> None:
    full, weak = (drawn(pipeline, strength=strength, **needs("super_resolution")) for strength in (1.0, 0.1))
    assert np.array_equal(full, weak)


def test_what_is_asked_reaches_the_picture(pipeline: MultiTaskPipeline) -> None:
    plain = drawn(pipeline, num_inference_steps=2)
    for fields in ({"style": "noto"}, {"background": "#000000"}, {"guidance_scale": 1.0}, {"num_inference_steps": 4}):
        assert not np.array_equal(drawn(pipeline, **({"num_inference_steps": 2} | fields)), plain), fields


def test_it_says_what_it_is(pipeline: MultiTaskPipeline) -> None:
    assert (pipeline.picture_px, pipeline.styles, pipeline.brands) == (64, ("noto", "twemoji"), ())
    assert pipeline.tasks == tuple(TASKS)
    assert not any(parameter.requires_grad for parameter in pipeline.transformer.parameters())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"style": "cubist"}, "style 'cubist' is unknown: there are noto, twemoji"),
    ({"brand": "acme"}, "brand 'acme' is not loaded: there are none"),
    ({"task": "colouring"}, "task 'colouring' is unknown: the tasks are text_to_image"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_names_that_it_does_not_know_are_answered_with_those_it_does(
    pipeline: MultiTaskPipeline, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(SynthesisError, match=message):
        pipeline("a cat", **fields)


def test_a_check_comes_before_the_first_step(pipeline: MultiTaskPipeline) -> None:
    with pytest.raises(SynthesisError, match="is unknown"):
        pipeline.stream(PictureRequest(prompts=("a",), seeds=(0,), style="cubist"))


def test_a_missing_brand_is_answered_with_the_loaded_ones(pipeline: MultiTaskPipeline, make_brand: MakeBrand) -> None:
    pipeline.load_brand(make_brand(), "zeta")
    with pytest.raises(SynthesisError, match="brand 'acme' is not loaded: there are zeta"):
        pipeline("a cat", brand="acme")
    with pytest.raises(SynthesisError, match="brand 'acme' is not loaded: there are zeta"):
        pipeline.unload_brand("acme")


def test_a_task_that_the_backbone_did_not_learn_is_refused(pipeline: MultiTaskPipeline) -> None:
    pipeline.transformer.register_to_config(tasks=("text_to_image",))
    with pytest.raises(SynthesisError, match="did not learn the task inpainting: there are text_to_image"):
        pipeline("a cat", **needs("inpainting"))


def test_a_folder_that_is_missing_or_no_backbone_is_said_so(tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SynthesisError, match=f"{folder} is not a backbone: it has no model_index.json"):
            MultiTaskPipeline.load(folder)


def spoil_weights(folder: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-64])


def spoil_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def lose_weights(folder: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.unlink()


def spoil_sizes(folder: Path) -> None:
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"width": 33}))


@pytest.mark.parametrize("spoil", [spoil_weights, spoil_index, lose_weights, spoil_sizes])
def test_a_broken_backbone_is_one_line(tmp_path: Path, spoil: Any) -> None:
    folder = make_tiny_pipeline(tmp_path / "backbone")
    spoil(folder)
    with pytest.raises(SynthesisError, match=f"backbone {folder} does not load: .") as refusal:
        MultiTaskPipeline.load(folder)
    assert "\n" not in str(refusal.value)
