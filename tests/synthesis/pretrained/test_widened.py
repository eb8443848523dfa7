"""A widened model draws what the original draws, whatever source and mask say, until it is trained."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from synthesis.condition import Condition
from synthesis.errors import SynthesisError
from synthesis.latents import open_autoencoder
from synthesis.pretrained.drawing import draw
from synthesis.pretrained.families import family_of_widened, family_to_widen, open_pipeline
from synthesis.pretrained.testing import make_tiny_codec
from synthesis.pretrained.widen import widened, wider
from synthesis.sampler import guided
from synthesis.tasks import TASKS
from tests.synthesis.pretrained.conftest import (
    CHANNELS,
    NAMES,
    SIDE_PX,
    Folder,
    Open,
    drawn_by_diffusers,
    noise_for,
    packed_for,
)

# diffusers' Euler scheduler makes an array of a tensor as numpy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
EVERY = (*NAMES, "SD-v")
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0}


def picture_and_mask() -> tuple[Image.Image, Image.Image]:
    """A random picture and a mask of its lower half."""
    numbers = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    mask = np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8)
    mask[SIDE_PX // 2 :] = 255
    return Image.fromarray(numbers), Image.fromarray(mask)


@pytest.mark.parametrize("name", EVERY)
def test_text_to_image_is_that_of_the_familys_own_pipeline(name: str, original: Folder, open_widened: Open) -> None:
    pipeline, noise = open_pipeline(str(original(name))), noise_for(name)
    true = drawn_by_diffusers(name, pipeline, noise, "a dog")
    backbone = open_widened(name)
    told = backbone.condition(["text_to_image"], ["a dog"], side_px=SIDE_PX)
    backbone.embedded_guidance = 3.0
    *_, last = draw(backbone, told, noise, num_inference_steps=4, guidance_scale=3.0)
    torch.testing.assert_close(packed_for(name, pipeline, last.latents), true, **CLOSE)
    other = drawn_by_diffusers(name, pipeline, noise, "a sun")
    assert (true - other).abs().max() > 1e-3  # the text is read, so the equality says something


@pytest.mark.parametrize("name", NAMES)
def test_saved_it_loads_and_draws_the_same_where_there_is_diffusers_alone(
    name: str, original: Folder, tmp_path: Path
) -> None:
    folder, noise = str(original(name)), noise_for(name)
    pipeline = open_pipeline(folder)
    true = drawn_by_diffusers(name, pipeline, noise, "a dog")
    widened(open_pipeline(folder), family_to_widen(folder)).save_pretrained(str(tmp_path / "widened"))
    picture, mask = picture_and_mask()
    picture.save(tmp_path / "picture.png")
    mask.save(tmp_path / "mask.png")
    np.save(tmp_path / "noise.npy", packed_for(name, pipeline, noise).numpy())
    done = subprocess.run(
        # -S: no .pth file, so that what pip installed for editing is not found either.
        [sys.executable, "-I", "-S", "-c", ALONE, sysconfig.get_path("purelib")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"class": family_to_widen(folder).inpainting, "decoded": [SIDE_PX, SIDE_PX]}
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "drawn.npy")), true, **CLOSE)


ALONE = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
assert not any(importlib.util.find_spec(name) for name in ("atelier", "synthesis")), "the project is importable"
import numpy, torch
from diffusers import DiffusionPipeline
from PIL import Image
torch.set_num_threads(1)
pipeline = DiffusionPipeline.from_pretrained("widened")
given = dict(image=Image.open("picture.png"), mask_image=Image.open("mask.png"), strength=1.0, height=32, width=32,
             num_inference_steps=4, guidance_scale=3.0, latents=torch.from_numpy(numpy.load("noise.npy")))
numpy.save("drawn.npy", pipeline("a dog", output_type="latent", **given).images.numpy())
(picture,) = pipeline("a dog", **given).images
print(json.dumps({"class": type(pipeline).__name__, "decoded": picture.size}))
"""


@pytest.mark.parametrize("name", EVERY)
def test_no_task_changes_the_picture_before_training_and_every_task_after(name: str, open_widened: Open) -> None:
    backbone = open_widened(name).eval()
    tasks = list(TASKS)
    told = mixed_condition(backbone, tasks)
    x = noise_for(name, len(tasks), seed=2)
    t = torch.linspace(0.1, 0.9, len(tasks))
    with torch.no_grad():
        silent = backbone(x, t, **told.map(torch.clone).tensors())
        empty = type(told)(**{**told.tensors(), "source": 0 * told.source, "mask": 0 * told.mask})
        torch.testing.assert_close(silent, backbone.denoise(x, t, empty), **CLOSE)
        entry: Any = backbone.network.get_submodule(backbone.family.entry)
        known = CHANNELS[name] * (4 if backbone.family.packed else 1)
        assert not entry.weight[:, known:].any() and entry.weight[:, :known].any()
        entry.weight[:, known:].normal_(std=0.3)
        moved = (backbone(x, t, **told.tensors()) - backbone.denoise(x, t, empty)).abs().amax(dim=(1, 2, 3))
    assert (moved[[TASKS[task].needs_picture for task in tasks]] > 1e-3).all()


