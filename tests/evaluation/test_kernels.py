"""Kernel distances agree with torchmetrics and with the formula written out over all pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.pairwise import pairwise_euclidean_distance
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

from evaluation.errors import EvaluationError
from evaluation.intervals import Estimate, group_of_rows
from evaluation.metrics import checked, kernel
from evaluation.metrics.kernel import cmmd, cmmd_biased, gaussian_estimates, kernel_distance
from tests.evaluation.test_frechet import Flat, mixed

Distance = Callable[[Tensor, Tensor], Estimate]


def gaussian_discrepancy(real: Tensor, made: Tensor, *, biased: bool) -> float:
    """The reference's formula, over all pairs at once."""
    real, made = (torch.nn.functional.normalize(each, dim=1) for each in (real, made))
    own_real, own_made, across = (
        torch.exp(-(pairwise_euclidean_distance(a, b, zero_diagonal=a is b) ** 2) / (2 * 10**2))
        for a, b in ((real, real), (made, made), (real, made))
    )
    means = [
        each.mean() if biased else (each.sum() - len(each)) / (len(each) * (len(each) - 1))
        for each in (own_real, own_made)
    ]
    return float(1000 * (means[0] + means[1] - 2 * across.mean()))


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_the_polynomial_one_agrees_with_torchmetrics() -> None:
    real, made = mixed(60, 24, 1) / 10, mixed(60, 24, 2) / 10
    theirs = KernelInceptionDistance(feature=Flat(24), subsets=1, subset_size=60)
    theirs.update(real, real=True)
    theirs.update(made, real=False)
    assert kernel_distance(real, made).value == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


@pytest.mark.parametrize("count", [64, 1100])
def test_all_agree_over_several_tiles(count: int) -> None:
    real, made = mixed(count, 12, 1) / 10, mixed(count, 12, 2) / 10
    assert kernel_distance(real, made).value == pytest.approx(float(poly_mmd(real, made)), rel=1e-6)
    assert cmmd(real, made).value == pytest.approx(gaussian_discrepancy(real, made, biased=False), rel=1e-6)
    assert cmmd_biased(real, made).value == pytest.approx(gaussian_discrepancy(real, made, biased=True), rel=1e-6)


@pytest.mark.parametrize("distance", [kernel_distance, cmmd, cmmd_biased])
def test_leaving_a_group_out_equals_the_distance_without_it(distance: Distance) -> None:
    real, made = mixed(150, 12, 3) / 10, mixed(131, 12, 4) / 10
    left_out = distance(real, made).left_out
    kept = group_of_rows(150) != 5
    assert float(left_out["real"][5]) == pytest.approx(distance(real[kept], made).value, rel=1e-8)
    kept = group_of_rows(131) != 60
    assert float(left_out["made"][60]) == pytest.approx(distance(real, made[kept]).value, rel=1e-8)


def test_many_pictures_are_measured_in_parts_that_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(1030, 8, generator=generator)
    made = 1.1 * torch.randn(1024, 8, generator=generator) + 0.3
    whole = {"kernel": kernel_distance(real, made), **gaussian_estimates(real, made)}
    monkeypatch.setattr(kernel, "COMPLETE_PICTURES", 1000)
    monkeypatch.setattr(kernel, "PART_PICTURES", 300)
    assert kernel.parts_of(1000) == 1
    assert kernel.parts_of(1024) == 4
    parts = {"kernel": kernel_distance(real, made), **gaussian_estimates(real, made)}
    for key, estimate in parts.items():
        assert estimate.value != whole[key].value
        assert abs(estimate.value - whole[key].value) < whole[key].variance() ** 0.5
        assert 0.8 * whole[key].variance() < estimate.variance() < 1.6 * whole[key].variance()
    quarters = [kernel_distance(real[part::4], made[part::4]).value for part in range(4)]
    assert parts["kernel"].value == pytest.approx(sum(quarters) / 4, rel=1e-2)
    # Without group 6, the part of every fourth picture from the third on is held without these, and weighs less.
    kept = [torch.arange(part, 1030, 4) for part in range(4)]
    kept[2] = kept[2][kept[2] % 64 != 6]
    left = [kernel_distance(real[rows], made[part::4]).value for part, rows in enumerate(kept)]
    sizes = [len(rows) for rows in kept]
    expected = sum(size * value for size, value in zip(sizes, left, strict=True)) / sum(sizes)
    assert float(parts["kernel"].left_out["real"][6]) == pytest.approx(expected, rel=1e-6)


def test_short_products_change_the_seventh_digit_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = mixed(400, 16, 1).float() / 10, mixed(400, 16, 2).float() / 10
    exact = {"kernel": kernel_distance(real, made), **gaussian_estimates(real, made)}
    monkeypatch.setattr(checked, "DOUBLE_ROWS", 100)
    short = {"kernel": kernel_distance(real, made), **gaussian_estimates(real, made)}
    for name, estimate in exact.items():
        assert short[name].value == pytest.approx(estimate.value, rel=1e-6)
        assert short[name].variance() == pytest.approx(estimate.variance(), rel=1e-4)


def test_the_biased_one_is_another_figure() -> None:
    real, made = mixed(64, 12, 1), mixed(64, 12, 1).flip(0) + 0.01
    assert cmmd(real, made).value < 0 < cmmd_biased(real, made).value
    with pytest.raises(EvaluationError, match="all zero has no direction"):
        cmmd(real, torch.cat([made[1:], torch.zeros(1, 12, dtype=torch.float64)]))
