"""Tells in one line what ends a run from outside, and keeps spoilt weights off the disk."""

from __future__ import annotations

import re
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from training.errors import TrainingError
from training.strategies import named

_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
_LOST = re.compile(
    r"connection (?:closed|reset|refused)|broken pipe|timed out|gloo/transport|ncclRemoteError|socket ?timeout"
    r"|heartbeat|recvValue failed|failed to connect",
    re.IGNORECASE,
)


def told(
    error: BaseException, *, step: int, batch_pictures: int, batch_setting: str, kept: str
) -> TrainingError | None:
    """Return one line on a failure of the machine, None for anything else."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    ):
        return TrainingError(
            f"out of memory at step {step} with {batch_setting}={batch_pictures}: pass"
            f" {batch_setting}={max(1, batch_pictures // 2)} trainer.accumulate_grad_batches=2 to learn as much a step"
            f" in less memory (several GPUs: trainer=fsdp shards the network too); {kept}"
        )
    lost = isinstance(error, torch.distributed.DistError) or bool(_LOST.search(str(error)))
    if isinstance(error, RuntimeError) and lost and torch.distributed.is_initialized():
        rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        return TrainingError(
            f"process {rank} of {ranks} lost another one at step {step}; its own last lines say why it ended;"
            f" {kept}: run the same command again to go on"
        )
    return None


class SoundCheckpoints(lightning.Callback):  # type: ignore[misc]
    """Lets a checkpoint take the place of the last one only while every weight is a number; notes the strategy."""

    def on_save_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Look at this rank's share, and decide together: a rank that stopped alone would leave the others waiting.

        Raises:
            TrainingError: some weight is no number; the file that is there stays.
        """
        sound = finite([weight for weight in module.parameters() if weight.requires_grad])
        if not trainer.strategy.reduce_boolean_decision(sound, all=True):
            raise TrainingError(
                f"the weights are no numbers any more at step {trainer.global_step}: lower optimizer.learning_rate;"
                " the last good checkpoint is kept"
            )
        checkpoint["strategy"] = named(trainer.strategy)


def finite(weights: list[Any]) -> bool:
    """Whether all that this rank holds of the weights is finite, with one wait for the device."""
    held: list[Tensor] = [one.to_local() if isinstance(one, DTensor) else one for one in (w.detach() for w in weights)]
    norms = torch._foreach_norm([one for one in held if one.numel()])
    return not norms or bool(torch.stack(list(norms)).isfinite().all())
