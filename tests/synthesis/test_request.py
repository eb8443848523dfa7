"""What a request refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atelier import AtelierError
from synthesis.errors import SynthesisError
from synthesis.request import LARGEST_SEED, PictureRequest

PICTURE = Image.new("RGB", (64, 64))
MASK = Image.new("L", (64, 64))


def request(**fields: Any) -> PictureRequest:
    return PictureRequest(**({"prompts": ("a cat",), "seeds": (0,)} | fields))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompts": (), "seeds": ()}, "0 prompts and 0 seeds: give as many of each, one or more"),
    ({"prompts": ("a", "b")}, "2 prompts and 1 seeds: give as many of each, one or more"),
    ({"seeds": (-1,)}, f"seeds (-1,) must be whole numbers from 0 to {LARGEST_SEED}"),
    ({"seeds": (LARGEST_SEED + 1,)}, f"must be whole numbers from 0 to {LARGEST_SEED}"),
    ({"task": "paint"}, "task 'paint' is unknown: the tasks are text_to_image, image_to_image"),
    ({"task": "inpainting", "masks": (MASK,)}, "task inpainting needs one of images for each prompt: 0 for 1"),
    ({"task": "inpainting", "images": (PICTURE,)}, "task inpainting needs one of masks for each prompt: 0 for 1"),
    ({"task": "image_to_image", "images": (PICTURE, PICTURE)}, "needs one of images for each prompt: 2 for 1"),
    ({"images": (PICTURE,)}, "task text_to_image takes no images: leave them out or choose another task"),
    ({"task": "super_resolution", "images": (PICTURE,), "masks": (MASK,)}, "task super_resolution takes no masks"),
    ({"strength": 1.5}, "strength 1.5 must lie in 0.0 to 1.0"),
    ({"strength": float("nan")}, "strength nan must lie in 0.0 to 1.0"),
    ({"num_inference_steps": 0}, "num_inference_steps 0 must lie in 1 to 200"),
    ({"num_inference_steps": 201}, "num_inference_steps 201 must lie in 1 to 200"),
    ({"guidance_scale": -0.1}, "guidance_scale -0.1 must lie in 0.0 to 30.0"),
    ({"guidance_scale": 31}, "guidance_scale 31 must lie in 0.0 to 30.0"),
    ({"num_refinement_steps": -1}, "num_refinement_steps -1 must lie in 0 to 200"),
    ({"height": 256, "width": 128}, "height 256 and width 128 px differ: pictures are square"),
    ({"background": "white"}, "background 'white' must be a colour like #ffffff"),
    ({"background": "#fff"}, "background '#fff' must be a colour like #ffffff"),
    ({"background": "#ffffff\n"}, "must be a colour like #ffffff"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_it_is_refused_with_what_would_be_right(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SynthesisError) as refusal:
        request(**fields)
    assert message in str(refusal.value) and isinstance(refusal.value, AtelierError)


@given(
    count=st.integers(1, 4),
    steps=st.integers(1, 200),
    strength=st.floats(0, 1),
    guidance_scale=st.floats(0, 30),
    seed=st.integers(0, LARGEST_SEED),
)
def test_values_in_range_are_taken(count: int, steps: int, strength: float, guidance_scale: float, seed: int) -> None:
    made = request(
        prompts=("",) * count,
        seeds=(seed,) * count,
        num_inference_steps=steps,
        strength=strength,
        guidance_scale=guidance_scale,
    )
    assert made.num_inference_steps == steps


def test_one_side_is_enough_and_none_is_the_networks_own() -> None:
    assert request().side_px is None
    assert {request(**sides).side_px for sides in ({"height": 128}, {"width": 128}, {"height": 128, "width": 128})} == {
        128
    }


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_the_ground_is_the_backgrounds_channels(channels: tuple[int, int, int]) -> None:
    made = request(background="#{:02x}{:02X}{:02x}".format(*channels))
    assert [round(255 * channel) for channel in made.ground] == list(channels)


def test_a_part_is_the_same_request_for_some_of_the_pictures() -> None:
    three = {"prompts": ("a", "b", "c"), "seeds": (1, 2, 3), "images": (PICTURE,) * 3, "masks": (MASK,) * 3}
    part = request(task="inpainting", **three).part(1, 3)
    assert (part.prompts, part.seeds, part.task) == (("b", "c"), (2, 3), "inpainting")
    assert len(part.images) == len(part.masks) == 2
