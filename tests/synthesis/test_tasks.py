"""Each task's condition: shapes, ranges, determinism, and what a person gives is what is used."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from synthesis.errors import SynthesisError
from synthesis.tasks import TASKS, Task, random_boxes, resize, task_named, task_row

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
masking = pytest.mark.parametrize(
    "task", [TASKS["inpainting"], TASKS["outpainting"]], ids=["inpainting", "outpainting"]
)


def pictures(count: int = 4, side_px: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side_px, side_px, generator=Generator().manual_seed(seed)) * 2 - 1


@every_task
@given(count=st.integers(1, 3), side_px=st.sampled_from([16, 32, 64]), seed=st.integers(0, 99), drawn=st.booleans())
@settings(max_examples=15, deadline=None)
def test_source_and_mask_have_the_shapes_and_ranges(
    task: Task, count: int, side_px: int, seed: int, drawn: bool
) -> None:
    generator = Generator().manual_seed(seed) if drawn else None
    picture = pictures(count, side_px, seed)
    source, mask = task.condition(picture, mask=None, generator=generator)
    assert source.shape == picture.shape and mask.shape == (count, 1, side_px, side_px)
    assert source.dtype == mask.dtype == picture.dtype
    assert source.abs().max() <= 1
    assert ((mask == 0) | (mask == 1)).all()


@every_task
def test_the_generator_decides_and_nothing_else_does(task: Task) -> None:
    picture = pictures(8)
    first, again, other = (
        task.condition(picture, mask=None, generator=Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    drawn = task.name not in ("text_to_image", "style_transfer", "style_reference", "shading")
    assert drawn != all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


@every_task
def test_the_picture_given_is_left_as_it_is(task: Task) -> None:
    picture = pictures()
    task.condition(picture, mask=None, generator=Generator().manual_seed(0))
    assert torch.equal(picture, pictures())


@masking
@given(seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_given_mask_is_the_mask_and_the_source_is_the_picture_outside_it(task: Task, seed: int) -> None:
    mask = (torch.rand(4, 1, 32, 32, generator=Generator().manual_seed(seed)) < 0.5).float()
    source, hole = task.condition(pictures(), mask=mask, generator=None)
    assert torch.equal(hole, mask)
    assert torch.equal(source, torch.where(mask.bool(), torch.zeros(()), pictures()))


def test_the_tasks_that_need_a_mask_are_those_that_make_one() -> None:
    for task in TASKS.values():
        mask = task.condition(pictures(), mask=None, generator=Generator().manual_seed(0))[1]
        assert bool(mask.any()) == task.needs_mask
        assert task.needs_picture or not task.needs_mask


def test_text_to_image_starts_from_nothing() -> None:
    source, mask = TASKS["text_to_image"].condition(pictures(), mask=None, generator=None)
    assert not source.any() and not mask.any()


def test_style_transfer_starts_from_the_picture_itself() -> None:
    assert torch.equal(TASKS["style_transfer"].condition(pictures(), mask=None, generator=None)[0], pictures())


@pytest.mark.parametrize("name", ["super_resolution", "image_to_image"])
def test_without_a_generator_the_source_has_a_quarter_of_the_pixels(name: str) -> None:
    source = TASKS[name].condition(pictures(), mask=None, generator=None)[0]
    assert torch.equal(source, resize(resize(pictures(), 8), 32))


def test_super_resolution_of_a_plain_picture_is_that_picture() -> None:
    plain = torch.tensor([[0.5, -0.25, 1.0]]).view(1, 3, 1, 1).expand(1, 3, 32, 32).contiguous()
    source = TASKS["super_resolution"].condition(plain, mask=None, generator=None)[0]
    torch.testing.assert_close(source, plain, atol=1e-6, rtol=0)


def test_super_resolution_learns_both_a_half_and_a_quarter() -> None:
    picture = pictures(32)
    source = TASKS["super_resolution"].condition(picture, mask=None, generator=Generator().manual_seed(0))[0]
    half, quarter = resize(resize(picture, 16), 32), resize(resize(picture, 8), 32)
    off = torch.stack([(source - one).abs().amax(dim=(1, 2, 3)) for one in (half, quarter)])
    assert (off.amin(0) < 0.5).all() and set(off.argmin(0).tolist()) == {0, 1}
    exact = int((off.amin(0) == 0).sum())
    assert 8 <= exact <= 24, "half of the sources carry noise"


@given(seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_boxes_are_single_rectangles_with_sides_between_the_shares(seed: int) -> None:
    boxes = random_boxes(pictures(8), 0.25, 0.75, Generator().manual_seed(seed))
    for (box,) in boxes:
        rows, columns = box.amax(1), box.amax(0)
        assert torch.equal(box, rows[:, None] * columns[None])
        for side in (rows, columns):
            assert 0.25 * 32 - 1 <= side.sum() <= 0.75 * 32 + 1
            assert side.diff().abs().sum() <= 2  # one run of ones


def test_inpainting_holes_are_boxes_and_outpainting_keeps_one() -> None:
    for name, smallest, largest in (("inpainting", 0.25**2, 0.75**2), ("outpainting", 1 - 0.8**2, 1 - 0.4**2)):
        mask = TASKS[name].condition(pictures(64), mask=None, generator=Generator().manual_seed(0))[1]
        shares = mask.mean(dim=(1, 2, 3))
        assert shares.min() > smallest - 0.06 and shares.max() < largest + 0.06


def test_rows_of_the_embedding_keep_their_order() -> None:
    names = ["text_to_image", "image_to_image", "inpainting", "outpainting", "super_resolution", "style_transfer"]
    assert [task_row(name) for name in names] == list(range(6))  # append, never reorder: saved networks count on it


def test_an_unknown_task_is_answered_with_those_there_are() -> None:
    with pytest.raises(SynthesisError, match=r"task 'outpaint' is unknown: the tasks are text_to_image, .*transfer"):
        task_named("outpaint")
