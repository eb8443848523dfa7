"""The sliced distance agrees with POT's and with its closed form."""

from __future__ import annotations

import ot
import pytest
import torch

from evaluation.errors import EvaluationError, NotComparableError
from evaluation.metrics.sliced import DIRECTIONS, mind, unit_directions
from tests.evaluation.test_frechet import mixed


@pytest.mark.parametrize(("count", "dimensions"), [(40, 60), (300, 7)])
def test_it_agrees_with_pot(count: int, dimensions: int) -> None:
    real, made = mixed(count, dimensions, 1), mixed(count, dimensions, 2)
    along = unit_directions(dimensions, DIRECTIONS, 0)
    theirs = ot.sliced_wasserstein_distance(real.numpy(), made.numpy(), projections=along.numpy(), p=2)
    assert mind(real, made).value == pytest.approx(3 * dimensions * float(theirs) ** 2, rel=1e-6)


def test_a_shift_has_its_closed_form() -> None:
    real, along = mixed(100, 9, 1), unit_directions(9, 50, 3)
    shift = torch.arange(9, dtype=torch.float64)
    expected = 27 * float((shift @ along).square().mean())
    found = mind(real, real + shift, directions=50, seed=3)
    assert found.value == pytest.approx(expected, rel=1e-9)
    # Every picture moves as far: leaving some out of both sets would change nothing.
    assert mind(real, real.flip(0)).value == pytest.approx(0, abs=1e-12)


def test_its_interval_is_the_spread_of_repeated_measurements() -> None:
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(60):
        real = torch.randn(150, 8, generator=generator)
        made = 1.2 * torch.randn(150, 8, generator=generator) + 0.1
        found.append(mind(real, made, directions=50).interval())
    values = torch.tensor([interval.value for interval in found])
    covered = sum(interval.low <= float(values.mean()) <= interval.high for interval in found) / len(found)
    width = sum(interval.high - interval.low for interval in found) / len(found)
    assert covered >= 0.88
    assert 0.8 < width / (2 * 1.96 * float(values.std())) < 1.4


def test_wrong_settings_are_refused() -> None:
    real = mixed(20, 4, 1)
    with pytest.raises(EvaluationError, match="directions must be at least 1, got 0"):
        mind(real, real, directions=0)
    with pytest.raises(NotComparableError, match="got 20 and 19 pictures"):
        mind(real, real[1:])
