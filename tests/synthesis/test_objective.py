"""Rectified flow: the ends of the path, its velocity, the times and the weight of the loss."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthesis.objective import NEAREST_TO_CLEAN, flow_point, flow_velocity, sample_time, velocity_loss

SHAPE = (4, 3, 8, 8)
times = st.floats(0, 0.99)


def test_the_path_runs_from_the_noise_to_the_picture() -> None:
    clean, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    assert torch.equal(flow_point(clean, noise, torch.zeros(4)), noise)
    assert torch.equal(flow_point(clean, noise, torch.ones(4)), clean)


@given(t=times, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_velocity_is_the_picture_less_the_noise_wherever_it_is_asked(t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean, noise = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    at = torch.full((4,), t, dtype=torch.float64)
    velocity = flow_velocity(flow_point(clean, noise, at), clean, at)
    torch.testing.assert_close(velocity, clean - noise, atol=1e-9, rtol=1e-9)


def test_the_velocity_at_the_clean_end_is_finite() -> None:
    assert flow_velocity(torch.randn(SHAPE), torch.randn(SHAPE), torch.ones(4)).isfinite().all()


@given(t=st.floats(0, 1), error=st.floats(0.01, 2))
@settings(max_examples=50, deadline=None)
def test_the_loss_is_the_velocitys_squared_error_and_bounded(t: float, error: float) -> None:
    clean = torch.zeros(SHAPE)
    loss = velocity_loss(clean + error, clean, torch.full((4,), t))
    bound = error**2 / NEAREST_TO_CLEAN**2
    torch.testing.assert_close(loss, torch.full((4,), error**2 / max(1 - t, NEAREST_TO_CLEAN) ** 2), rtol=1e-4, atol=0)
    assert loss.max() <= bound * 1.0001


def test_the_loss_equals_that_of_the_velocities() -> None:
    clean, noise, estimate = (torch.randn(SHAPE) for _ in range(3))
    t = torch.tensor([0.0, 0.3, 0.6, 0.9])
    point = flow_point(clean, noise, t)
    expected = (flow_velocity(point, estimate, t) - (clean - noise)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(velocity_loss(estimate, clean, t), expected, rtol=1e-4, atol=1e-4)


@given(mean=st.floats(-2, 2), deviation=st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_times_lie_in_0_to_1_with_the_median_that_the_mean_says(mean: float, deviation: float) -> None:
    t = sample_time(torch.linspace(0, 1, 101), mean=mean, deviation=deviation)
    assert (t >= 0).all() and (t <= 1).all() and t.isfinite().all()
    assert (t.diff() >= 0).all()
    assert math.isclose(float(t[50]), 1 / (1 + math.exp(-mean)), rel_tol=1e-4)
