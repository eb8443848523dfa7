"""Trains, kills, resumes and exports one backbone under each strategy, and prints what differs.

python tests/benchmarks/run_strategies.py                                   # two processes on a CPU, tiny backbone
python tests/benchmarks/run_strategies.py --device gpu --processes 4 --strategies ddp fsdp deepspeed \\
    --steps 60 backbone=small dataset.batch_pictures=64

Each strategy runs twice in one folder: the first start is killed (SIGKILL, every process) in step ``--kill``, the
second goes on from the checkpoint of the steps before. Words with "=" are settings of ``atelier train``.

On a CPU in full precision exports are equal when their weights are. On GPUs products are of half precision, and Adam
moves a weight whose gradient is noise as far as any other: there exports are equal when they hold the same tensors and
the held-out loss is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "backbone/transformer/diffusion_pytorch_model.safetensors"
KILL_KEY, FIGURES_KEY = "STRATEGIES_KILL_STEP", "STRATEGIES_FIGURES"
NO_DEEPSPEED = "not installed"
WARM_STEPS = 3  # after a start, before the clock runs


@dataclass(frozen=True)
class Outcome:
    """What one strategy came to; ``failure`` instead where it did not."""

    strategy: str
    figures: dict[str, float]
    failure: str = ""


def main() -> int:
    """Run all, print the table; 1 where a strategy failed or its export differs from that of the first."""
    if KILL_KEY in os.environ:
        work()
        return 0
    told = arguments()
    outcomes = [run(strategy, told) for strategy in told.strategies]
    print(table(outcomes, told), flush=True)
    return int(any(one.failure and one.failure != NO_DEEPSPEED for one in outcomes) or not alike(outcomes, told))


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--strategies", nargs="+", default=["ddp", "fsdp"])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--kill", type=int, default=None, help="step in which the first start is killed")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=None,
        help="on a CPU of each exported weight, beside 1/1024 of it; on GPUs a share of the held-out loss",
    )
    parser.add_argument("--out", type=Path, default=Path("var/strategies"))
    parser.add_argument("--seconds", type=float, default=280, help="that one start may take")
    told, settings = parser.parse_known_intermixed_args()
    told.settings = settings
    told.checkpoint = max(1, told.steps // 2)
    told.kill = told.checkpoint + 1 if told.kill is None else told.kill
    told.tolerance = (1e-5 if told.device == "cpu" else 0.01) if told.tolerance is None else told.tolerance
    return told


def run(strategy: str, told: argparse.Namespace) -> Outcome:
    """Start, be killed, start again; return the figures of the second start."""
    folder = (told.out / strategy).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    if strategy == "deepspeed" and not installed("deepspeed"):
        return Outcome(strategy, {}, NO_DEEPSPEED)
    killed = start(strategy, folder, told, kill=told.kill)
    if killed.returncode == 0 or not (folder / "checkpoints").is_dir():
        return Outcome(strategy, {}, f"the first start ended otherwise than killed: {last_words(killed.stderr)}")
    done = start(strategy, folder, told, kill=-1)
    if done.returncode:
        return Outcome(strategy, {}, f"did not resume: {last_words(done.stderr)}")
    figures: dict[str, float] = json.loads((folder / "figures.json").read_text())
    if figures["began_at"] != told.checkpoint:
        return Outcome(strategy, figures, f"went on from step {figures['began_at']:.0f}, not {told.checkpoint}")
    return Outcome(strategy, figures)


def installed(name: str) -> bool:
    """Whether a package can be imported by the interpreter that trains."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def start(strategy: str, folder: Path, told: argparse.Namespace, *, kill: int) -> subprocess.CompletedProcess[str]:
    """Train under torchrun, with this file as the program."""
    mixed = "trainer.strategy.config.torch_autocast.enabled=false"
    in_float32 = mixed if strategy == "deepspeed" else "trainer.precision=32-true"
    device = ["trainer.accelerator=cpu", in_float32] if told.device == "cpu" else ["trainer.accelerator=gpu"]
    settings = [
        *("train", "experiment=smoke", f"trainer={strategy}", f"trainer.devices={told.processes}", *device),
        *("dataset.batch_pictures=8", "dataset.heldout_pictures=16", f"out={folder}", f"max_steps={told.steps}"),
        *(f"checkpoint_steps={told.checkpoint}", f"trainer.val_check_interval={told.checkpoint}"),
        *("trainer.log_every_n_steps=1", "optimizer.warmup_steps=2", "code_commit=strategies", *told.settings),
    ]
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={told.processes}", __file__]
    environment = os.environ | {KILL_KEY: str(kill), FIGURES_KEY: str(folder / "figures.json")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]), "OMP_NUM_THREADS": "1"}
    environment |= {"DS_ACCELERATOR": "cpu"} if told.device == "cpu" else {}
    command = [sys.executable, *launch, *settings]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=told.seconds
    )


