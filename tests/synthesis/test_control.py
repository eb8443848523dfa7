"""Control pictures say what is in a picture, and only that: edges its outlines, a palette its colours, no places."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from synthesis.control import Edges, Palette, Shading, Sketch, blurred, foreground, luminance, thinned_gradient
from synthesis.tasks import TASKS

SIDE = 64
CONTROLS = (Edges(), Sketch(), Shading(), Palette())
every_control = pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)


def square(colour: tuple[float, float, float] = (1.0, -1.0, -1.0), begin: int = 16, end: int = 48) -> Tensor:
    """A square of one colour on white [1,3,64,64]."""
    picture = torch.ones(1, 3, SIDE, SIDE)
    picture[0, :, begin:end, begin:end] = torch.tensor(colour)[:, None, None]
    return picture


def disc() -> Tensor:
    """A blue disc on white [1,3,64,64]."""
    at = torch.arange(SIDE) - 31.5
    inside = (at[:, None].square() + at.square() < 24**2)[None, None]
    return torch.where(inside, torch.tensor([-1.0, -1.0, 0.8]).view(1, 3, 1, 1), torch.ones(1, 3, 1, 1))


def near(lines: Tensor, reach: int = 1) -> Tensor:
    """Lines widened by a reach in pixels."""
    return torch.nn.functional.max_pool2d(lines.float(), 2 * reach + 1, 1, reach) > 0


def test_edges_are_the_outline_of_a_square_and_nothing_else() -> None:
    lines = Edges().map_of(square())[:, :1] > 0
    outline = torch.zeros(1, 1, SIDE, SIDE)
    outline[0, 0, 15:49, 15:49] = 1
    outline[0, 0, 17:47, 17:47] = 0
    assert (lines <= (outline > 0)).all()
    assert (near(lines) >= (outline[..., 16:48, 16:17] > 0).any()).any()
    assert 4 * 30 <= int(lines.sum()) <= 4 * 68


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.transpose(-1, -2)], ids=["mirror", "transpose"])
def test_edges_turn_with_the_picture(turn: object) -> None:
    picture = disc()
    one = Edges().map_of(turn(picture))[:, :1] > 0  # type: ignore[operator]
    other = turn(Edges().map_of(picture)[:, :1] > 0)  # type: ignore[operator]
    assert (one & near(other)).sum() == one.sum() and (other & near(one)).sum() == other.sum()


def test_a_flat_picture_has_no_edges_and_no_relief() -> None:
    flat = torch.full((2, 3, SIDE, SIDE), 0.3)
    assert (Edges().map_of(flat) == -1).all() and (Shading().map_of(flat) == -1).all()
    assert (Sketch().map_of(flat) == 1).all()
    assert foreground(flat).sum() == 0


def test_shading_is_black_outside_and_highest_in_the_middle() -> None:
    relief = Shading().map_of(disc())[0, 0]
    assert relief[0, 0] == -1 and relief[2, 60] == -1
    assert relief[32, 32] > relief[32, 12] > -1
    assert float(relief.max()) <= float(relief[28:36, 28:36].max()) + 1e-6


def test_a_palette_holds_colours_of_the_picture_from_dark_to_light_and_forgets_places() -> None:
    picture = square((1.0, -1.0, -1.0))
    shown = Palette().map_of(picture)
    cells = shown[:, :, 4::8, 4::8].flatten(2)
    colours = {tuple(cell.tolist()) for cell in cells[0].T}
    assert colours == {(1.0, -1.0, -1.0), (1.0, 1.0, 1.0)}
    assert (luminance(cells[..., None]).flatten().diff() >= 0).all()
    elsewhere = torch.roll(picture, (8, -8), dims=(2, 3))
    assert torch.equal(Palette().map_of(elsewhere), shown)


@every_control
def test_a_control_made_without_chance_is_steady_and_in_range(control: Edges) -> None:
    shown = control.map_of(disc())
    assert shown.shape == (1, 3, SIDE, SIDE) and shown.abs().max() <= 1
    assert torch.equal(shown, control.map_of(disc()))


@every_control
def test_a_control_picture_that_a_person_gives_is_used_as_it_is(control: Edges) -> None:
    assert TASKS[control.name] == control
    given = torch.rand(2, 3, SIDE, SIDE, generator=Generator().manual_seed(0)) * 2 - 1
    source, mask = control.condition(given, mask=None, generator=None)
    assert torch.equal(source, given) and not mask.any()


def test_a_sketch_is_bent_and_broken_by_chance() -> None:
    one, two = (Sketch().map_of(disc(), Generator().manual_seed(seed)) for seed in (0, 1))
    assert (one - two).abs().mean() > 0.005
    dark = (one[:, :1] < 0.5) & near(Sketch().map_of(disc())[:, :1] < 0.5, 3)
    assert int(dark.sum()) > 0.9 * int((one[:, :1] < 0.5).sum())


def test_a_gradient_is_thin() -> None:
    strength, thin = thinned_gradient(disc())
    lines = (strength * thin > 0.12)[0, 0]
    assert int(lines.sum()) < 1.6 * 2 * torch.pi * 24


def test_a_blur_keeps_a_flat_picture_and_the_mean_of_what_is_far_from_edges() -> None:
    assert torch.allclose(blurred(torch.full((1, 1, 16, 16), 0.4), 3), torch.tensor(0.4))
    spot = torch.zeros(1, 1, 33, 33)
    spot[0, 0, 16, 16] = 1
    assert torch.allclose(blurred(spot, 3).sum(), torch.tensor(1.0))
