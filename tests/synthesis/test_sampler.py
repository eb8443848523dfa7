"""Following the flow, checked against closed forms and diffusers' own scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from synthesis.backbone import NO_STYLE
from synthesis.condition import Condition
from synthesis.objective import flow_point, flow_velocity
from synthesis.sampler import follow_flow, guided, seeded_noise

if TYPE_CHECKING:
    from tests.synthesis.conftest import MakeCondition

SHAPE = (3, 8, 8)


def scheduler_of(steps: int) -> FlowMatchEulerDiscreteScheduler:
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(steps)
    return scheduler


class Witness:
    """A denoiser that remembers what it was asked and answers by a rule."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, Tensor, Condition]] = []

    def __call__(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self.asked.append((x, t, condition))
        return condition.text_mask.float().mean(1)[:, None, None, None].expand_as(x) + 0.1 * x


@pytest.mark.parametrize("steps", [1, 2, 7, 16])
def test_a_network_that_knows_the_picture_stays_on_the_straight_path(steps: int) -> None:
    """With x̂ = x everywhere the flow is a straight line: each step lands on it, the last one on the picture."""
    clean, noise = torch.rand(2, *SHAPE) * 2 - 1, seeded_noise((1, 2), SHAPE)
    points: list[tuple[Tensor, Tensor]] = []

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        points.append((x, t))
        return clean

    estimates = list(follow_flow(estimate, scheduler_of(steps), noise, clean=None, skip_steps=0))
    assert len(estimates) == len(points) == steps
    for x, t in points:
        torch.testing.assert_close(x, flow_point(clean, noise, t), atol=1e-4, rtol=1e-4)
    assert torch.equal(estimates[-1], clean)


def test_a_step_is_diffusers_euler_step_along_the_velocity() -> None:
    """diffusers' velocity points to the noise and its sigma is 1 - t: signs and units must agree with ours."""
    noise = seeded_noise((5,), SHAPE)
    seen: list[tuple[Tensor, Tensor]] = []

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return (0.3 * x).clamp(-1, 1)

    list(follow_flow(estimate, scheduler_of(6), noise, clean=None, skip_steps=0))
    theirs = scheduler_of(6)
    x = noise
    for timestep, (asked, t) in zip(theirs.timesteps, seen, strict=True):
        torch.testing.assert_close(asked, x, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(t, 1 - timestep.expand(1) / 1000)
        velocity = flow_velocity(x, (0.3 * x).clamp(-1, 1), t)
        x = theirs.step(-velocity, timestep, x).prev_sample


def test_guidance_of_one_asks_the_network_once_a_step_for_as_many_rows(make_condition: MakeCondition) -> None:
    witness, told = Witness(), make_condition(3, side_px=8)
    list(follow_flow(guided(witness, told, 1.0), scheduler_of(4), torch.randn(3, *SHAPE), clean=None, skip_steps=0))
    assert [len(x) for x, _, _ in witness.asked] == [3] * 4


@given(scale=st.floats(0, 10))
@settings(max_examples=20, deadline=None)
def test_guidance_goes_on_from_the_estimate_without_text(make_condition: MakeCondition, scale: float) -> None:
    witness, told = Witness(), make_condition(3, side_px=8)
    x, t = torch.randn(3, *SHAPE), torch.rand(3)
    with_text, without = witness(x, t, told), witness(x, t, told.unconditional())
    expected = without + scale * (with_text - without)
    torch.testing.assert_close(guided(witness, told, scale)(x, t), expected, atol=1e-4, rtol=1e-4)


def test_guidance_drops_text_and_style_and_keeps_source_mask_task_and_appearance(make_condition: MakeCondition) -> None:
    witness, told = Witness(), make_condition(2, side_px=8)
    guided(witness, told, 3.0)(torch.randn(2, *SHAPE), torch.rand(2))
    ((_, _, both),) = witness.asked
    dropped = both.map(lambda value: value[2:])
    assert not dropped.text_mask.any() and (dropped.style == NO_STYLE).all()
    for name in ("source", "mask", "task", "appearance"):
        assert torch.equal(dropped.tensors()[name], told.tensors()[name])
    assert torch.equal(told.unconditional(keep_style=True).style, told.style)


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_seed_gives_the_same_noise_in_any_batch(seeds: list[int]) -> None:
    together = seeded_noise(tuple(seeds), SHAPE)
    assert together.shape == (len(seeds), *SHAPE)
    for seed, noise in zip(seeds, together, strict=True):
        assert torch.equal(seeded_noise((seed,), SHAPE)[0], noise)


def test_skipped_steps_start_from_the_picture_noised_to_that_step() -> None:
    clean, noise = torch.rand(1, *SHAPE), seeded_noise((0,), SHAPE)
    asked: list[Tensor] = []

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        asked.append(x)
        return clean

    scheduler = scheduler_of(10)
    assert len(list(follow_flow(estimate, scheduler, noise, clean=clean, skip_steps=6))) == len(asked) == 4
    sigma = float(scheduler.sigmas[6])
    torch.testing.assert_close(asked[0], (1 - sigma) * clean + sigma * noise)


def test_estimates_stay_in_the_range_of_pictures() -> None:
    steps = follow_flow(lambda x, t: 5 * x, scheduler_of(3), torch.randn(1, *SHAPE), clean=None, skip_steps=0)
    assert all(estimate.abs().max() <= 1 for estimate in steps)
