"""What a batch holds: fixed slices of tasks, dropped shares, and a partner to transfer from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from data.bank import Augmentation
from data.dataset import Dataset
from synthesis.backbone import NO_STYLE
from synthesis.control import foreground
from synthesis.tasks import TASKS
from synthesis.text import TextEncoder
from training.corpus import Corpus, Mates, load_corpus
from training.errors import TrainingError
from training.mix import TaskMix
from training.steps import Example, ExampleMaker, two_by_two
from training.terms import Objective, Sizes

STILL = Augmentation(placed_share=0, flip_share=0, hue_share=0, ground_share=0, black_ink_share=1)
EVEN = dict.fromkeys(TASKS, 1.0)


def corpus_of(dataset: Dataset) -> Corpus:
    rows = dataset.rows(split="train")
    return load_corpus(dataset, rows, [1 + row % 3 for row in range(len(rows))], TextEncoder(longest_tokens=8))


def made(dataset: Dataset, mix: TaskMix, count: int, seed: int = 0) -> Example:
    maker = ExampleMaker(corpus_of(dataset), mix, STILL, 64)
    return maker.make(torch.arange(count), Generator().manual_seed(seed))


def test_each_slice_has_its_task_and_only_masked_tasks_have_masks(dataset: Dataset) -> None:
    example = made(dataset, TaskMix(shares=EVEN), 24)
    told = example.condition
    assert [name for name, _ in example.slices] == list(TASKS)
    for row, (name, part) in enumerate(example.slices):
        assert (told.task[part] == row).all()
        assert bool(told.mask[part].any()) == TASKS[name].needs_mask
        assert bool(told.source[part].any()) == (TASKS[name].needs_picture and name != "style_reference")
        assert bool(told.reference[part].any()) == TASKS[name].refers
    for name, part in example.slices:
        if name in ("palette", "style_transfer"):
            assert torch.equal(told.reference[part], told.source[part])
    assert example.clean.shape == told.source.shape == (24, 3, 64, 64)
    assert example.clean.abs().max() <= 1


def test_the_same_generator_makes_the_same_example(dataset: Dataset) -> None:
    one, two = (made(dataset, TaskMix(shares=EVEN), 12, seed=3) for _ in range(2))
    assert torch.equal(one.clean, two.clean)
    for name, tensor in one.condition.tensors().items():
        assert torch.equal(tensor, two.condition.tensors()[name])


class NeverWaits(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU: a number read from it, a list of numbers brought to it."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, result = str(function), function(*args, **(kwargs or {}))
        assert not name.startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select")), name
        if name.startswith("aten.lift_fresh"):  # a single number travels as an argument of what uses it
            assert isinstance(result, Tensor)
            assert result.ndim == 0, f"{result.tolist()} is brought from the host"
        return result


@pytest.mark.parametrize("side_px", [32, 64, 128])
def test_making_an_example_never_waits_for_the_device(dataset: Dataset, side_px: int) -> None:
    maker = ExampleMaker(corpus_of(dataset), TaskMix(shares=EVEN), Augmentation(), 64)
    rows, generator = torch.arange(33), Generator().manual_seed(0)
    with NeverWaits():  # type: ignore[no-untyped-call]
        example = maker.make(rows, generator, side_px)
    assert example.clean.shape == (33, 3, side_px, side_px)


def test_pictures_are_painted_in_full_precision_under_autocast(dataset: Dataset) -> None:
    moved = Augmentation(placed_share=1.0, hue_share=1.0)
    maker = ExampleMaker(corpus_of(dataset), TaskMix(shares=EVEN), moved, 64)
    plain = maker.make(torch.arange(12), Generator().manual_seed(5)).clean
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(maker.make(torch.arange(12), Generator().manual_seed(5)).clean, plain)


def test_what_is_dropped_always_or_never_is(dataset: Dataset) -> None:
    text = {"text_to_image": 1.0}
    never = made(dataset, TaskMix(shares=text, text_dropped=0, style_dropped=0, appearance_dropped=0), 30).condition
    assert never.text_mask.any(1).all() and (never.style != NO_STYLE).all() and (never.appearance[:, 0] == 1).all()
    always = made(dataset, TaskMix(shares=text, text_dropped=1, style_dropped=1, appearance_dropped=1), 30).condition
    assert not always.text_mask.any() and not always.text.any()
    assert (always.style == NO_STYLE).all() and not always.appearance.any()


def test_style_transfer_starts_from_the_same_subject_in_another_set(dataset: Dataset) -> None:
    mix = TaskMix(shares={"style_transfer": 1.0}, text_dropped_in_transfer=0)
    corpus = corpus_of(dataset)
    paired = (corpus.bank.partners >= 0).any(1).nonzero()[:, 0]
    assert len(paired)
    example = ExampleMaker(corpus, mix, STILL, 64).make(paired, Generator().manual_seed(0))
    apart = (example.condition.source - example.clean).abs().mean(dim=(1, 2, 3))
    assert (apart > 0.01).all()


def test_style_transfer_starts_from_the_drawing_itself_where_no_partner_looks_alike(dataset: Dataset) -> None:
    """Sources lie where the drawing does: of pairs of another shape, some would not."""
    mix = TaskMix(shares={"style_transfer": 1.0}, bits_in_transfer=0)
    example = ExampleMaker(corpus_of(dataset), mix, STILL, 64).make(torch.arange(24), Generator().manual_seed(0))
    inside, shown = foreground(example.clean), foreground(example.condition.source)
    overlap = (inside * shown).sum((1, 2, 3)) / shown.sum((1, 2, 3)).clamp(min=1)
    assert (overlap > 0.9).float().mean() > 0.75  # lines may lie beside an edge
    with pytest.raises(TrainingError, match="bits_in_transfer is 65: it must lie in 0 to 64"):
        TaskMix(shares={"style_transfer": 1.0}, bits_in_transfer=65)


def test_a_share_of_style_transfer_shows_four_drawings_of_a_set_without_text(dataset: Dataset) -> None:
    mix = TaskMix(shares={"style_transfer": 1.0}, text_dropped_in_transfer=0, style_dropped=0, collaged_in_transfer=0.5)
    corpus = corpus_of(dataset)
    rows = (corpus.bank.partners >= 0).any(1).nonzero()[:8, 0]
    example = ExampleMaker(corpus, mix, STILL, 64).make(rows, Generator().manual_seed(0))
    told, half = example.condition, len(rows) // 2
    alone = corpus.bank.paint(rows[:half], corpus.bank.place(rows[:half], STILL, Generator()), 32)
    coloured = ~corpus.bank.monochrome[rows[:half]]
    assert torch.equal(example.clean[:half, :, :32, :32][coloured], alone[coloured])
    assert not told.text_mask[:half].any() and told.text_mask[half:].any()
    assert not told.appearance[:half].any()
    assert torch.equal(told.style, corpus.styles[rows])
    apart = (told.source - example.clean)[:half, :, :32, :32].abs().mean(dim=(1, 2, 3))
    assert (apart > 0.01).all()


def test_a_share_of_style_transfer_starts_from_the_drawing_itself_in_another_look(dataset: Dataset) -> None:
    mix = TaskMix(shares={"style_transfer": 1.0}, restyled_in_transfer=0.5)
    corpus = corpus_of(dataset)
    rows = (corpus.bank.partners >= 0).any(1).nonzero()[:8, 0]
    example = ExampleMaker(corpus, mix, STILL, 64).make(rows, Generator().manual_seed(0))
    half = len(rows) // 2
    foregrounds = [foreground(each) for each in (example.clean[half:], example.condition.source[half:])]
    overlap = (foregrounds[0] * foregrounds[1]).sum((1, 2, 3)) / foregrounds[0].sum((1, 2, 3)).clamp(min=1)
    assert overlap.median() > 0.8
    assert (example.condition.source - example.clean)[half:].abs().amax((1, 2, 3)).min() > 0.1


def test_shares_of_one_task_that_are_more_than_all_of_it_are_refused() -> None:
    with pytest.raises(TrainingError, match="together at most 1"):
        TaskMix(shares={"style_transfer": 1.0}, collaged_in_transfer=0.6, restyled_in_transfer=0.5)


def test_four_tiles_in_a_row_are_two_above_two() -> None:
    tiles = torch.arange(8.0)[:, None, None, None].expand(8, 1, 2, 3)
    whole = two_by_two(tiles)
    assert whole.shape == (2, 1, 4, 6)
    assert whole[1, 0, ::2, ::3].tolist() == [[4, 5], [6, 7]]


def test_a_reference_is_another_drawing_of_the_same_set_and_speaks_for_its_style(dataset: Dataset) -> None:
    example = made(dataset, TaskMix(shares={"style_reference": 1.0}, style_dropped=0.25), 24)
    told = example.condition
    assert (told.style == NO_STYLE).all()
    assert told.reference.shape == (24, 3, 64, 64)
    assert told.reference_mask.any() and not told.reference_mask.all()


def test_a_mate_is_of_the_same_style_and_never_one_that_was_forgotten() -> None:
    styles = torch.tensor([3, 1, 3, 1, 3, 2])
    mates = Mates(styles)
    rows = torch.arange(6).repeat(50)
    chosen = mates.mate(rows, Generator().manual_seed(0))
    assert torch.equal(styles[chosen], styles[rows])
    assert {int(one) for one in chosen[rows == 0]} == {0, 2, 4}
    mates.forget(torch.tensor([2]))
    chosen = mates.mate(rows, Generator().manual_seed(0))
    assert 2 not in chosen and torch.equal(styles[chosen], styles[rows])


def test_steps_take_turns_at_sizes_by_their_shares_wherever_one_begins() -> None:
    sizes = Sizes(shares={64: 0.6, 128: 0.2, 256: 0.2})
    for begin in (0, 1234):
        drawn = [sizes.at(step) for step in range(begin, begin + 50)]
        assert [abs(drawn.count(side) - count) <= 1 for side, count in ((64, 30), (128, 10), (256, 10))] == [True] * 3
    with pytest.raises(TrainingError, match="give one size or more a share above 0"):
        Sizes(shares={64: 0.0})


def test_larger_pictures_stand_more_noise() -> None:
    t = torch.linspace(0.05, 0.95, 10)
    objective = Objective()
    assert torch.allclose(objective.shifted(t, 1), t)
    assert (objective.shifted(t, 4) < t).all()


def test_every_caption_has_its_chance_and_its_own_features(dataset: Dataset) -> None:
    corpus = corpus_of(dataset)
    row = int(corpus.caption_counts.argmax())
    rows = torch.full((200,), row)
    features, masks = corpus.text(rows, torch.zeros_like(rows), Generator().manual_seed(0))
    captions = dataset.records[dataset.rows(split="train")[row]].captions
    expected, _ = TextEncoder(longest_tokens=8).encode(captions)
    found = {int((expected - one).abs().amax(dim=(1, 2)).argmin()) for one in features}
    assert found == set(range(len(captions)))
    assert masks.any(1).all()
