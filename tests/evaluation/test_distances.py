"""Distances agree with torchmetrics, with the closed form of Gaussians, and with what a distance must be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from evaluation.distances import frechet_distance, kernel_distance, nearest_cosine
from evaluation.errors import EvaluationError, TooFewPicturesError


class _Flat(nn.Module):
    """Hands features through torchmetrics as if a network had made them."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, features: Tensor) -> Tensor:
        return features.double()


def _features(count: int, dimensions: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mixing + seed


def test_frechet_distance_agrees_with_torchmetrics() -> None:
    real, made = _features(300, 24, 1), _features(300, 24, 2)
    theirs = FrechetInceptionDistance(feature=_Flat(24)).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(made, real=False)
    assert frechet_distance(real, made).value == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_frechet_distance_of_fewer_pictures_than_dimensions_agrees_with_torchmetrics() -> None:
    real, made = _features(20, 48, 1), _features(20, 48, 2)
    theirs = FrechetInceptionDistance(feature=_Flat(48)).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(made, real=False)
    # They take square roots of eigenvalues that are zero but for rounding, hence the wider tolerance.
    assert frechet_distance(real, made).value == pytest.approx(float(theirs.compute()), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kernel_distance_agrees_with_torchmetrics() -> None:
    real, made = _features(60, 24, 1) / 10, _features(60, 24, 2) / 10
    theirs = KernelInceptionDistance(feature=_Flat(24), subsets=1, subset_size=60)
    theirs.update(real, real=True)
    theirs.update(made, real=False)
    assert kernel_distance(real, made).value == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_frechet_distance_of_gaussians_has_its_closed_form(scale: float, shift: float, seed: int) -> None:
    # Of x and scale·x + shift: |Δμ|² + (scale - 1)² tr Σ, exactly, on the sample's own moments.
    real = _features(40, 8, seed)
    made = scale * real + shift
    moved = float(((made - real).mean(dim=0) ** 2).sum())
    expected = moved + (scale - 1) ** 2 * float(real.T.cov().trace())
    assert frechet_distance(real, made).value == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(seed=st.integers(0, 1000), count=st.integers(16, 40), other=st.integers(16, 40), dimensions=st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_distances_are_symmetric_and_ignore_order(seed: int, count: int, other: int, dimensions: int) -> None:
    real, made = _features(count, dimensions, seed) / 10, _features(other, dimensions, seed + 1) / 10
    shuffled = made[torch.randperm(other, generator=torch.Generator().manual_seed(seed))]
    for distance in (frechet_distance, kernel_distance):
        value = distance(real, made).value
        assert distance(made, real).value == pytest.approx(value, rel=1e-7, abs=1e-7)
        assert distance(real, shuffled).value == pytest.approx(value, rel=1e-7, abs=1e-7)
    assert frechet_distance(real, real).value == pytest.approx(0, abs=1e-7 * float(real.square().sum()))


def test_leaving_a_group_out_equals_the_distance_without_it() -> None:
    real, made = _features(70, 12, 3) / 10, _features(66, 12, 4) / 10
    kept = torch.arange(70) % 64 != 5
    for distance in (frechet_distance, kernel_distance):
        left_out = distance(real, made).left_out["real"]
        assert len(left_out) == 64
        assert float(left_out[5]) == pytest.approx(distance(real[kept], made).value, rel=1e-9)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_intervals_cover_the_expected_figure_of_equal_pictures(distance: object) -> None:
    """Of 60 repeated measurements about 95 % must hold their common mean; the jackknife may lean to the wide side."""
    assert callable(distance)
    generator = torch.Generator().manual_seed(7)
    measured = []
    for _ in range(60):
        real = torch.randn(32, 64, generator=generator)
        made = 1.2 * torch.randn(32, 64, generator=generator) + 0.1
        measured.append(distance(real, made).interval())
    mean = sum(interval.value for interval in measured) / len(measured)
    covered = sum(interval.low <= mean <= interval.high for interval in measured) / len(measured)
    spread = math.sqrt(sum((interval.value - mean) ** 2 for interval in measured) / (len(measured) - 1))
    width = sum(interval.high - interval.low for interval in measured) / len(measured)
    assert covered >= 0.88
    assert 0.7 < width / (2 * 1.96 * spread) < 1.6


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_bad_features_are_refused(distance: object) -> None:
    assert callable(distance)
    good = _features(20, 4, 0)
    with pytest.raises(TooFewPicturesError, match="15 pictures are too few"):
        distance(good[:15], good)
    with pytest.raises(EvaluationError, match="not finite"):
        distance(good, good.masked_fill(good == good[3, 2], math.nan))
    with pytest.raises(EvaluationError, match="not one extractor"):
        distance(good, good[:, :3])


def test_nearest_cosine_finds_the_copy() -> None:
    learning = _features(20, 6, 0)
    similarity, row = nearest_cosine(learning[[4, 11]] * 3, learning)
    assert row.tolist() == [4, 11]
    assert similarity.tolist() == pytest.approx([1, 1])
