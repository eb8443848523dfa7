"""The resident bank: what augmentation may change, and what stays as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Generator, Tensor

from atelier import PROJECT_ROOT
from data.bank import Augmentation, PictureBank, Placement, move, shrink, turn_hue
from data.dataset import Dataset, on_ground, open_dataset
from data.errors import DataError
from data.resident import StreamedLayers, lives_on_device, premultiplied
from tests.data.loading import write_dataset

SIDE = 64
STILL = Augmentation(placed_share=0, flip_share=0, hue_share=0, ground_share=0, black_ink_share=1)
WILD = Augmentation(placed_share=1, flip_share=0.5, hue_share=1, ground_share=1, black_ink_share=0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return the drawings that ship."""
    torch.set_num_threads(1)
    return open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")


@pytest.fixture(scope="module")
def chosen(dataset: Dataset) -> list[int]:
    """Return rows of subjects that recur, coloured and in one colour."""
    subjects = [record.subject for record in dataset.records]
    recurring = {subject for subject in subjects if subjects.count(subject) >= 4}
    keep = sorted(recurring)[:8]
    return [row for row, record in enumerate(dataset.records) if record.subject in keep]


@pytest.fixture(scope="module")
def bank(dataset: Dataset, chosen: list[int]) -> PictureBank:
    """Return the bank of those rows."""
    return PictureBank.of(dataset, chosen)


def placement(count: int = 1, **values: Any) -> Placement:
    zeros = torch.zeros(count)
    still = Placement(
        scale=zeros,
        shift=torch.zeros(count, 2),
        flip=zeros,
        hue=zeros,
        ground=torch.ones(count, 3),
        ink=torch.zeros(count, 3),
    )
    return replace(
        still, **{name: torch.tensor(value).expand_as(getattr(still, name)) for name, value in values.items()}
    )


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_an_unmoved_drawing_is_the_drawing_on_white(dataset: Dataset, chosen: list[int], bank: PictureBank) -> None:
    rows = torch.arange(len(chosen))
    drawn = bank.paint(rows, bank.place(rows, STILL, generator()), SIDE)
    for place, row in enumerate(chosen):
        picture = dataset.picture(row)
        if dataset.records[row].monochrome:  # only its alpha counts: it is the ink
            picture = Image.composite(
                Image.new("RGBA", picture.size, "black"), Image.new("RGBA", picture.size), picture
            )
            picture.putalpha(dataset.picture(row).getchannel("A"))
        expected = np.asarray(on_ground(picture), dtype=np.float32).reshape(SIDE, 2, SIDE, 2, 3).mean((1, 3))
        np.testing.assert_allclose((drawn[place].permute(1, 2, 0).numpy() + 1) * 127.5, expected, atol=2.0)


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_painted_pictures_are_in_range_and_the_generator_decides(bank: PictureBank, seed: int) -> None:
    rows = torch.randint(0, len(bank.layers), (6,), generator=generator(seed))
    first, again = (bank.paint(rows, bank.place(rows, WILD, generator(seed)), SIDE) for _ in range(2))
    assert first.shape == (6, 3, SIDE, SIDE) and first.isfinite().all() and first.abs().max() <= 1
    assert torch.equal(first, again)


def test_only_one_colour_drawings_get_an_ink_and_only_coloured_ones_a_hue(bank: PictureBank) -> None:
    rows = torch.arange(len(bank.layers))
    drawn = bank.place(rows, WILD, generator())
    assert (drawn.ink[~bank.monochrome] == 0).all() and (drawn.hue[bank.monochrome] == 0).all()
    assert drawn.ink[bank.monochrome].any() and drawn.hue[~bank.monochrome].any()
    assert drawn.scale.abs().max() <= WILD.scale and drawn.shift.abs().max() <= WILD.shift


def test_ink_and_ground_can_be_told_apart(bank: PictureBank) -> None:
    row = int(bank.monochrome.nonzero()[0, 0])
    rows = torch.full((500,), row)
    drawn = bank.place(rows, WILD, generator())
    assert (drawn.ink - drawn.ground).abs().mean(1).min() > 0.02


