"""Intervals hold what they promise: 95 of 100 repeated measurements hold their own mean, and bad features hold none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import EvaluationError, NotComparableError, TooFewPicturesError
from evaluation.extractors.protocol import INCEPTION_FID
from evaluation.figures import Figure, check_comparable
from evaluation.intervals import Estimate, Interval, ratio_interval, share_interval, to_first_order
from evaluation.metrics.catalogue import DEFAULT, METRICS, checked_metrics, measured
from tests.evaluation.test_frechet import mixed

SMALL = tuple(key for key in METRICS if key != "frechet_infinity")


@pytest.mark.parametrize(
    ("keys", "count", "dimensions"),
    [
        (("frechet", "kernel", "cmmd"), 32, 48),
        (("frechet", "frechet_infinity"), 120, 8),
        (("precision", "recall", "density", "coverage"), 96, 4),
    ],
)
def test_intervals_hold_the_mean_of_repeated_measurements(keys: tuple[str, ...], count: int, dimensions: int) -> None:
    """Of 30 measurements about 95 % must hold their common mean; the jackknife may lean to the wide side."""
    generator = torch.Generator().manual_seed(7)
    measurements: dict[str, list[Interval]] = {key: [] for key in keys}
    for _ in range(30):
        real = torch.randn(count, dimensions, generator=generator)
        made = 1.2 * torch.randn(count, dimensions, generator=generator) + 0.1
        for key, estimate in measured(real, made, keys).estimates.items():
            measurements[key].append(estimate.interval())
    for key, intervals in measurements.items():
        mean = sum(interval.value for interval in intervals) / len(intervals)
        covered = sum(interval.low <= mean <= interval.high for interval in intervals) / len(intervals)
        spread = math.sqrt(sum((interval.value - mean) ** 2 for interval in intervals) / (len(intervals) - 1))
        width = sum(interval.high - interval.low for interval in intervals) / len(intervals)
        assert covered >= 0.86, key
        assert 0.7 < width / (2 * 1.96 * spread) < 1.8, key


@given(seed=st.integers(0, 1000), count=st.integers(16, 40), dimensions=st.integers(1, 60))
@settings(max_examples=6, deadline=None)
def test_metrics_ignore_the_order_of_pictures(seed: int, count: int, dimensions: int) -> None:
    real, made = mixed(count, dimensions, seed) / 10, mixed(count, dimensions, seed + 1) / 10
    shuffled = made[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    keys = [key for key in SMALL if key != "mind"]
    one, other = measured(real, made, keys).estimates, measured(real, shuffled, keys).estimates
    turned = measured(made, real, keys).estimates
    for key in keys:
        assert other[key].value == pytest.approx(one[key].value, rel=1e-7, abs=1e-7)
    for key in ("frechet", "kernel", "cmmd", "cmmd_biased"):
        assert turned[key].value == pytest.approx(one[key].value, rel=1e-7, abs=1e-7)
    assert turned["recall"].value == one["precision"].value


@pytest.mark.parametrize("key", METRICS)
def test_bad_features_give_no_figure(key: str) -> None:
    good, metric = mixed(20, 4, 0), METRICS[key].function
    names = ("real", "made")
    with pytest.raises(TooFewPicturesError, match="15 pictures are too few"):
        metric(good[:15], good[:15], names)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(EvaluationError, match="not finite numbers, the first in row 3"):
            metric(good, good.masked_fill(good == good[3, 2], bad), names)
    with pytest.raises(EvaluationError, match="4 and 3 dimensions are not one extractor's"):
        metric(good, good[:, :3], names)
    with pytest.raises(EvaluationError, match=r"must be \[pictures, dimensions\], got shape \[20\]"):
        metric(good[:, 0], good, names)
    with pytest.raises(EvaluationError, match=r"real numbers, got torch\.complex"):
        metric(good.to(torch.complex128), good, names)


@pytest.mark.parametrize("key", METRICS)
def test_half_precision_features_are_measured_in_whole(key: str) -> None:
    half = (mixed(24, 4, 0) / 4).half(), (mixed(24, 4, 1) / 4).half()
    whole = METRICS[key].function(half[0].double(), half[1].double(), ("a", "b"))
    assert METRICS[key].function(*half, ("a", "b")).value == pytest.approx(whole.value, rel=1e-5)
    assert set(whole.left_out) == {"a", "b"}


def test_published_names_are_for_published_features_only() -> None:
    called = {family: [metric.title_with(family) for metric in METRICS.values()] for family in (INCEPTION_FID, "clip")}
    assert {"FID", "KID", "MIND"} < set(called[INCEPTION_FID])
    assert not {"FID", "KID", "MIND"} & set(called["clip"])
    assert "CMMD" in called["clip"] and "CMMD" not in called[INCEPTION_FID]
    assert METRICS["frechet"].title_with("dinov2") == "Fréchet distance"


def test_no_two_metrics_share_an_identity() -> None:
    assert len({metric.identity(10_000) for metric in METRICS.values()}) == len(METRICS)
    assert len({metric.stem for metric in METRICS.values()}) == len(METRICS)
    figures = [
        Figure(name=key, value=1, low=0, high=2, count=64, identity=METRICS[key].identity(64), better="lower")
        for key in ("cmmd", "cmmd_biased")
    ]
    with pytest.raises(NotComparableError):
        check_comparable(*figures)


def test_metrics_are_named_once_each_and_known() -> None:
    assert checked_metrics(["coverage", "frechet"]) == ("frechet", "coverage")
    for keys, said in (
        (["fid"], "there is no metric 'fid': the metrics are frechet, kernel"),
        (["mind", "mind"], "'mind' is named twice"),
        ([], "metrics is empty"),
        ("frechet", "must be a list of names"),
    ):
        with pytest.raises(EvaluationError, match=said):
            checked_metrics(keys)


def test_metrics_taken_together_equal_those_taken_alone() -> None:
    real, made = mixed(80, 6, 0), mixed(80, 6, 1)
    together = measured(real, made, METRICS).estimates
    assert set(DEFAULT) < set(together)
    for key, metric in METRICS.items():
        alone = metric.function(real, made, ("real", "made"))
        assert together[key].value == pytest.approx(alone.value, rel=1e-9)
        assert together[key].variance() == pytest.approx(alone.variance(), rel=1e-6)


def test_a_mean_to_first_order_is_the_mean() -> None:
    values = torch.rand(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left_out = to_first_order(float(values.mean()), values - values.mean())
    assert float(left_out[7]) == pytest.approx(float(values[torch.arange(100) % 64 != 7].mean()))


def test_a_set_reaches_at_least_as_far_as_is_known() -> None:
    level = torch.full((20,), 0.0, dtype=torch.float64)
    wilson = share_interval(0, 20)
    found = Estimate(0.0, {"real": level, "made": level}, {"made": wilson}, (0.0, 1.0)).interval()
    assert (found.low, found.value) == (0, 0)
    assert found.high == pytest.approx(wilson.high)
    assert found.high == pytest.approx(0.161, abs=0.001)  # Wilson's for none of 20


def test_the_interval_of_a_ratio_is_that_of_its_inverse_turned_over() -> None:
    made = Estimate(4.0, {"made": torch.tensor([3.5, 4.1, 4.4, 4.0]).double()})
    floor = Estimate(2.0, {"floor": torch.tensor([1.8, 2.3, 1.9, 2.0]).double()})
    ratio, inverse = ratio_interval(made, floor), ratio_interval(floor, made)
    assert ratio.value == pytest.approx(2.0)
    assert (ratio.low, ratio.high) == pytest.approx((1 / inverse.high, 1 / inverse.low))
    assert ratio.high - ratio.value > ratio.value - ratio.low > 0
