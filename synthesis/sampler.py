"""Draws by following the flow from noise to a picture, one step at a time.

Every network is wrapped once into ``Denoiser(x, t, condition) -> clean picture estimate``; the loop, guidance and
previews never learn which network it is. The steps themselves are a diffusers scheduler's.
Shapes: [B,C,H,W]; t [B] in 0..1, 1 is clean; sigma = 1 - t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from synthesis.condition import Condition, join

Denoiser = Callable[[Tensor, Tensor, Condition], Tensor]


def guided(denoiser: Denoiser, condition: Condition, guidance_scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """x̂ = u + g·(c - u), text and style dropped in u.  Ho and Salimans 2022, Eq. 6, for clean-picture estimates."""
    if guidance_scale == 1.0:
        return lambda x, t: denoiser(x, t, condition)
    both = join([condition, condition.unconditional()])

    def estimate(x: Tensor, t: Tensor) -> Tensor:
        with_text, without = denoiser(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return without + guidance_scale * (with_text - without)

    return estimate


def follow_flow(
    estimate: Callable[[Tensor, Tensor], Tensor],
    scheduler: Any,
    noise: Tensor,
    *,
    clean: Tensor | None,
    skip_steps: int,
) -> Iterator[Tensor]:
    """Yield the clean-picture estimate [B,C,H,W] after each step; the last one is the picture.

    ``scheduler`` is a diffusers flow scheduler whose timesteps are set (its own object for each request: schedulers
    keep state). With ``clean``, the first ``skip_steps`` are left out and the flow starts from that picture, noised.
    """
    timesteps = scheduler.timesteps[skip_steps:]
    x = noise
    if clean is not None and skip_steps:
        sigma = float(timesteps[0]) / scheduler.config.num_train_timesteps
        x = (1 - sigma) * clean + sigma * noise
    for timestep in timesteps:
        sigma = float(timestep) / scheduler.config.num_train_timesteps
        t = torch.full((len(x),), 1 - sigma, device=x.device)
        clean_estimate = estimate(x, t).clamp(-1, 1)
        velocity = (x - clean_estimate) / max(sigma, 1e-3)
        x = scheduler.step(velocity, timestep, x, return_dict=False)[0]
        yield clean_estimate


def few_step_scheduler(num_steps: int) -> FlowMatchEulerDiscreteScheduler:
    """A scheduler whose ``num_steps`` steps are equally long: sigma = 1, (n - 1)/n, …, 1/n, 0.

    Diffusers' usual one takes its last step from sigma 0.001, which wastes one network evaluation of four.
    """
    return FlowMatchEulerDiscreteScheduler(shift_terminal=1 / num_steps if num_steps > 1 else None)


def seeded_noise(seeds: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Normal noise [B,*shape], each row from its own seed, equal on every device."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
