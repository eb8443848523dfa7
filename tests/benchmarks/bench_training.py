"""How near training comes to what the device can do, and what more devices bring.

python tests/benchmarks/bench_training.py                                      # one CPU process, tiny backbone
python tests/benchmarks/bench_training.py --device gpu --processes 1 2 4 --steps 60 --profile \\
    backbone=base compile=true dataset.batch_pictures=256

Each row is the project's own job under torchrun, timed between two steps with the device idle at both. Model FLOPs are
counted on the network (forward and backward of one picture), the ceiling is a product of two large matrices in the same
precision and the same run. Words with "=" are settings of ``atelier train``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
FIGURES_KEY, WARM_KEY, PROFILE_KEY = "TRAINING_FIGURES", "TRAINING_WARM_STEPS", "TRAINING_PROFILED_STEPS"
FETCH = "[_TrainingEpochLoop].train_dataloader_next"  # Lightning's name for waiting on the loader
KINDS = {
    "matrix products": ("gemm", "cutlass", "nvjet", "xmma", "addmm", "aten::mm", "aten::bmm"),
    "attention": ("flash", "fmha", "sdpa", "attention", "cudnn_generated"),
    "optimizer": ("multi_tensor", "adam", "foreach"),
    "exchange between devices": ("nccl", "gloo"),
    "fused elementwise": ("triton",),
    "copies": ("memcpy", "memset", "copy"),
}


@dataclass(frozen=True)
class Run:
    """What one start came to."""

    processes: int
    pictures_per_second: float
    wait_share: float
    peak_mib: float
    kinds: dict[str, float]


def main() -> int:
    """Count, time, print."""
    if FIGURES_KEY in os.environ:
        work()
        return 0
    told = arguments()
    ceiling, flops, side_px = counted(told)
    runs = []
    for processes in told.processes:
        runs.append(start(processes, told))
        print(runs[-1], file=sys.stderr)  # of a long bench that is stopped, what was measured stays
    print(table(runs, ceiling, flops, side_px, told))
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=30, help="that are timed")
    parser.add_argument("--warm", type=int, default=None, help="steps before the clock runs")
    parser.add_argument("--profile", action="store_true", help="tell where the device's time goes, after the clock")
    parser.add_argument("--seconds", type=float, default=500, help="that one start may take")
    told, settings = parser.parse_known_intermixed_args()
    told.settings = settings
    told.warm = (10 if told.device == "cpu" else 30) if told.warm is None else told.warm
    return told


def overrides(told: argparse.Namespace) -> list[str]:
    """Settings of the job."""
    on_cpu = ["trainer=auto", "trainer.accelerator=cpu", "trainer.precision=32-true"]
    device = on_cpu if told.device == "cpu" else ["trainer=ddp", "trainer.accelerator=gpu"]  # the experiment's is a cpu
    return ["experiment=smoke", "dataset.heldout_pictures=0", "code_commit=bench", *device, *told.settings]


def counted(told: argparse.Namespace) -> tuple[float, float, int]:
    """FLOP/s of the ceiling, FLOPs of a picture in training, and its side in px."""
    import torch
    from hydra import compose, initialize_config_dir

    from training.train import new_network

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides(told))
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if told.device == "gpu" else "cpu")
    network = new_network(config.backbone, ("a",))
    return (
        matmul_ceiling(device),
        training_flops(network, int(config.dataset.caption_tokens)),
        int(network.config.native_px),
    )


def matmul_ceiling(device: Any) -> float:
    """FLOP/s of the best of several products of square matrices, in the precision that training uses."""
    import torch

    on_gpu = device.type == "cuda"
    side, dtype = (8192, torch.bfloat16) if on_gpu else (2048, torch.float32)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(30 if on_gpu else 5):
        began = now()
        _ = left @ right
        best = min(best, now() - began)
    return 2 * side**3 / best


def training_flops(network: Any, caption_tokens: int) -> float:
    """FLOPs of forward and backward for one picture, counted where each operation is called."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    px = int(network.config.native_px)
    told = {
        "source": torch.zeros(1, 3, px, px),
        "mask": torch.zeros(1, 1, px, px),
        "task": torch.zeros(1, dtype=torch.long),
        "style": torch.zeros(1, dtype=torch.long),
        "appearance": torch.zeros(1, network.config.appearance_width),
        "text": torch.zeros(1, caption_tokens, network.config.text_width),
        "text_mask": torch.ones(1, caption_tokens, dtype=torch.bool),
        "reference": torch.zeros(1, 3, 64, 64),
        "reference_mask": torch.ones(1, dtype=torch.bool),
    }
    # Attention as plain products: the counter knows no formula for every fused kernel.
    known = {torch.ops.aten.convolution_backward: convolution_backward_flops}
    with FlopCounterMode(display=False, custom_mapping=known) as counter, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 3, px, px), torch.full((1,), 0.5), **told).sum().backward()
    return float(counter.get_total_flops())