def last_words(text: str) -> str:
    """The line of a failed start that says why."""
    lines = [line for line in text.splitlines() if line.startswith("atelier: ") or "Error" in line]
    return (lines or text.splitlines()[-1:] or ["nothing"])[0][:300]


def work() -> None:
    """Be a process of the run: die in a step where told so, else note the figures."""
    import torch

    from atelier import main as front_door
    from training.steps import DiffusionTraining

    kill, noted, clock = int(os.environ[KILL_KEY]), {"loss": float("nan")}, {"began": 0.0, "first": 0.0}
    step = DiffusionTraining.training_step

    def timed(module: Any, rows: Any, index: int) -> Any:
        if module.global_step == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        noted.setdefault("began_at", float(module.global_step))
        if module.global_step == noted["began_at"] + WARM_STEPS:
            clock["began"], clock["first"] = now(), float(module.global_step)
        return step(module, rows, index)

    def ended(module: Any) -> None:
        took = now() - clock["began"]
        counted = module.global_step - clock["first"]
        seconds = took / counted if clock["began"] and counted else float("nan")
        memory = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else float("nan")
        values = {key: float(value) for key, value in module.trainer.callback_metrics.items()}
        told = noted | {
            "seconds": seconds,
            "peak_mib": memory,
            "heldout_loss": values.get("heldout_loss", float("nan")),
        }
        if module.trainer.is_global_zero:
            Path(os.environ[FIGURES_KEY]).write_text(json.dumps(told | {"loss": values["loss"]}))

    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    DiffusionTraining.training_step = timed  # type: ignore[method-assign, assignment]
    DiffusionTraining.on_train_end = ended
    front_door()


def distance(one: Path, other: Path) -> tuple[float, float]:
    """The largest difference of two exported weights, and the largest beyond 1/1024 of the weight (half precision)."""
    from safetensors.torch import load_file

    left, right = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    if left.keys() != right.keys():
        return float("inf"), float("inf")
    apart = {name: (left[name].float() - right[name].float()).abs() for name in left}
    beyond = (float((apart[name] - left[name].float().abs() / 1024).max()) for name in left)
    return max(float(value.max()) for value in apart.values()), max(0.0, *beyond)


def same_tensors(one: Path, other: Path) -> bool:
    """Whether two exports hold tensors of the same names, shapes and types."""
    from safetensors.torch import load_file

    left, right = ({name: (w.shape, w.dtype) for name, w in load_file(at / WEIGHTS).items()} for at in (one, other))
    return left == right


def equal(first: Outcome, other: Outcome, told: argparse.Namespace) -> bool:
    """Whether two exports are equal, as the head of this file says."""
    folders = told.out / first.strategy, told.out / other.strategy
    if told.device == "cpu":
        return bool(distance(*folders)[1] <= told.tolerance)
    apart = abs(other.figures["heldout_loss"] / first.figures["heldout_loss"] - 1)
    return same_tensors(*folders) and bool(apart <= told.tolerance)


def alike(outcomes: list[Outcome], told: argparse.Namespace) -> bool:
    """Whether all exports equal that of the first strategy."""
    done = [one for one in outcomes if not one.failure]
    return all(equal(done[0], other, told) for other in done[1:])


def table(outcomes: list[Outcome], told: argparse.Namespace) -> str:
    """A row a strategy."""
    head = f"{told.processes} x {told.device}, {told.steps} steps, killed in {told.kill}, resumed at {told.checkpoint}"
    rows = [head, "| strategy | loss | held-out loss | s/step | peak MiB | largest difference of the export | equal |"]
    rows += ["|---|---|---|---|---|---|---|"]
    first = next((one for one in outcomes if not one.failure), None)
    for one in outcomes:
        if one.failure or first is None:
            rows.append(f"| {one.strategy} | {one.failure} | | | | | |")
            continue
        apart, _ = distance(told.out / first.strategy, told.out / one.strategy)
        figures = " | ".join(f"{one.figures[key]:.4f}" for key in ("loss", "heldout_loss", "seconds"))
        same = "-" if one is first else "yes" if equal(first, one, told) else "no"
        rows.append(f"| {one.strategy} | {figures} | {one.figures['peak_mib']:.0f} | {apart:.2e} | {same} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
