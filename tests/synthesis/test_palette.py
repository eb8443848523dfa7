"""A drawing held to a palette: every colour as often as it is asked for, whatever the network draws."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from synthesis.control import Palette
from synthesis.palette import LEAST_NOISE, carried, colours_of, held_to, noise_left_alone


def noise(count: int, side_px: int = 64) -> Tensor:
    return 2 * torch.rand(count, 3, side_px, side_px, generator=Generator().manual_seed(1)) - 1


def test_colours_of_a_mosaic_are_those_it_was_painted_with() -> None:
    picture = noise(2)
    for side_px in (64, 128, 100):
        mosaic = torch.nn.functional.interpolate(Palette().map_of(picture), (side_px, side_px), mode="nearest")
        assert torch.equal(colours_of(mosaic), colours_of(Palette().map_of(picture)))


def test_each_colour_comes_as_often_as_the_palette_says() -> None:
    red, white = torch.tensor([0.8, -0.8, -0.8]), torch.ones(3)
    colours = torch.stack([red] * 16 + [white] * 48, dim=1)[None]
    made = carried(noise(1), colours).flatten(2)[0].T
    near_red = ((made - red).norm(dim=1) < 0.3).float().mean()
    near_white = ((made - white).norm(dim=1) < 0.3).float().mean()
    assert abs(near_red - 0.25) < 0.03 and abs(near_white - 0.75) < 0.03


def test_what_a_flat_ground_must_give_up_lies_around_the_drawing() -> None:
    place = torch.linspace(-1, 1, 64)
    inside = ((place[:, None] - 0.2).square() + (place + 0.1).square()) < 0.15
    blue, red = torch.tensor([-0.8, -0.8, 0.8]), torch.tensor([0.8, -0.8, -0.8])
    drawn = torch.ones(1, 3, 64, 64)
    drawn[0, :, inside] = blue[:, None]
    colours = torch.stack([red] * 26 + [torch.ones(3)] * 38, dim=1)[None]
    reds = carried(drawn, colours)[0].permute(1, 2, 0)[..., 1] < 0
    assert abs(float(reds.float().mean()) - 26 / 64) < 0.05
    assert reds[inside].float().mean() > 0.95
    assert reds[:8].float().mean() < 0.1


def test_a_picture_in_its_own_colours_stays_as_it_is() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, :, :32] = 1
    made = carried(picture, colours_of(picture))
    assert (made - picture).abs().max() < 1e-4


def test_the_last_step_is_the_networks_own_unless_it_is_the_only_one() -> None:
    assert noise_left_alone(torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])) > 0.25
    assert noise_left_alone(torch.linspace(1, 0, 31)) == LEAST_NOISE
    assert noise_left_alone(torch.tensor([1.0, 0.0])) == 0


def test_an_estimate_is_held_until_little_noise_is_left() -> None:
    grey = torch.zeros(1, 3, 64)
    held = held_to(lambda x, t: x, grey)
    drawn = noise(1)
    assert held(drawn, torch.tensor([1 - 2 * LEAST_NOISE])).abs().max() < 0.05
    assert torch.equal(held(drawn, torch.tensor([1 - LEAST_NOISE / 2])), drawn)