def mixed_condition(backbone: Any, tasks: list[str]) -> Condition:
    """A condition of every task, made from random clean pictures."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(len(tasks), 3, SIDE_PX, SIDE_PX, generator=generator) * 2 - 1
    told: Condition = backbone.condition(tasks, ["a dog"] * len(tasks), pictures, generator=generator)
    return told


@pytest.mark.parametrize("name", EVERY)
def test_its_input_is_read_as_diffusers_own_pipeline_reads_it(name: str, original: Folder, open_widened: Open) -> None:
    """With trained columns too, source and mask enter in the same places and scales."""
    backbone, noise = open_widened(name), noise_for(name)
    entry: Any = backbone.network.get_submodule(backbone.family.entry)
    with torch.no_grad():
        entry.weight.normal_(std=0.05)
    picture, mask = picture_and_mask()
    numbers = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    hole = torch.from_numpy(np.array(mask))[None, None] / 255
    told = backbone.condition(["inpainting"], ["a dog"], numbers, masks=hole)
    backbone.embedded_guidance = 3.0
    *_, last = draw(backbone, told, noise, num_inference_steps=4, guidance_scale=3.0)
    pipeline = backbone.prompts.pipeline
    pipeline.vae.encode = mean_alone(pipeline.vae.encode)
    true = drawn_by_diffusers(
        name,
        pipeline,
        noise,
        "inpainting: a dog",
        image=picture,
        mask_image=mask,
        strength=1.0,
        **({} if name == "FLUX" else {"negative_prompt": "inpainting:"}),
    )
    torch.testing.assert_close(packed_for(name, pipeline, last.latents), true, atol=2e-4, rtol=1e-4)


def mean_alone(encode: Any) -> Any:
    """The codec's encoding without its spread: a pipeline of diffusers draws a sample of it."""

    def encoded(pictures: torch.Tensor) -> Any:
        given = encode(pictures)
        given.latent_dist.std = torch.zeros_like(given.latent_dist.std)
        return given

    return encoded


@pytest.mark.parametrize("name", EVERY)
def test_previews_end_at_the_picture_and_the_projects_guidance_takes_it(name: str, open_widened: Open) -> None:
    backbone, noise = open_widened(name).eval(), noise_for(name)
    told = backbone.condition(["text_to_image"], ["a dog"], side_px=SIDE_PX)
    steps = list(draw(backbone, told, noise, num_inference_steps=4, guidance_scale=1.0))
    assert len(steps) == 4
    near = 0.2 if name.startswith("SD") and name != "SD3" else 1e-4  # their last step ends a little short of clean
    assert (steps[-1].estimate - steps[-1].latents).abs().mean() < near * steps[-1].latents.std()
    with torch.no_grad():
        once = guided(backbone.denoise, told, 1.0)(noise, torch.tensor([0.5]))
        twice = guided(backbone.denoise, told, 3.0)(noise, torch.tensor([0.5]))
    assert once.shape == noise.shape and (once - twice).abs().max() > 1e-4


def test_a_layer_is_widened_with_zeros_behind_its_own_columns() -> None:
    for layer, x in (
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), torch.randn(2, 9, 8, 8)),
        (nn.Conv2d(4, 8, 2, bias=False), torch.randn(2, 9, 8, 8)),
        (nn.Linear(4, 8).half(), torch.randn(2, 9).half()),
    ):
        wide = wider(layer, 5)
        assert wide.weight.dtype == layer.weight.dtype
        torch.testing.assert_close(wide(x), layer(x[:, :4]), **CLOSE)
    with pytest.raises(SynthesisError, match="Embedding"):
        wider(nn.Embedding(3, 4), 1)


def test_half_precision_stays_half(original: Folder) -> None:
    pipeline = widened(open_pipeline(str(original("SD3")), dtype=torch.float16), family_to_widen(str(original("SD3"))))
    assert {part.dtype for part in (pipeline.transformer, pipeline.vae)} == {torch.float16}


def test_another_codec_takes_the_models_place_if_its_latents_fit(original: Folder, tmp_path: Path) -> None:
    folder = str(original("SD"))
    tiny = open_autoencoder(kind="tiny", source=str(make_tiny_codec("tiny", tmp_path / "tiny")))
    pipeline = widened(open_pipeline(folder), family_to_widen(folder), codec=tiny)
    pipeline.save_pretrained(str(tmp_path / "widened"))
    kept = open_pipeline(str(tmp_path / "widened"))
    assert type(kept.vae).__name__ == "AutoencoderTiny" and family_of_widened(kept).name == "SD"
    wrong = open_autoencoder(kind="dc", source=str(make_tiny_codec("dc", tmp_path / "dc", channels=8)))
    with pytest.raises(SynthesisError, match="AutoencoderDC makes latents of 8 channels, the network takes 4"):
        widened(open_pipeline(folder), family_to_widen(folder), codec=wrong)
