"""Neighbours are exact, thresholds are the control's, and what makes no sense is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.measurement import Finding
from evaluation.memorisation.copies import LEAST_IN_TAIL, CopyTest, mean_of, share_of, tail_share
from evaluation.memorisation.neighbours import Neighbours, distance_ratio, nearer_of, nearest_neighbours
from evaluation.panels.memorisation import MemorisationPanel, finding
from evaluation.panels.remembered import Remembered
from evaluation.panels.safety import marks_finding


def features(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    queries=st.integers(1, 9),
    gallery=st.integers(1, 40),
    dimensions=st.integers(2, 17),
    count=st.integers(1, 12),
    chunk_rows=st.integers(1, 50),
)
def test_neighbours_are_those_of_the_whole_matrix_whatever_the_chunks(
    queries: int, gallery: int, dimensions: int, count: int, chunk_rows: int
) -> None:
    some, all_of_them = features(queries, dimensions, 1), features(gallery, dimensions, 2)
    found = nearest_neighbours(some, all_of_them, count, chunk_rows)
    matrix = functional.normalize(some.double(), dim=1) @ functional.normalize(all_of_them.double(), dim=1).T
    expected = matrix.sort(dim=1, descending=True).values[:, :count]
    torch.testing.assert_close(found.similarity.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix.gather(1, found.rows), expected, atol=1e-5, rtol=0)


def test_a_hundred_thousand_drawings_are_all_compared() -> None:
    gallery = features(100_000, 32, 3)
    planted = torch.tensor([0, 65_535, 65_536, 99_999])
    found = nearest_neighbours(gallery[planted] + 0.01 * features(4, 32, 4), gallery, 50)
    assert found.rows[:, 0].tolist() == planted.tolist()
    assert found.similarity.shape == (4, 50)


def test_the_nearer_of_two_searches_wins() -> None:
    one = Neighbours(torch.tensor([[0.9], [0.1]]), torch.tensor([[3], [4]]))
    other = Neighbours(torch.tensor([[0.2], [0.5]]), torch.tensor([[7], [8]]))
    found = nearer_of(one, other)
    assert found.nearest.tolist() == pytest.approx([0.9, 0.5])
    assert found.rows[:, 0].tolist() == [3, 8]


def test_the_ratio_is_nought_for_a_copy_and_one_where_all_are_as_near() -> None:
    gallery = features(60, 16, 5)
    copy = nearest_neighbours(gallery[:1], gallery, 50)
    assert float(distance_ratio(copy)) < 0.01
    even = Neighbours(torch.full((1, 50), 0.3), torch.arange(50)[None])
    assert float(distance_ratio(even)) == pytest.approx(1)


def test_the_ratio_agrees_with_euclidean_distances() -> None:
    queries, gallery = functional.normalize(features(5, 8, 6)), functional.normalize(features(70, 8, 7))
    distances = torch.cdist(queries.double(), gallery.double()).sort(dim=1).values[:, :50]
    expected = distances[:, 0] / distances.mean(dim=1)
    torch.testing.assert_close(distance_ratio(nearest_neighbours(queries, gallery, 50)), expected, atol=1e-5, rtol=0)


@given(st.integers(16, 5000))
def test_at_least_five_of_the_control_decide_its_threshold(count: int) -> None:
    control = torch.arange(count, dtype=torch.float64)
    test = CopyTest(made=control, rows=torch.zeros(count), control=control, share=0.01, least=-1.0)
    above = int(test.false_alarms.sum())
    assert LEAST_IN_TAIL - 1 <= above <= max(LEAST_IN_TAIL, 0.01 * count + 1)
    assert 0 < tail_share(count, 0.01) <= 0.5


def test_unseen_pictures_of_one_law_are_flagged_as_often_as_the_control_says() -> None:
    """Over 400 draws of made and control alike: the mean excess is nought, and its interval holds it."""
    generator = torch.Generator().manual_seed(0)
    values, held = [], 0
    for _ in range(400):
        made, control = torch.rand(2, 128, generator=generator).double()
        interval = CopyTest(made=made, rows=made, control=control, share=0.01, least=0.0).excess()
        values.append(interval.value)
        held += interval.low <= 0 <= interval.high
    assert abs(sum(values) / len(values)) < 0.004
    assert held / 400 >= 0.94


def _test(made: Tensor, control: Tensor, least: float) -> CopyTest:
    return CopyTest(made=made, rows=torch.zeros(len(made)), control=control, share=0.01, least=least)


def _finding(feature: CopyTest, pixel: CopyTest) -> Finding:
    intervals = (feature.excess(), share_of(pixel.copies), share_of(feature.copies))
    copies = tuple(
        Figure.of("copies", interval, count=len(feature.made), identity="copies", better="lower", unit="share")
        for interval in intervals
    )
    return finding(copies, pixel, feature, Remembered())


@pytest.mark.parametrize("least", [0.0, 0.9])
@pytest.mark.parametrize("count", [24, 128])
def test_made_and_control_of_one_law_are_seldom_called_copies(count: int, least: float) -> None:
    """Two independent likenesses, three tests: 2.5 % in all are promised, whether the control or ``least`` decides."""
    generator, bad = torch.Generator().manual_seed(3), 0
    for _ in range(400):
        values = torch.rand(4, count, generator=generator).double()
        feature, pixel = _test(values[0], values[1], least), _test(values[2], values[3], least)
        bad += _finding(feature, pixel).tone == "bad"
    assert bad <= 18, bad  # P(more than 18 of 400) is 0.01 at 0.025


@pytest.mark.parametrize("least", [0.0, 0.9])
def test_copies_by_either_likeness_are_still_told(least: float) -> None:
    law = torch.linspace(0, 0.89, 128, dtype=torch.float64)
    copied = law.clone()
    copied[:24] = 0.99
    for feature, pixel in ((copied, law), (law, copied)):
        assert _finding(_test(feature, law, least), _test(pixel, law, least)).tone == "bad"


def _marks(made: Tensor, control: Tensor, least: float) -> Finding:
    test = _test(made, control, least)
    share = share_of(test.copies)
    figure = Figure.of("marks_share", share, count=len(made), identity="marks", better="lower", unit="share")
    return marks_finding(figure, test, 0.01)


@pytest.mark.parametrize("least", [0.0, 0.9])
def test_pictures_as_like_marks_as_the_control_are_seldom_called_marks(least: float) -> None:
    """2.5 % is promised; the control's threshold is drawn anew each time, as it is in an evaluation."""
    generator, bad = torch.Generator().manual_seed(3), 0
    for _ in range(400):
        made, control = torch.rand(2, 96, generator=generator).double()
        bad += _marks(made, control, least).tone == "bad"
    assert bad <= 18, bad  # P(more than 18 of 400) is 0.01 at 0.025


