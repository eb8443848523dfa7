"""Figures compare only with their like; intervals know what they share."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.errors import EvaluationError, NotComparableError
from evaluation.figures import Figure, check_comparable, clearly_better
from evaluation.intervals import combine, share_above
from evaluation.metrics.frechet import frechet_distance


def _figure(value: float = 10.0, *, identity: str = "frechet/a@1/N=128", count: int = 128, reach: float = 1) -> Figure:
    return Figure(
        name="figure",
        value=value,
        low=value - reach,
        high=value + reach,
        count=count,
        identity=identity,
        better="lower",
    )


def test_figures_of_other_identity_or_count_are_refused() -> None:
    check_comparable(_figure(), _figure(20))
    with pytest.raises(NotComparableError, match=r"frechet/a@1/N=128 \(N=128\) against frechet/b@2/N=128"):
        check_comparable(_figure(), _figure(identity="frechet/b@2/N=128"))
    with pytest.raises(NotComparableError, match="N=64"):
        clearly_better(_figure(), _figure(count=64))


def test_clearly_better_wants_the_intervals_apart() -> None:
    assert clearly_better(_figure(10), _figure(12.5))
    assert not clearly_better(_figure(10), _figure(11.5))
    assert not clearly_better(_figure(12.5), _figure(10))


def test_a_figure_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(EvaluationError, match="not a finite number"):
        _figure(math.nan)


def test_what_two_estimates_share_cancels() -> None:
    generator = torch.Generator().manual_seed(0)
    judge, one, other = (torch.randn(48, 20, generator=generator) + shift for shift in (0, 1, 1.2))
    first = frechet_distance(judge, one, ("judge", "one"))
    second = frechet_distance(judge, other, ("judge", "other"))
    difference = combine(lambda a, b: a - b, first, second)
    assert difference.value == pytest.approx(first.value - second.value)
    assert difference.variance() < 0.8 * (first.variance() + second.variance())
    itself = combine(lambda a, b: a - b, first, first)
    assert itself.variance() == 0


@given(seed=st.integers(0, 10_000), made=st.integers(16, 200), control=st.integers(16, 400))
@settings(max_examples=50, deadline=None)
def test_share_above_stays_in_order(seed: int, made: int, control: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = share_above(torch.rand(made, generator=generator), torch.rand(control, generator=generator), 0.01)
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_share_above_is_zero_on_average_for_one_law() -> None:
    generator = torch.Generator().manual_seed(1)
    found = [
        share_above(torch.rand(100, generator=generator), torch.rand(120, generator=generator), 0.01)
        for _ in range(400)
    ]
    assert sum(interval.value for interval in found) / len(found) == pytest.approx(0, abs=0.003)
    assert sum(interval.low <= 0 <= interval.high for interval in found) / len(found) > 0.93


def test_copies_show_as_excess() -> None:
    control = torch.linspace(0.3, 0.7, 300)
    made = torch.cat([torch.linspace(0.3, 0.6, 64), torch.full((64,), 0.99)])
    found = share_above(made, control, 0.01)
    assert found.value == pytest.approx(0.49, abs=0.01)
    assert found.low > 0.35
