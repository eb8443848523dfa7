"""Exponential moving average of the weights that learn.

Lightning's own ``EMAWeightAveraging`` copies the whole module, the resident corpus with it, and does not know sharded
weights; this one keeps a shadow of the learning parameters alone and rides in the checkpoint. It is element by
element, so where the weights are sharded (FSDP2) each rank averages its own shard and nothing is sent until saving.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


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
        self._weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Start from the weights, or bring a restored shadow to where they lie.

        Not at the start of the fit: there a sharded run has not restored its checkpoint yet, and an engine may still
        move its weights.
        """
        # Walking the modules takes longer than averaging; between steps FSDP2 may show gathered weights instead.
        self._weights = {name: weight.detach() for name, weight in learning(module.network).items()}
        if not self.shadow:
            self.shadow = {name: weight.clone() for name, weight in self._weights.items()}
        self.shadow = {name: _like(self.shadow[name], weight) for name, weight in self._weights.items()}

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Move the shadow once for each optimizer step."""
        if trainer.global_step <= self.updates:
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(_local(self.shadow), _local(self._weights), 1 - decay)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Validate the average."""
        self._swap(self._weights)

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Go on with the weights."""
        self._swap(self._weights)

    def whole(self) -> dict[str, Tensor]:
        """The average, gathered where it is sharded: every rank must ask."""
        return {
            name: weight.full_tensor() if isinstance(weight, DTensor) else weight
            for name, weight in self.shadow.items()
        }

    @contextmanager
    def worn_by(self, network: nn.Module) -> Iterator[None]:
        """Give the network the average for a while."""
        self._swap(learning(network))
        try:
            yield
        finally:
            self._swap(learning(network))

    def wear(self, network: nn.Module) -> None:
        """Give the network the average for good."""
        self._swap(learning(network))

    def _swap(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            shadows = {name: self.shadow[name] for name in weights}
            for weight, shadow in zip(_local(weights), _local(shadows), strict=True):
                kept = weight.clone()
                weight.copy_(shadow)
                shadow.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: whole tensors, whatever the strategy."""
        return {"shadow": self.whole(), "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.shadow, self.updates = dict(state_dict["shadow"]), int(state_dict["updates"])


def learning(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that ask for gradients, by name."""
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def _like(shadow: Tensor, weight: Tensor) -> Tensor:
    """A restored shadow on the device of its weight, sharded as it is."""
    if not isinstance(weight, DTensor) or isinstance(shadow, DTensor):
        return shadow.to(weight)
    return distribute_tensor(
        shadow.to(weight.device, weight.dtype), weight.device_mesh, weight.placements, src_data_rank=None
    )


def _local(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """What this rank holds of each; what is written to it is written to the weight."""
    held = (weight.detach() for weight in weights.values())
    return [weight.to_local() if isinstance(weight, DTensor) else weight for weight in held]
