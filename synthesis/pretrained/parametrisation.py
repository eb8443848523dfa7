"""What a family's network predicts and at which noise, told in the terms of the project's flow.

Shapes: x, prediction, clean, noise [B,C,h,w]; t [B] in 0..1, 0 is noise and 1 is clean; timestep [B] is the family's.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from synthesis.errors import SynthesisError
from synthesis.objective import sample_time


class Parametrisation(Protocol):
    """Between a flow point x_t = t·x + (1 - t)·n and what the network was trained on."""

    def sample_t(self, uniform: Tensor) -> Tensor:
        """Times [B] as the family is trained, from uniform numbers [B]."""

    def timestep(self, t: Tensor) -> Tensor:
        """The family's timestep at which a clean picture and noise stand as they do at t."""

    def entered(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The flow point in the network's own scale."""

    def clean(self, x: Tensor, timestep: Tensor, prediction: Tensor) -> Tensor:
        """The clean estimate from a prediction at x, in the network's own scale."""

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should predict."""


class Flow:
    """Rectified flow: v = n - x at timestep 1000·(1 - t).  Esser et al. 2024, section 2."""

    def __init__(self, scheduler: Any) -> None:
        self.steps = float(scheduler.config.num_train_timesteps)

    def sample_t(self, uniform: Tensor) -> Tensor:
        """Logit-normal times.  Esser et al. 2024, Eq. 19 with mean 0."""
        return sample_time(uniform, mean=0.0)

    def timestep(self, t: Tensor) -> Tensor:
        """steps·(1 - t)."""
        own: Tensor = self.steps * (1 - t)
        return own

    def entered(self, x_t: Tensor, t: Tensor) -> Tensor:
        """As it is."""
        return x_t

    def clean(self, x: Tensor, timestep: Tensor, prediction: Tensor) -> Tensor:
        """x̂ = x_t - (1 - t)·v."""
        return x - wide(timestep / self.steps) * prediction

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """v = n - x."""
        return noise - clean


class VariancePreserving:
    """x_k = √ᾱ_k·x + √(1 - ᾱ_k)·n at whole timesteps k, predicting noise or v.  Ho et al. 2020, Eq. 4.

    A flow point is such a point of other length: k is where √ᾱ : √(1 - ᾱ) = t : (1 - t), between two whole steps by
    linear interpolation. Noisier than the noisiest step is taken as that step.
    """

    def __init__(self, scheduler: Any) -> None:
        self.kind = scheduler.config.prediction_type
        if self.kind not in ("epsilon", "v_prediction"):
            raise SynthesisError(f"the scheduler's prediction_type is {self.kind}: epsilon or v_prediction is known")
        product = scheduler.alphas_cumprod.double().cpu()
        self.levels = torch.stack([product.sqrt(), (1 - product).sqrt()])

    def sample_t(self, uniform: Tensor) -> Tensor:
        """Every whole timestep alike."""
        signal, noise = self._levels((uniform * self.levels.shape[1]).floor())
        return (signal / (signal + noise)).flatten()

    def timestep(self, t: Tensor) -> Tensor:
        """Where the table of t, which falls with k, crosses t."""
        table = (self.levels[0] / self.levels.sum(0)).to(t.device)
        last = len(table) - 1
        above = torch.searchsorted(-table, -t.double()).clamp(1, last)
        share = (table[above - 1] - t) / (table[above - 1] - table[above])
        return (above - 1 + share).clamp(0, last).to(t.dtype)

    def entered(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t / √(t² + (1 - t)²)."""
        return x_t / wide(torch.hypot(t, 1 - t))

    def clean(self, x: Tensor, timestep: Tensor, prediction: Tensor) -> Tensor:
        """(x - √(1 - ᾱ)·ε) / √ᾱ, or √ᾱ·x - √(1 - ᾱ)·v.  Salimans and Ho 2022, section 4."""
        signal, noise = self._levels(timestep)
        if self.kind == "epsilon":
            return (x - noise * prediction) / signal
        return signal * x - noise * prediction

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """ε = n, or v = √ᾱ·n - √(1 - ᾱ)·x."""
        signal, strength = self._levels(timestep)
        return noise if self.kind == "epsilon" else signal * noise - strength * clean

    def _levels(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 - ᾱ) [B,1,1,1] at timesteps that may lie between whole ones."""
        levels = self.levels.to(timestep.device)
        last = levels.shape[1] - 1
        below = timestep.floor().long().clamp(0, last)
        above = (below + 1).clamp(max=last)
        mixed = torch.lerp(levels[:, below], levels[:, above], (timestep.double() - below).clamp(0, 1))
        signal, noise = (mixed / mixed.norm(dim=0)).to(timestep.dtype)
        return wide(signal), wide(noise)


def parametrisation_of(scheduler: Any) -> Parametrisation:
    """By the scheduler: one with cumulated alphas preserves variance, a flow matching one has none."""
    told = type(scheduler).__name__
    if told.startswith("FlowMatch"):
        return Flow(scheduler)
    if getattr(scheduler, "alphas_cumprod", None) is None:
        raise SynthesisError(f"the scheduler is a {told}: it must match flows or have cumulated alphas")
    return VariancePreserving(scheduler)


def wide(values: Tensor) -> Tensor:
    """[B] -> [B,1,1,1]."""
    return values[:, None, None, None]
