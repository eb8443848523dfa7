"""Sources of style transfer that no set drew."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from synthesis.control import luminance
from training.restyle import restyled, turned


def red_disc(count: int) -> Tensor:
    place = torch.linspace(-1, 1, 64)
    inside = (place[:, None].square() + place.square()) < 0.4
    picture = torch.ones(3, 64, 64)
    picture[:, inside] = torch.tensor([0.6, -0.7, -0.8])[:, None]
    return picture.expand(count, 3, 64, 64).contiguous()


def test_the_ground_stays_white_and_the_drawing_stays_where_it_is() -> None:
    clean = red_disc(64)
    changed = restyled(clean, Generator().manual_seed(0))
    ground = (clean == 1).all(1)
    eroded = torch.nn.functional.avg_pool2d(ground.float(), 7, 1, 3) == 1  # lines are a few pixels wide
    assert (changed.permute(0, 2, 3, 1)[eroded] > 0.99).all()
    assert ((luminance(changed)[:, 0] < 0.99) & ~ground).flatten(1).any(1).all()
    assert changed.abs().max() <= 1


def test_looks_differ_between_pictures_and_follow_the_generator() -> None:
    clean = red_disc(32)
    changed = restyled(clean, Generator().manual_seed(1))
    assert len({round(float(each.mean()), 4) for each in changed}) > 8
    assert torch.equal(changed, restyled(clean, Generator().manual_seed(1)))


def test_turned_colours_keep_their_mean_and_greys() -> None:
    clean = 0.4 * red_disc(8)
    changed = turned(clean, Generator().manual_seed(0))
    assert torch.allclose(changed.mean(1), clean.mean(1), atol=1e-5)
    assert not torch.allclose(changed, clean, atol=0.05)
