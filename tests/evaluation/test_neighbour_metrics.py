"""Precision, recall, density and coverage agree with their authors' code, whatever the coarse product is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch import Tensor

from evaluation.errors import EvaluationError, NotComparableError
from evaluation.intervals import group_of_rows
from evaluation.metrics import neighbours, screening
from evaluation.metrics.manifold import coverage, density, neighbour_estimates, precision, recall
from evaluation.metrics.nearest import nearest_cosine
from evaluation.metrics.neighbours import nearest_neighbours
from evaluation.metrics.screening import screens


def crowds(count: int, dimensions: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return two crowds that overlap in part."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(count, dimensions, generator=generator)
    return real, 0.8 * torch.randn(count, dimensions, generator=generator) + 0.3


def theirs(real: Tensor, made: Tensor) -> dict[str, float]:
    """Their four figures; they speak while they work."""
    near, wide = (compute_prdc(real.double().numpy(), made.double().numpy(), nearest) for nearest in (3, 5))
    return {
        "precision": float(near["precision"]),
        "recall": float(near["recall"]),
        "density": float(wide["density"]),
        "coverage": float(wide["coverage"]),
    }


@pytest.mark.parametrize(("count", "dimensions"), [(16, 3), (200, 4), (300, 60)])
def test_all_agree_with_their_authors(count: int, dimensions: int) -> None:
    real, made = crowds(count, dimensions)
    found = {key: estimate.value for key, estimate in neighbour_estimates(real, made).items()}
    assert found == pytest.approx(theirs(real, made), rel=1e-6)
    alone = {each.__name__: each(real, made).value for each in (precision, recall, density, coverage)}
    assert alone == found


def test_leaving_a_group_out_equals_the_figure_without_it() -> None:
    # A ball whose neighbour is gone grows to the next one: nothing is held fixed.
    real, made = crowds(300, 6)
    found = neighbour_estimates(real, made)
    kept = group_of_rows(300) != 11
    for name, sets in (("real", (real[kept], made)), ("made", (real, made[kept]))):
        left_out = {key: float(estimate.left_out[name][11]) for key, estimate in found.items()}
        assert left_out == pytest.approx(theirs(*sets), rel=1e-6)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.4])
def test_crowds_within_each_other_are_looked_at_whole(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where one crowd lies within the balls of the other, nearly all pairs are close: none is measured on its own.
    real, made = crowds(300, 60)
    made = scale * made
    exact = theirs(real, made)
    monkeypatch.setattr(neighbours, "_FEW_SHARE", 1)
    by_pairs = neighbour_estimates(real, made)
    monkeypatch.setattr(neighbours, "_FEW_PAIRS", 0)
    monkeypatch.setattr(neighbours, "_FEW_SHARE", 10_000)
    at_once = neighbour_estimates(real, made)
    for key, value in exact.items():
        assert by_pairs[key].value == at_once[key].value == pytest.approx(value, rel=1e-9)
        for name in ("real", "made"):
            assert torch.equal(by_pairs[key].left_out[name], at_once[key].left_out[name])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_coarse_product_changes_nothing(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = (each + 7 for each in crowds(4160, 4))
    made[:40] = real[:40]  # distances of nothing, and balls of equal pictures
    exact = neighbour_estimates(real, made)
    monkeypatch.setattr(screening, "short_type", lambda _count: kind)
    coarse = neighbour_estimates(real, made)
    for key, estimate in exact.items():
        assert coarse[key].value == estimate.value
        assert all(torch.equal(coarse[key].left_out[name], estimate.left_out[name]) for name in ("real", "made"))


@given(seed=st.integers(0, 1000), count=st.integers(16, 90), dimensions=st.integers(1, 40))
@settings(max_examples=8, deadline=None)
def test_bounds_lie_beneath_distances(seed: int, count: int, dimensions: int) -> None:
    real, made = (100 * each for each in crowds(count, dimensions, seed))
    true = torch.cdist(made.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2
    for kind in (torch.bfloat16, torch.float32, torch.float64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(screening, "short_type", lambda _count, kind=kind: kind)
            first, second = screens(real, made)
        assert bool((second.bounds(slice(0, count), first, screening.Desk()) <= true * (1 + 1e-12)).all())


def test_neighbours_are_the_nearest_in_order() -> None:
    real, made = crowds(400, 5)
    found = nearest_neighbours(screens(real, made)[0], 4)
    distances = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2
    expected = distances.fill_diagonal_(torch.inf).sort(dim=1)
    assert torch.equal(found.rows, expected.indices[:, :4])
    assert torch.allclose(found.squared, expected.values[:, :4])


def test_intervals_keep_their_width_where_no_picture_varies() -> None:
    real, made = crowds(64, 4)
    far, same = neighbour_estimates(real, made + 1000), neighbour_estimates(real, real.clone())
    for key in ("precision", "recall", "density", "coverage"):
        interval = far[key].interval()
        assert interval.value == interval.low == 0
        assert 0.005 < interval.high < 0.1
    for key in ("precision", "recall", "coverage"):
        assert same[key].value == same[key].interval().high == 1
        assert 0.8 < same[key].interval().low < 0.97


def test_equal_pictures_are_counted_not_lost() -> None:
    # A generator that draws one picture only: its ball has no width, and holds nothing but itself.
    real, made = crowds(200, 4)
    found = neighbour_estimates(real, made[:1].expand(200, 4).contiguous())
    assert found["precision"].value in (0, 1)
    assert found["recall"].value == 0
    assert found["coverage"].value < 0.2


def test_sets_of_two_sizes_are_refused() -> None:
    real, made = crowds(40, 4)
    with pytest.raises(NotComparableError, match=r"one size .* got 40 and 39 pictures"):
        precision(real, made[1:])


def test_nearest_cosine_finds_the_copy() -> None:
    learning = crowds(20, 6)[0]
    similarity, row = nearest_cosine(learning[[4, 11]] * 3, learning)
    assert row.tolist() == [4, 11]
    assert similarity.tolist() == pytest.approx([1, 1])
    with pytest.raises(EvaluationError, match="6 and 5 dimensions"):
        nearest_cosine(learning, learning[:, :5])
    with pytest.raises(EvaluationError, match="no learning pictures"):
        nearest_cosine(learning, learning[:0])
