"""How a run is spread over devices: FSDP2 and DeepSpeed ZeRO-2 beside Lightning's own DDP.

Below about two billion parameters DDP is the fastest. FSDP2 also shards weights, gradients and moments; ZeRO-2 shards
gradients and moments alone. All three keep float32 weights and the same arithmetic, so what they export is of one kind.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard

from synthesis.backbone import GatedMLP
from training.errors import TrainingError

LOST_AFTER = timedelta(minutes=10)  # a rank that is silent for longer is lost


class WholeCheckpoints(TorchCheckpointIO):  # type: ignore[misc]
    """Writes a checkpoint beside the last one and then renames it.

    Lightning's own goes through the system's temporary folder: from another disk that is a copy, which a kill halves.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the file whole or not at all.

        Raises:
            TrainingError: there is no room, or the folder may not be written to.
        """
        target = Path(path)
        building = target.with_name(f".{target.name}.building")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with building.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            building.unlink(missing_ok=True)
            raise TrainingError(_unwritten(target, int(checkpoint.get("global_step", 0)), error)) from error
        building.replace(target)


def _unwritten(target: Path, step: int, error: BaseException) -> str:
    """One line on a checkpoint that could not be written; torch hides the system's word behind its own."""
    causes = [error, error.__context__, error.__cause__]
    told = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    free = shutil.disk_usage(target.parent).free // 2**20
    kept = "the one before is kept" if target.exists() else "there is none before it"
    why = told or str(error).splitlines()[0]
    return (
        f"the checkpoint of step {step} could not be written to {target} ({why}; {free:,} MiB are free): {kept};"
        " make room, then run the same command again to go on"
    )


class FullySharded(ModelParallelStrategy):  # type: ignore[misc]
    """FSDP2 over all devices of the run, with one checkpoint file of whole tensors, written by the first rank."""

    def __init__(self, *, timeout: timedelta = LOST_AFTER) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=timeout)

    def setup_environment(self) -> None:
        """Let one data-parallel group hold every device; Lightning's own default is a group a node."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


class ZeroTwo(DeepSpeedStrategy):  # type: ignore[misc]
    """DeepSpeed ZeRO-2 without offloading. A checkpoint is a folder, in place once it is whole.

    Lightning's strategy is for GPUs alone; with DeepSpeed's own ``DS_ACCELERATOR=cpu`` this one also runs on CPUs.
    """

    def __init__(self, *, config: Mapping[str, Any], timeout: timedelta = LOST_AFTER) -> None:
        on_cpu = os.environ.get("DS_ACCELERATOR") == "cpu"
        if importlib.util.find_spec("deepspeed") is None or not (on_cpu or torch.cuda.is_available()):
            raise TrainingError(
                "trainer=deepspeed needs the package deepspeed (pip install -e .[deepspeed]) and a GPU, or"
                " DS_ACCELERATOR=cpu and trainer.accelerator=cpu; trainer=fsdp needs neither"
            )
        super().__init__(config=dict(config), timeout=timeout)

    def setup_environment(self) -> None:
        """Start the processes' group; on CPUs without Lightning's refusal of them, and with a number for each."""
        if not isinstance(self.accelerator, CPUAccelerator):
            super().setup_environment()
            return
        self.parallel_devices = [torch.device("cpu", place) for place in range(len(super().parallel_devices or ()))]
        super(DeepSpeedStrategy, self).setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write beside the last one, then rename: DeepSpeed's own way overwrites the last one file by file."""
        target = Path(self.broadcast(filepath))
        building = target.with_name(f".{target.name}.building")
        if self.is_global_zero:
            shutil.rmtree(building, ignore_errors=True)
        self.barrier()
        try:
            super().save_checkpoint(checkpoint, building, storage_options)
        except (OSError, RuntimeError) as error:
            raise TrainingError(_unwritten(target, int(checkpoint.get("global_step", 0)), error)) from error
        self.barrier()
        if self.is_global_zero:
            before = before_it(target)
            shutil.rmtree(before, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                target.rename(before)
            building.rename(target)
            shutil.rmtree(before, ignore_errors=True)
        self.barrier()


def before_it(target: Path) -> Path:
    """Where a folder waits while its successor takes its place."""
    return target.with_name(f"{target.name}.before")


def shard(network: nn.Module, strategy: Any) -> None:
    """Shard each block by itself, then the rest; gathered weights are given back after each use."""
    mesh = strategy.device_mesh["data_parallel"]
    for block in _blocks(network):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)


def compile_network(network: nn.Module, *, sharded: bool, on_gpu: bool) -> None:
    """Compile in place, so that keys stay what they were: the whole network, or each block where FSDP2 gathers it.

    On a GPU the 3x3 of the project's own blocks becomes a kernel of its own (docs/adr/0017).

    One graph, not one a gradient bucket: at these sizes the buckets' exchange takes 0.8 ms of a step, the launches
    between six graphs 20 ms.
    """
    torch._dynamo.config.optimize_ddp = False
    torch._dynamo.config.automatic_dynamic_shapes = False  # a graph a size, each with its own static shapes
    if on_gpu and importlib.util.find_spec("triton") is not None:
        mix_by_kernel(network)
    if not sharded:
        network.compile()
        return
    for block in _blocks(network):
        # The forward alone: FSDP2's hooks around it would break the graph.
        setattr(block, "forward", torch.compile(block.forward))  # noqa: B010


def mix_by_kernel(network: nn.Module) -> None:
    """Let every gated MLP on a GPU mix neighbours in one pass."""
    from training.depthwise import mixed_with_neighbours  # imports triton, which comes with torch for GPUs alone

    for module in network.modules():
        if isinstance(module, GatedMLP):
            module.mixer = mixed_with_neighbours


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    blocks = getattr(network, "blocks", None)
    yield from blocks if isinstance(blocks, nn.ModuleList) else ()


def named(strategy: Any) -> str:
    """The word for a strategy in ``conf/trainer/``, as far as checkpoints differ by it."""
    if isinstance(strategy, DeepSpeedStrategy):
        return "deepspeed"
    return "fsdp" if isinstance(strategy, ModelParallelStrategy) else "ddp"