def convolution_backward_flops(
    gradient_shape: Sequence[int], picture_shape: Sequence[int], weight_shape: Sequence[int], *_: Any, **__: Any
) -> int:
    """Both gradients of a convolution, each as dear as going forward.

    The counter's own formula forgets the groups: for a depth-wise one of 2,816 channels it is 2,816 times too high.
    """
    return 2 * 2 * prod(gradient_shape) * prod(weight_shape[1:])


def start(processes: int, told: argparse.Namespace) -> Run:
    """Train under torchrun, with this file as the program."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        profiled = 6 if told.profile else 0
        steps = told.warm + told.steps + profiled + 1
        settings = [*overrides(told), f"trainer.devices={processes}", f"out={folder}/run", f"max_steps={steps}"]
        settings += [f"checkpoint_steps={10 * steps}", "+trainer.limit_val_batches=0", "+trainer.profiler=simple"]
        settings += [f"trainer.val_check_interval={10 * steps}", f"trainer.log_every_n_steps={steps}"]
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", __file__, "train"]
        environment = os.environ | {FIGURES_KEY: str(figures), WARM_KEY: str(told.warm), PROFILE_KEY: str(profiled)}
        environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]), "TRAINING_STEPS": str(told.steps)}
        command = [sys.executable, *launch, *settings]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=told.seconds
        )
        if done.returncode:
            raise SystemExit(f"{processes} processes did not train: {done.stderr[-1500:]}")
        return Run(processes, **json.loads(figures.read_text()))


def work() -> None:
    """Be a process of the run: note the time at two steps, and the kernels of those after."""
    import torch

    from atelier import main as front_door
    from training.steps import DiffusionTraining

    warm, steps = int(os.environ[WARM_KEY]), int(os.environ["TRAINING_STEPS"])
    profiled = int(os.environ[PROFILE_KEY])
    step, clock, kinds = DiffusionTraining.training_step, dict[str, float](), dict[str, float]()
    watch: list[Any] = []

    def timed(module: Any, rows: Any, index: int) -> Any:
        waited = sum(module.trainer.profiler.recorded_durations.get(FETCH, []))
        if module.global_step == warm:
            clock.update(began=now(), waited_before=waited, pictures=len(rows) * module.trainer.world_size * steps)
        if module.global_step == warm + steps:
            clock.update(ended=now(), waited=waited)
            if profiled:
                watch.append(torch.profiler.profile(acc_events=True))
                watch[0].__enter__()
        if watch and module.global_step == warm + steps + profiled:
            ended = now()
            watch[0].__exit__(None, None, None)
            kinds.update(by_kind(watch.pop(), ended - clock["ended"]))
        return step(module, rows, index)

    def told(module: Any) -> None:
        if not module.trainer.is_global_zero:
            return
        seconds = clock["ended"] - clock["began"]
        peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else float("nan")
        wait = (clock["waited"] - clock["waited_before"]) / seconds
        rate = clock["pictures"] / seconds
        figures = {"pictures_per_second": rate, "wait_share": wait, "peak_mib": peak, "kinds": kinds}
        Path(os.environ[FIGURES_KEY]).write_text(json.dumps(figures))

    DiffusionTraining.training_step = timed  # type: ignore[method-assign, assignment]
    DiffusionTraining.on_train_end = told
    front_door()


def by_kind(profile: Any, seconds: float) -> dict[str, float]:
    """Shares of the time by the kind of kernel; "idle" is what no kernel filled."""
    import torch

    on_gpu = torch.cuda.is_available()
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        took = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
        if event.is_user_annotation or (on_gpu and not str(event.device_type).endswith("CUDA")):
            continue  # a region's name lies over the kernels within it
        name = event.key.lower()
        kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")
        spent[kind] = spent.get(kind, 0.0) + took / seconds
    return spent | {"idle": max(0.0, 1 - sum(spent.values()))}


def now() -> float:
    """The time, with the device idle."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def table(runs: list[Run], ceiling: float, flops: float, side_px: int, told: argparse.Namespace) -> str:
    """A row a number of processes; below, where the time of the last went."""
    head = f"{' '.join(told.settings) or 'tiny backbone'}, {side_px} px, {told.steps} steps after {told.warm}"
    rows = [f"{head}; a picture takes {flops / 1e9:.2f} GFLOP, the ceiling is {ceiling / 1e12:.2f} TFLOP/s a device"]
    rows += [
        "| processes | pictures/s | times one | of the ceiling | data wait | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    one = runs[0].pictures_per_second / runs[0].processes
    for run in runs:
        used = run.pictures_per_second * flops / run.processes / ceiling
        rate = f"{run.pictures_per_second:.1f} | {run.pictures_per_second / one:.2f}"
        rows.append(f"| {run.processes} | {rate} | {used:.1%} | {run.wait_share:.2%} | {run.peak_mib:.0f} |")
    for run in runs:
        shares = sorted(run.kinds.items(), key=lambda item: -item[1])
        if shares:
            rows.append(f"{run.processes}: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares))
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