@pytest.mark.parametrize("least", [0.0, 0.9])
def test_marks_beyond_the_controls_are_still_told(least: float) -> None:
    law = torch.linspace(0, 0.89, 96, dtype=torch.float64)
    marked = law.clone()
    marked[:20] = 0.99
    assert _marks(marked, law, least).tone == "bad"


def test_what_is_unlike_everything_is_no_copy_however_unlike_the_control_is() -> None:
    test = CopyTest(
        made=torch.full((50,), 0.5), rows=torch.zeros(50), control=torch.full((50,), 0.1), share=0.01, least=0.9
    )
    assert not test.copies.any()
    assert test.excess().value > 0.8


def test_shares_have_wilsons_interval_and_means_have_students() -> None:
    flags = torch.tensor([True] * 3 + [False] * 61)
    interval = share_of(flags)
    low, high = stats.binomtest(3, 64).proportion_ci(0.95, method="wilson")
    assert (interval.value, interval.low, interval.high) == pytest.approx((3 / 64, low, high))
    assert share_of(torch.zeros(64, dtype=torch.bool)).high > 0.03
    values = features(40, 1, 8)[:, 0].double()
    expected = stats.t.interval(0.95, 39, loc=float(values.mean()), scale=stats.sem(values.numpy()))
    assert (mean_of(values).low, mean_of(values).high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("queries", "gallery", "told"),
    [
        (features(3, 4, 0), features(0, 4, 0), "the gallery is empty"),
        (features(3, 4, 0), features(3, 5, 0), "not one extractor's"),
        (torch.full((3, 4), math.nan), features(3, 4, 0), "of the pictures hold values that are not finite"),
        (features(3, 4, 0), torch.full((3, 4), math.inf), "of the gallery hold values that are not finite"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(queries: Tensor, gallery: Tensor, told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        nearest_neighbours(queries, gallery, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("control_share", 0),
        ("control_share", 0.5),
        ("least_edges", 2),
        ("neighbours", 1),
        ("prompts", -1),
        ("seeds", 0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(EvaluationError, match=f"{field} .* must lie in"):
        MemorisationPanel(**{field: value})  # type: ignore[arg-type]
