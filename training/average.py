"""Exponential moving average of the weights that learn.

Lightning's own ``EMAWeightAveraging`` copies the whole module, the resident corpus with it; this one keeps a shadow of
the learning parameters alone and rides in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor, nn


class ExponentialAverage(lightning.Callback):  # type: ignore[misc]
    """shadow <- d·shadow + (1 - d)·weights after each step, d = min(decay, (1 + n) / (10 + n)).

    0.999 has a half-life of 690 steps; 0.9999 is too slow for runs of minutes. Validation sees the average.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"average.decay is {decay}: it must lie in 0 to 1")
        self.decay = decay
        self.updates = 0
        self.shadow: dict[str, Tensor] = {}
        self._weights: list[Tensor] = []

    def on_fit_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Start from the weights, or bring a restored shadow to the device."""
        learnt = learning(module.network)
        if not self.shadow:
            self.shadow = {name: weight.detach().clone() for name, weight in learnt.items()}
        self.shadow = {name: self.shadow[name].to(weight) for name, weight in learnt.items()}
        # Walking the modules for their weights takes longer than averaging them.
        self._weights = [weight.detach() for weight in learnt.values()]

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Move the shadow once for each optimizer step."""
        if trainer.global_step <= self.updates:
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.shadow.values()), self._weights, 1 - decay)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Validate the average."""
        if self.shadow:
            self._swap(module.network)

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Go on with the weights."""
        if self.shadow:
            self._swap(module.network)

    @contextmanager
    def worn_by(self, network: nn.Module) -> Iterator[None]:
        """Give the network the average for a while."""
        self._swap(network)
        try:
            yield
        finally:
            self._swap(network)

    def wear(self, network: nn.Module) -> None:
        """Give the network the average for good."""
        self._swap(network)

    def _swap(self, network: nn.Module) -> None:
        with torch.no_grad():
            for name, weight in learning(network).items():
                kept = weight.detach().clone()
                weight.copy_(self.shadow[name])
                self.shadow[name].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"shadow": self.shadow, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.shadow, self.updates = dict(state_dict["shadow"]), int(state_dict["updates"])


def learning(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that ask for gradients, by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
