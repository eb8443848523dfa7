"""Pictures to numbers and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthesis.pixels import lines_to_numbers, square, to_mask, to_numbers, to_pictures

SIDE = 64


def noisy(mode: str = "RGB", size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(array.squeeze(-1) if channels == 1 else array, mode=None)


@given(seed=st.integers(0, 999), count=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_pictures_of_the_right_size_come_back_exactly(seed: int, count: int) -> None:
    pictures = [noisy(seed=seed + number) for number in range(count)]
    numbers = to_numbers(pictures, SIDE)
    assert numbers.shape == (count, 3, SIDE, SIDE) and numbers.min() >= -1 and numbers.max() <= 1
    assert [picture.tobytes() for picture in to_pictures(numbers)] == [picture.tobytes() for picture in pictures]


@pytest.mark.parametrize("side_px", [64, 100, 128, 512])
def test_a_thin_line_keeps_its_strength_when_it_is_shrunk(side_px: int) -> None:
    picture = Image.new("RGB", (side_px, side_px), "black")
    picture.paste("white", (side_px // 2, 0, side_px // 2 + 1, side_px))
    line = lines_to_numbers([picture], SIDE)[0, :, :, SIDE // 2]
    assert line.shape == (3, SIDE) and line.min() > 0.7
    assert side_px < 128 or to_numbers([picture], SIDE)[0, :, :, SIDE // 2].max() < 0.3


def test_lines_of_the_right_size_come_as_they_are() -> None:
    pictures = [noisy(seed=seed) for seed in range(2)]
    assert torch.equal(lines_to_numbers(pictures, SIDE), to_numbers(pictures, SIDE))


def test_every_value_comes_back_exactly() -> None:
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 256, 3)))
    assert to_pictures(to_numbers([ramp], 256))[0].tobytes() == ramp.tobytes()


def test_what_lies_outside_the_range_is_clipped() -> None:
    (picture,) = to_pictures(torch.tensor([-7.0, 0.0, 7.0]).view(1, 3, 1, 1))
    assert picture.getpixel((0, 0)) == (0, 128, 255)


@given(colour=st.tuples(*[st.integers(0, 255)] * 4), ground=st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=40, deadline=None)
def test_transparency_lets_the_ground_through(colour: tuple[int, int, int, int], ground: tuple[int, int, int]) -> None:
    (drawn,) = to_pictures(to_numbers([Image.new("RGBA", (4, 4), colour)], 4, ground))
    alpha = colour[3] / 255
    expected = [alpha * ink + (1 - alpha) * below for ink, below in zip(colour[:3], ground, strict=True)]
    np.testing.assert_allclose(np.asarray(drawn)[0, 0], expected, atol=1.01)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK"])
def test_pictures_of_any_mode_are_taken(mode: str) -> None:
    assert to_numbers([noisy().convert("L").convert(mode)], SIDE).shape == (1, 3, SIDE, SIDE)


@given(width=st.integers(1, 200), height=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_any_shape_fits_into_a_square_with_even_padding(width: int, height: int) -> None:
    board = np.asarray(square(Image.new("RGB", (width, height), (0, 0, 0)), SIDE, (255, 0, 0)))
    assert board.shape == (SIDE, SIDE, 3)
    padding = (board == (255, 0, 0)).all(-1)
    rows, columns = padding.all(1), padding.all(0)
    assert not (rows.any() and columns.any())  # the longer side fills the square
    for side in (rows, columns):
        before, after = np.argmin(side), np.argmin(side[::-1])
        assert abs(int(before) - int(after)) <= 1
    kept = SIDE - max(rows.sum(), columns.sum())
    assert kept == max(1, round(min(width, height) * (SIDE / max(width, height))))


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_masks_are_zeros_and_ones_white_being_one(seed: int) -> None:
    grey = noisy("L", seed=seed)
    mask = to_mask([grey], SIDE)
    assert mask.shape == (1, 1, SIDE, SIDE)
    np.testing.assert_array_equal(mask[0, 0].numpy(), np.asarray(grey) >= 128)


def test_the_padding_of_a_mask_is_kept() -> None:
    mask = to_mask([Image.new("1", (64, 32), 1)], SIDE)
    assert mask[0, 0, 16:48].all() and mask.sum() == 32 * 64