@given(grey=st.floats(0, 1), radians=st.floats(-math.pi, math.pi))
@settings(deadline=None)
def test_a_turned_hue_keeps_greys(grey: float, radians: float) -> None:
    colour = torch.full((1, 3, 2, 2), grey)
    torch.testing.assert_close(turn_hue(colour, torch.tensor([radians])), colour, atol=1e-5, rtol=0)


@given(seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_third_of_a_turn_moves_the_channels_on_and_a_whole_one_is_none(seed: int) -> None:
    colour = torch.rand(2, 3, 4, 4, generator=generator(seed))
    third = turn_hue(colour, torch.full((2,), 2 * math.pi / 3))
    torch.testing.assert_close(third, colour.roll(1, dims=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(turn_hue(colour, torch.full((2,), 2 * math.pi)), colour, atol=1e-5, rtol=0)


def layers(seed: int = 0) -> Tensor:
    return torch.rand(1, 4, 32, 32, generator=generator(seed))


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_placement_of_zeros_is_the_identity_and_a_mirror_is_its_own_inverse(seed: int) -> None:
    picture = layers(seed)
    torch.testing.assert_close(move(picture, placement()), picture, atol=1e-4, rtol=0)
    mirrored = move(picture, placement(flip=1.0))
    torch.testing.assert_close(mirrored, picture.flip(-1), atol=1e-4, rtol=0)
    torch.testing.assert_close(move(mirrored, placement(flip=1.0)), picture, atol=1e-4, rtol=0)


def test_a_shift_is_in_pictures_to_the_right_and_down_and_what_comes_in_is_transparent() -> None:
    picture = layers()
    moved = move(picture, placement(shift=[0.25, 0.0]))
    torch.testing.assert_close(moved[..., 8:], picture[..., :-8], atol=1e-4, rtol=0)
    assert moved[..., :7].abs().max() == 0
    down = move(picture, placement(shift=[0.0, 0.25]))
    torch.testing.assert_close(down[..., 8:, :], picture[..., :-8, :], atol=1e-4, rtol=0)
    both = move(picture, placement(shift=[0.25, 0.0], flip=1.0))
    torch.testing.assert_close(both[..., 8:], picture.flip(-1)[..., :-8], atol=1e-4, rtol=0)


def test_a_scale_of_one_doubles_the_drawing() -> None:
    board = torch.zeros(1, 4, 32, 32)
    board[..., 12:20, 12:20] = 1
    assert move(board, placement(scale=1.0))[0, 0].gt(0.5).sum() == 16 * 16
    assert move(board, placement(scale=-1.0))[0, 0].gt(0.5).sum() == 4 * 4


def test_a_partner_shows_the_same_subject_in_another_style(
    dataset: Dataset, chosen: list[int], bank: PictureBank
) -> None:
    records = [dataset.records[row] for row in chosen]
    rows = torch.arange(len(chosen))
    for seed in range(5):
        for row, other in enumerate(bank.partner(rows, generator(seed)).tolist()):
            assert records[other].subject == records[row].subject
            assert records[other].style != records[row].style or other == row


def test_every_partner_has_its_chance(bank: PictureBank) -> None:
    row = int((bank.partners >= 0).sum(1).argmax())
    drawn = bank.partner(torch.full((500,), row), generator())
    assert set(drawn.tolist()) == {other for other in bank.partners[row].tolist() if other >= 0}


def test_only_partners_that_look_alike_are_chosen_where_that_is_asked(
    dataset: Dataset, chosen: list[int], bank: PictureBank
) -> None:
    hashes = [int(dataset.records[row].phash, 16) for row in chosen]
    rows = torch.arange(len(chosen))
    for bits in (0, 18, 64):
        alike = bank.partner(rows, generator(), within_bits=bits).tolist()
        assert all(other == row or (hashes[row] ^ hashes[other]).bit_count() <= bits for row, other in enumerate(alike))
    near = bank.partner(rows, generator(), within_bits=18) != rows
    far = bank.partner(rows, generator()) != rows
    assert near.any() and not near[~far].any() and near.sum() < far.sum()


def test_what_is_forgotten_takes_its_likeness_along(bank: PictureBank) -> None:
    moved = bank.to("cpu")
    row = int((moved.partners >= 0).sum(1).argmax())
    partners, apart = moved.partners[row].tolist(), moved.apart[row].tolist()
    moved.forget(torch.tensor(partners[:1]))
    assert moved.partners[row].tolist()[:-1] == partners[1:]
    assert moved.apart[row].tolist()[:-1] == apart[1:]


def test_a_row_without_a_partner_is_its_own(dataset: Dataset) -> None:
    alone = PictureBank.of(dataset, [0])
    assert alone.partner(torch.tensor([0, 0]), generator()).tolist() == [0, 0]


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_premultiplied_colours_are_never_more_than_their_alpha(seed: int) -> None:
    straight = torch.randint(0, 256, (3, 4, 8, 8), dtype=torch.uint8, generator=generator(seed))
    product = premultiplied(straight.clone())
    assert torch.equal(product[:, 3], straight[:, 3])
    assert (product[:, :3] <= product[:, 3:]).all()


@pytest.mark.parametrize("side_px", [64, 32, 48])
def test_shrinking_keeps_the_mean(side_px: int) -> None:
    picture = torch.rand(1, 3, 64, 64, generator=generator())
    smaller = shrink(picture, side_px)
    assert smaller.shape == (1, 3, side_px, side_px)
    torch.testing.assert_close(smaller.mean(), picture.mean(), atol=5e-3, rtol=0)


@pytest.mark.parametrize(("name", "value"), [("scale", 1.5), ("flip_share", -0.1), ("hue", 4.0)])
def test_shares_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augmentation.{name} is {value}: it must lie in 0 to"):
        Augmentation(**{name: value})


def test_a_bank_that_reads_from_disk_paints_what_a_resident_one_does(
    dataset: Dataset, chosen: list[int], bank: PictureBank
) -> None:
    streamed = PictureBank.of(dataset, chosen, resident=False)
    assert isinstance(streamed.layers, StreamedLayers) and isinstance(bank.layers, Tensor)
    rows = torch.randint(0, len(chosen), (70,), generator=generator())
    streamed.layers.ahead(rows[:64])
    for part in (rows[:64], rows[64:], rows[:64]):
        expected = bank.paint(part, bank.place(part, WILD, generator()), SIDE)
        assert torch.equal(streamed.paint(part, streamed.place(part, WILD, generator()), SIDE), expected)


def test_a_bank_is_resident_by_size_or_as_told(dataset: Dataset) -> None:
    assert lives_on_device(dataset, 1000)
    assert not lives_on_device(dataset, 10**9)
    assert lives_on_device(dataset, 10**9, True) and not lives_on_device(dataset, 1, False)
    with pytest.raises(DataError, match=r"dataset\.resident is 'maybe': it must be auto, true or false"):
        lives_on_device(dataset, 1, "maybe")


def test_pictures_that_keep_their_shapes_are_refused_in_words(tmp_path: Path) -> None:
    shaped = write_dataset(tmp_path / "shaped", 6, shaped=True)
    with pytest.raises(DataError, match=r"keeps its pictures' shapes: ingest them with checks.shape=square"):
        PictureBank.of(shaped, shaped.rows(split="train"))


def test_a_small_drawing_is_painted_from_half_the_pixels_as_from_all(dataset: Dataset, chosen: list[int]) -> None:
    whole, halved = PictureBank.of(dataset, chosen), PictureBank.of(dataset, chosen).halved()
    rows = torch.arange(len(chosen))
    placement = whole.place(rows, STILL, Generator().manual_seed(0))
    small, large = 32, 64
    assert (halved.paint(rows, placement, small) - whole.paint(rows, placement, small)).abs().max() < 0.03
    assert torch.equal(halved.paint(rows, placement, large), whole.paint(rows, placement, large))
