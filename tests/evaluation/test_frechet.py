"""The Fréchet distance agrees with torchmetrics and with closed forms, for more and for fewer pictures than numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from evaluation.errors import NotComparableError, TooFewPicturesError
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.infinity import extrapolated, sizes_of
from evaluation.metrics.moments import Moments, transport


class Flat(nn.Module):
    """Hands features through torchmetrics as if a network had made them."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, features: Tensor) -> Tensor:
        return features.double()


def mixed(count: int, dimensions: int, seed: int) -> Tensor:
    """Return features whose numbers depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ mixing + seed


def theirs(real: Tensor, made: Tensor) -> float:
    metric = FrechetInceptionDistance(feature=Flat(real.shape[1])).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(made, real=False)
    return float(metric.compute())


@pytest.mark.parametrize(("count", "dimensions"), [(300, 24), (40, 24), (700, 8)])
def test_it_agrees_with_torchmetrics(count: int, dimensions: int) -> None:
    real, made = mixed(count, dimensions, 1), mixed(count, dimensions, 2)
    assert frechet_distance(real, made).value == pytest.approx(theirs(real, made), rel=1e-6)


@pytest.mark.parametrize(("count", "dimensions"), [(20, 48), (520, 600)])
def test_fewer_pictures_than_dimensions_agree_with_torchmetrics(count: int, dimensions: int) -> None:
    real, made = mixed(count, dimensions, 1), mixed(count, dimensions, 2)
    # They take square roots of eigenvalues that are zero but for rounding, hence the wider tolerance.
    assert frechet_distance(real, made).value == pytest.approx(theirs(real, made), rel=1e-5)


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), seed=st.integers(0, 100), count=st.sampled_from([6, 40, 600]))
@settings(max_examples=15, deadline=None)
def test_gaussians_have_their_closed_form(scale: float, shift: float, seed: int, count: int) -> None:
    # Of x and scale·x + shift: |Δμ|² + (scale - 1)² tr Σ, exactly, on the sample's own moments.
    real = mixed(max(16, count), 8 if count > 6 else 30, seed)
    made = scale * real + shift
    moved = float(((made - real).mean(dim=0) ** 2).sum())
    expected = moved + (scale - 1) ** 2 * float(real.T.cov().trace())
    assert frechet_distance(real, made).value == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("count", [100, 600])
def test_numbers_that_never_change_add_nothing(count: int) -> None:
    real, made = mixed(count, 6, 1), mixed(count, 6, 2)
    dead = torch.full((count, 7), 3.0)
    twice = [torch.cat([each, dead, each], dim=1) for each in (real, made)]
    # A number that stands twice makes the covariance singular and doubles the distance.
    assert frechet_distance(twice[0], twice[1]).value == pytest.approx(2 * frechet_distance(real, made).value, rel=1e-7)


def test_what_the_maps_carry_is_the_other_set() -> None:
    centre = torch.zeros(10, dtype=torch.float64)
    real, made = (Moments.of(mixed(200, 10, seed), centre) for seed in (1, 2))
    maps = transport(real, made)
    there, back = maps.real @ maps.real.T, maps.made @ maps.made.T
    assert torch.allclose(there @ real.covariance @ there, made.covariance)
    assert torch.allclose(back @ made.covariance @ back, real.covariance)
    assert torch.allclose(there @ back, torch.eye(10, dtype=torch.float64))


def test_left_out_to_first_order_spreads_as_measured_again_does() -> None:
    real, made = mixed(256, 12, 3) / 10, mixed(256, 12, 4) / 10
    kept = torch.arange(256)
    again = torch.stack([torch.tensor(frechet_distance(real[kept % 64 != group], made).value) for group in range(64)])
    quick = frechet_distance(real, made).left_out["real"]
    assert float(quick.std()) == pytest.approx(float(again.std()), rel=0.03)
    assert float(torch.corrcoef(torch.stack([quick, again.double()]))[0, 1]) > 0.999


@pytest.mark.parametrize(("count", "dimensions"), [(200, 20), (400, 30)])
def test_infinity_is_the_intercept_of_a_line_through_parts(count: int, dimensions: int) -> None:
    real, made = mixed(count, dimensions, 1), 1.1 * mixed(count, dimensions, 1).flip(0)
    found = extrapolated(real, made)
    orders = [torch.randperm(count, generator=torch.Generator().manual_seed(side)) for side in range(2)]
    values = [frechet_distance(real[orders[0][:size]], made[orders[1][:size]]).value for size in sizes_of(count)]
    assert [size for size, _ in found.points] == sizes_of(count)
    assert [value for _, value in found.points] == pytest.approx(values, rel=1e-7)
    x, y = 1 / torch.tensor(sizes_of(count), dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    assert found.slope == pytest.approx(slope, rel=1e-6)
    assert found.estimate.value == pytest.approx(float(y.mean() - slope * x.mean()), rel=1e-6)
    correlation = float(torch.corrcoef(torch.stack([x, y]))[0, 1])
    assert found.r_squared == pytest.approx(correlation**2, rel=1e-6)
    assert found.whole.value == pytest.approx(values[0], rel=1e-9)


def test_infinity_of_one_law_is_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(2000, 20, generator=generator) for _ in range(2))
    found = extrapolated(real, made)
    assert found.estimate.interval().low < 0 < found.estimate.interval().high < found.whole.value
    assert found.r_squared > 0.9


def test_infinity_wants_enough_pictures_a_side() -> None:
    with pytest.raises(TooFewPicturesError, match=r"39 pictures are too few .* 10 dimensions need at least 40"):
        extrapolated(mixed(39, 10, 1), mixed(39, 10, 2))
    with pytest.raises(NotComparableError, match=r"one size .* got 50 and 51 pictures"):
        extrapolated(mixed(50, 10, 1), mixed(51, 10, 2))
