"""How much of a picture its caption decides before there is any picture: a remembered caption decides all of it.

At the first denoising step there is only noise.  To a caption that a model generalises from, it answers with a blurred
mean of all that the caption may mean; to one that it remembers, with the learnt drawing itself, far away from what it
would say without a text.  Wen et al. 2024 (arXiv:2407.21720) tell remembered prompts by that distance.
Shapes: estimates uint8 [P,3,H,W], magnitudes float64 [P].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluation.drawing import DrawingSettings, Order
from evaluation.studio import Studio
from registry.resolve import ResolvedModel

HALF_RANGE = 127.5  # levels of uint8 from 0 to 1 where the network works in -1..1


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """Magnitudes of prompts, and the clean-picture estimates [P,3,H,W] of their first seed."""

    magnitudes: Tensor
    estimates: Tensor


def first_step(
    studio: Studio, model: ResolvedModel, prompts: Sequence[Order], *, seeds: int, batch_pictures: int, title: str
) -> FirstStep:
    """Return m = mean over seeds of √(mean over pixels of (x̂(text) - x̂(no text))²) for each prompt.

    x̂ are clean-picture estimates of the first step, without guidance.  There sigma is 1 and the velocity is
    v = noise - x̂, so that their difference is that of the velocities.  Style or brand stays in both: what the text
    adds is measured, and not what the brand adds.  Orders' own seeds are not used: all prompts see the same noise.
    """
    settings = DrawingSettings(num_inference_steps=1, guidance_scale=1.0, batch_pictures=batch_pictures)
    silent = [Order(prompt="", seed=0, style=style) for style in dict.fromkeys(order.style for order in prompts)]
    asked = [replace(order, seed=seed) for seed in range(seeds) for order in (*prompts, *silent)]
    pictures = studio.pictures(model, asked, settings, title)
    by_seed = pictures.unflatten(0, (seeds, len(prompts) + len(silent)))
    estimates, without = by_seed[:, : len(prompts)], by_seed[:, len(prompts) :]
    rows = torch.tensor([[order.style for order in silent].index(order.style) for order in prompts])
    difference = (estimates.double() - without[:, rows].double()) / HALF_RANGE
    magnitudes = difference.square().mean(dim=(2, 3, 4)).sqrt().mean(dim=0)
    return FirstStep(magnitudes=magnitudes, estimates=estimates[0])
