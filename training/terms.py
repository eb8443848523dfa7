"""What a run learns at: which sides, which times between noise and picture, and what is to be predicted there.

Shapes: B batch, C channels, H W pixels or latents; t [B] in 0..1, 1 is clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from synthesis.condition import Condition
from synthesis.objective import flow_point, sample_time, velocity_loss
from training.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Which sides are learnt, in px, and the share of steps of each: a step is of one size, so shapes are static.

    Without shares every step is of the network's own size.
    """

    shares: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if self.shares is None:
            return
        if not self.shares or any(share < 0 for share in self.shares.values()) or sum(self.shares.values()) <= 0:
            raise TrainingError(f"sizes.shares are {dict(self.shares)}: give one size or more a share above 0")

    def at(self, step: int) -> int | None:
        """Return the side of a step, None for the network's own.

        Multiples of the golden ratio fall evenly, so every stretch has all sizes.
        """
        if self.shares is None:
            return None
        place = step * 0.6180339887498949 % 1.0 * sum(self.shares.values())
        for side_px, share in self.shares.items():
            if place < share:
                return int(side_px)
            place -= share
        return int(next(iter(self.shares)))


class Terms(Protocol):
    """At which times a network learns, and what it is told to predict."""

    def times(self, uniform: Tensor, ratio: float) -> Tensor:
        """Times [B] from uniform numbers [B]; ``ratio`` is the side learnt to the network's own."""

    def loss(self, network: Any, clean: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """The loss of each picture [B] at the point of the flow between noise and clean [B,C,H,W] at t [B]."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Rectified flow to the clean picture; times are logit-normal with this mean and deviation (Esser et al. 2024)."""

    time_mean: float = -0.4
    time_deviation: float = 1.0

    def times(self, uniform: Tensor, ratio: float) -> Tensor:
        """Logit-normal, shifted by the ratio of the sides."""
        return self.shifted(sample_time(uniform, mean=self.time_mean, deviation=self.time_deviation), ratio)

    def loss(self, network: Any, clean: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
        """Squared error of the velocity."""
        estimate = network(flow_point(clean, noise, t), t, **condition.tensors())
        return velocity_loss(estimate, clean, t)

    def shifted(self, t: Tensor, ratio: float) -> Tensor:
        """σ' = r·σ / (1 + (r - 1)·σ), σ = 1 - t, r the ratio of the sides: larger pictures stand more noise.

        Esser et al. 2024, Eq. 23.
        """
        sigma = 1 - t
        return 1 - ratio * sigma / (1 + (ratio - 1) * sigma)


def own_terms(objective: Any) -> Objective:
    """The objective, if it is one for the project's own network.  Raises TrainingError for a pretrained one's."""
    if not isinstance(objective, Objective):
        raise TrainingError("objective=own is for backbone=pretrained: pass objective=rectified_flow, or leave it out")
    return objective


def check_own_sizes(sizes: Sizes) -> None:
    """Refuse sizes that are left to a pretrained network.  Raises TrainingError."""
    if sizes.shares is None:
        raise TrainingError("sizes=own is for backbone=pretrained: pass sizes=native or sizes=all, or leave it out")
