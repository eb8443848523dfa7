"""Scores, fills and paired means: properties, agreement with others' implementations, known pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import stats
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from evaluation.drawing import to_tensor
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.measurement import Column, Section, Verdict
from evaluation.tasks.control import EdgeAgreement, PaletteDistance
from evaluation.tasks.edges import edge_f1, edges_of
from evaluation.tasks.overview import tasks_verdict
from evaluation.tasks.paired import Named, difference, mean_over
from evaluation.tasks.pixels import (
    MOST_DB,
    around_the_hole,
    filled_with_mean,
    filled_with_nearest,
    peak_signal_to_noise,
    structural_similarity,
)
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.restoring import shrunk

Seeds = st.integers(0, 2**31)


def noise(seed: int, count: int = 3, px: int = 24) -> Tensor:
    return torch.randint(0, 256, (count, 3, px, px), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def boxes(seed: int, count: int = 3, px: int = 24) -> Tensor:
    begin = torch.randint(0, px - 8, (count, 2), generator=torch.Generator().manual_seed(seed))
    masks = torch.zeros(count, 1, px, px)
    for mask, (top, left) in zip(masks, begin.tolist(), strict=True):
        mask[:, top : top + 8, left : left + 6] = 1
    return masks


def column(pictures: Tensor) -> Column:
    return Column(title="t", short="t", pictures=pictures, features=torch.zeros(len(pictures), 1))


def drawn(*, left: int = 16, fill: str = "red", line: str = "black") -> Tensor:
    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).rectangle((left, 16, left + 30, 46), fill=fill, outline=line)
    return to_tensor([picture])


@given(Seeds, Seeds)
@settings(max_examples=20, deadline=None)
def test_psnr_agrees_with_torchmetrics_and_a_mask_over_everything_changes_nothing(one: int, other: int) -> None:
    made, truth = noise(one), noise(other)
    told = peak_signal_to_noise(made, truth)
    if one != other:
        theirs = [
            peak_signal_noise_ratio(a[None].double() / 255, b[None].double() / 255, data_range=1.0)
            for a, b in zip(made, truth, strict=True)
        ]
        assert told.tolist() == pytest.approx([float(value) for value in theirs], abs=1e-6)
    assert torch.allclose(told, peak_signal_to_noise(made, truth, torch.ones(3, 1, 24, 24)), atol=1e-9)


@given(Seeds)
@settings(max_examples=20, deadline=None)
def test_what_lies_outside_the_hole_counts_for_nothing(seed: int) -> None:
    made, truth, mask = noise(seed), noise(seed + 1), boxes(seed)
    elsewhere = torch.where(mask > 0, made, noise(seed + 2))
    assert torch.equal(peak_signal_to_noise(made, truth, mask), peak_signal_to_noise(elsewhere, truth, mask))
    assert torch.equal(around_the_hole(made, mask), around_the_hole(elsewhere, mask))


def test_equal_pictures_have_a_ceiling_and_one_step_lies_below_it() -> None:
    pictures = noise(0)
    assert peak_signal_to_noise(pictures, pictures).tolist() == [MOST_DB] * 3
    assert structural_similarity(pictures, pictures).tolist() == pytest.approx([1.0] * 3, abs=1e-9)
    black, grey = torch.zeros_like(pictures), torch.ones_like(pictures)
    assert peak_signal_to_noise(black, grey).tolist() == pytest.approx([20 * np.log10(255)] * 3)


@given(Seeds)
@settings(max_examples=20, deadline=None)
def test_fills_see_nothing_of_the_hole_and_keep_all_else(seed: int) -> None:
    pictures, mask = noise(seed), boxes(seed)
    other = torch.where(mask > 0, noise(seed + 1), pictures)
    for fill in (filled_with_mean, filled_with_nearest):
        assert torch.equal(fill(pictures, mask), fill(other, mask))
        assert torch.equal(torch.where(mask > 0, pictures, fill(pictures, mask)), pictures)


def test_the_nearest_fill_takes_the_nearest_and_the_mean_fill_the_mean() -> None:
    picture = torch.zeros(1, 3, 4, 10, dtype=torch.uint8)
    picture[..., 5:] = 200
    mask = torch.zeros(1, 1, 4, 10)
    mask[..., 2:8] = 1
    assert filled_with_nearest(picture, mask)[0, 0, 0].tolist() == [0] * 5 + [200] * 5
    assert filled_with_mean(picture, mask)[0, 0, 0].tolist() == [0, 0] + [100] * 6 + [200, 200]
    everything = torch.ones(1, 1, 4, 10)
    for fill in (filled_with_mean, filled_with_nearest):
        assert bool((fill(picture, everything) == 255).all())


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(EvaluationError, match="a mask has no hole"):
        peak_signal_to_noise(noise(0), noise(1), torch.zeros(3, 1, 24, 24))
    with pytest.raises(EvaluationError, match="uint8 of one shape"):
        peak_signal_to_noise(noise(0), noise(1, px=16))
    with pytest.raises(EvaluationError, match="uint8 of one shape"):
        structural_similarity(noise(0).float(), noise(1).float())
    with pytest.raises(EvaluationError, match="edges are of uint8 pictures"):
        edges_of(noise(0)[0])


@given(st.lists(st.floats(-100, 100), min_size=8, max_size=60), Seeds)
@settings(max_examples=30, deadline=None)
def test_each_picture_its_own_subject_gives_students_interval(values: list[float], seed: int) -> None:
    model = torch.tensor(values, dtype=torch.float64)
    other = model + torch.randn(len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    subjects = [str(row) for row in range(len(values))]
    interval = difference(mean_over(model, subjects), mean_over(other, subjects)).interval()
    theirs = stats.ttest_rel(model.numpy(), other.numpy()).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-8)


def test_pictures_of_one_subject_count_as_one() -> None:
    values = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    subjects = [str(row) for row in range(10)]
    once = mean_over(values, subjects).interval()
    fivefold = mean_over(values.repeat(5), subjects * 5).interval()
    assert (fivefold.low, fivefold.high) == pytest.approx((once.low, once.high))
    apart = mean_over(values.repeat(5), [str(row) for row in range(50)]).interval()
    assert apart.high - apart.low < 0.5 * (once.high - once.low)


def test_pairs_find_what_crowds_do_not() -> None:
    hard = torch.linspace(0, 10, 20, dtype=torch.float64)
    subjects = [str(row) for row in range(20)]
    named = Named(task="t", score="psnr", better="higher", unit="dB", identity="i", count=20)
    little = 0.1 + 0.02 * torch.arange(20) % 3

    def against(model: Tensor, other: Tensor) -> str:
        found = named.against(mean_over(model, subjects), mean_over(other, subjects), "b", "B")
        assert (found.p < 0.05) == (not found.difference.low <= 0 <= found.difference.high)
        return found.outcome(found.p)

    comparison = named.against(mean_over(hard + little, subjects), mean_over(hard, subjects), "b", "B")
    assert comparison.outcome(comparison.p) == "better" and comparison.model.low < comparison.other.high
    assert against(hard, hard + little) == "worse"
    assert against(hard, hard) == "unsure"
    assert comparison.difference.identity != comparison.model.identity == comparison.other.identity


def _overall(model: Tensor, others: Tensor) -> Verdict:
    """Return the verdict on values [T,N] of a model in T tasks against those of R baselines in each, [T,R,N]."""
    subjects = [str(row) for row in range(model.shape[-1])]
    results = []
    for task, (own, rivals) in enumerate(zip(model, others, strict=True)):
        named = Named(task=f"t{task}", score="psnr", better="higher", unit="dB", identity="i", count=len(subjects))
        pairs = [(mean_over(own, subjects), mean_over(rival, subjects)) for rival in rivals]
        comparisons = tuple(named.against(*pair, f"b{place}", "B") for place, pair in enumerate(pairs))
        results.append(TaskResult(section=Section(name=f"t{task}", title=f"T{task}", note=""), comparisons=comparisons))
    return tasks_verdict(results)


def test_many_comparisons_of_one_law_seldom_claim_anything() -> None:
    generator, claimed = torch.Generator().manual_seed(0), 0
    for _ in range(100):
        values = torch.randn(6, 4, 20, generator=generator, dtype=torch.float64)
        claimed += "worse" in _overall(values[:, 0], values[:, 1:]).headline
    assert claimed <= 8, claimed  # P(more than 8 of 100) is 0.002 at 0.025


def test_what_is_clearly_better_everywhere_is_still_said() -> None:
    values = torch.randn(6, 4, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    verdict = _overall(values[:, 0] + 5, values[:, 1:])
    assert verdict.tone == "good" and "every baseline in 6 of 6 tasks" in verdict.headline
    assert "clearly worse than one in 6" in _overall(values[:, 0] - 5, values[:, 1:]).headline


def test_means_that_would_mislead_are_refused() -> None:
    with pytest.raises(TooFewPicturesError, match="show 7 subjects: an interval needs 8"):
        mean_over(torch.zeros(14), [str(row % 7) for row in range(14)])
    with pytest.raises(EvaluationError, match="not finite"):
        mean_over(torch.tensor([0.0] * 7 + [float("nan")]), list("abcdefgh"))
    with pytest.raises(EvaluationError, match="2 subjects do not fit values"):
        mean_over(torch.zeros(3), ["a", "b"])


def test_edges_lie_where_colours_change_and_a_step_aside_is_forgiven() -> None:
    one = edges_of(drawn())
    assert 150 < int(one.sum()) < 500
    assert not bool(edges_of(torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)).any())
    assert float(edge_f1(one, one)) == 1
    assert float(edge_f1(edges_of(drawn(left=17)), one)) > 0.99
    assert float(edge_f1(edges_of(drawn(left=24)), one)) < 0.7
    nothing = torch.zeros_like(one)
    assert edge_f1(nothing, nothing).tolist() == [1.0]
    assert edge_f1(nothing, one).tolist() == edge_f1(one, nothing).tolist() == [0.0]


def test_edges_between_colours_of_one_lightness_are_found() -> None:
    assert int(edges_of(drawn(fill="#b03030", line="#b03030")).sum()) > 100


@given(Seeds, Seeds)
@settings(max_examples=20, deadline=None)
def test_edge_agreement_is_symmetric_and_grows_with_the_tolerance(one: int, other: int) -> None:
    first, second = edges_of(noise(one)), edges_of(noise(other))
    assert torch.allclose(edge_f1(first, second), edge_f1(second, first))
    assert bool((edge_f1(first, second, 2) >= edge_f1(first, second, 1) - 1e-12).all())


def test_control_scores_see_lines_and_colours_apart() -> None:
    true, moved, recoloured = column(drawn()), column(drawn(left=28)), column(drawn(fill="blue"))
    edges, palette = EdgeAgreement(), PaletteDistance()
    assert float(edges(true, true)) == 1 and float(palette(true, true)) == 0
    assert float(edges(recoloured, true)) > 0.95 > float(edges(moved, true)) + 0.3
    assert float(palette(recoloured, true)) > 10 > float(palette(moved, true)) + 9
    assert edges.metric == "edge-f1:sobel0.15:within-1px" and palette.better == "lower"


def test_a_small_picture_holds_whole_bytes() -> None:
    small = shrunk(noise(3, px=64), 16)
    assert small.shape == (3, 3, 16, 16)
    assert torch.allclose(((small + 1) * 127.5).round(), (small + 1) * 127.5, atol=1e-4)
