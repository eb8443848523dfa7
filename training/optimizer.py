"""AdamW with warm-up, a constant rate, then a linear fall (the field's "warm-up, stable, decay")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.errors import TrainingError
from training.limits import check_share


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The rate holds from ``warmup_steps`` to ``constant_share`` of the run, then falls to ``last_share`` of it."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = 500
    constant_share: float = 0.6
    last_share: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < 1:
            raise TrainingError(f"optimizer.learning_rate is {self.learning_rate}: it must lie between 0 and 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise TrainingError(f"optimizer.betas is {list(self.betas)}: two numbers from 0 to below 1 are needed")
        if not 0 <= self.weight_decay < math.inf:
            raise TrainingError(f"optimizer.weight_decay is {self.weight_decay}: it must not be negative")
        check_share("optimizer.constant_share", self.constant_share)
        check_share("optimizer.last_share", self.last_share)
        if self.warmup_steps < 0:
            raise TrainingError(f"optimizer.warmup_steps is {self.warmup_steps}: it must not be negative")

    def rate_share(self, step: int, max_steps: int) -> float:
        """Share of the learning rate at a step: rises linearly, holds, falls linearly."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        begin = self.constant_share * max_steps
        if step < begin:
            return 1.0
        left = max(0.0, (max_steps - step) / max(1.0, max_steps - begin))
        return self.last_share + (1 - self.last_share) * left


def make_optimizer(network: nn.Module, settings: OptimizerSettings, max_steps: int) -> dict[str, Any]:
    """Return Lightning's optimizer dictionary; weight decay touches matrices only."""
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in learnt if parameter.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in learnt if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    # Not fused: Lightning refuses to clip the gradients of a fused optimizer under mixed precision.
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.learning_rate, betas=settings.betas
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.rate_share(step, max_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
