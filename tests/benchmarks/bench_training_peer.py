"""Pictures a second of this project's training beside diffusers' own example, on one network, batch and precision.

python tests/benchmarks/bench_training_peer.py --script train_text_to_image.py          # a tiny network on a CPU
python tests/benchmarks/bench_training_peer.py --script train_text_to_image.py --device gpu --steps 50 --batch 32 \\
    --side 512 --channels 320 640 1280 --layers 2 compile=true

The script is ``examples/text_to_image/train_text_to_image.py`` of diffusers' repository; it needs the package datasets.
Both learn every weight of a random Stable Diffusion UNet of these widths, with AdamW, a moving average and the codec in
the step, from drawings of one corpus (the example from eight batches of it), and are timed between the same two steps
with the device idle at both. Ours has five more input channels and learns all tasks. Words with "=" are settings of
``atelier train``.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.bench_training import ROOT, Run, now, start

PEER_KEY, WARM_KEY, STEPS_KEY = "PEER_FIGURES", "PEER_WARM_STEPS", "PEER_STEPS"
SAMPLE = ROOT / "assets" / "sample" / "base"


def main() -> int:
    """Make the model and the pictures, run both, print the ratio."""
    if PEER_KEY in os.environ:
        work()
        return 0
    told = arguments()
    with tempfile.TemporaryDirectory() as folder:
        model, widened, drawings = Path(folder, "model"), Path(folder, "widened"), Path(folder, "drawings")
        parameters = make_model(model, told)
        make_drawings(drawings, told)
        call([sys.executable, "-m", "atelier", "widen", f"source={model}", f"out={widened}", "licence=Apache-2.0"])
        rounds = [(ours(widened, told), peer(model, drawings, Path(folder), told)) for _ in range(told.rounds)]
    print(table(rounds, parameters, told))
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, required=True, help="diffusers' train_text_to_image.py")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--steps", type=int, default=30, help="that are timed")
    parser.add_argument("--warm", type=int, default=None, help="steps before the clock runs")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=11)
    parser.add_argument("--side", type=int, default=32, help="of a picture, in px")
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--layers", type=int, default=1, help="a resolution")
    parser.add_argument("--workers", type=int, default=0, help="of the example's loader")
    parser.add_argument("--seconds", type=float, default=400, help="that one start may take")
    told, settings = parser.parse_known_intermixed_args()
    told.settings, told.profile = settings, False
    told.warm = (10 if told.device == "cpu" else 20) if told.warm is None else told.warm
    return told


def make_model(folder: Path, told: argparse.Namespace) -> int:
    """A random Stable Diffusion model whose UNet has the asked widths; return the UNet's number of parameters."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    from synthesis.pretrained.testing import WIDTH, make_tiny_pretrained

    make_tiny_pretrained("SD", folder)
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder))
    levels = len(told.channels)
    codec_px = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    pipeline.unet = UNet2DConditionModel(
        sample_size=told.side // codec_px,
        in_channels=4,
        out_channels=4,
        block_out_channels=tuple(told.channels),
        layers_per_block=told.layers,
        norm_num_groups=32,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
    )
    pipeline.save_pretrained(str(folder))
    return sum(weight.numel() for weight in pipeline.unet.parameters())


def make_drawings(folder: Path, told: argparse.Namespace) -> None:
    """The sample's drawings and captions as the folder of pictures that the example reads."""
    from data.dataset import open_dataset

    folder.mkdir()
    dataset = open_dataset(SAMPLE)
    rows = dataset.rows(split="train")[: 8 * told.batch]
    with (folder / "metadata.jsonl").open("w") as table:
        for row in rows:
            dataset.picture(row).convert("RGB").save(folder / f"{row}.png")
            table.write(json.dumps({"file_name": f"{row}.png", "text": dataset.records[row].caption}) + "\n")


def ours(widened: Path, told: argparse.Namespace) -> Run:
    """The project's own job."""
    precision = "32-true" if told.device == "cpu" else "bf16-mixed"
    settings = ["backbone=pretrained", f"backbone.folder={widened}", f"backbone.side_px={told.side}"]
    settings += [f"dataset.batch_pictures={told.batch}", f"dataset.folder={SAMPLE}", f"trainer.precision={precision}"]
    return start(1, argparse.Namespace(**vars(told) | {"settings": [*settings, *told.settings]}))


def peer(model: Path, drawings: Path, folder: Path, told: argparse.Namespace) -> float:
    """Pictures a second of the example, run as it is."""
    figures = folder / "peer.json"
    steps = told.warm + told.steps + 1
    command = [sys.executable, __file__, str(told.script.resolve())]
    command += [f"--pretrained_model_name_or_path={model}", f"--train_data_dir={drawings}", "--use_ema"]
    command += [f"--resolution={told.side}", f"--train_batch_size={told.batch}", f"--max_train_steps={steps}"]
    command += [f"--output_dir={folder / 'trained'}", "--checkpointing_steps=100000", "--learning_rate=1e-5"]
    command += [f"--cache_dir={folder / 'cache'}", f"--dataloader_num_workers={told.workers}"]
    command += [f"--mixed_precision={'no' if told.device == 'cpu' else 'bf16'}", "--image_column=image"]
    command += ["--caption_column=text", *(["--allow_tf32"] if told.device == "gpu" else [])]
    environment = os.environ | {PEER_KEY: str(figures), WARM_KEY: str(told.warm), STEPS_KEY: str(told.steps)}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    call(command, environment, told.seconds)
    return float(told.steps * told.batch / json.loads(figures.read_text())["seconds"])


def work() -> None:
    """Run the example with a clock at the same two steps."""
    from accelerate import Accelerator

    warm, steps = int(os.environ[WARM_KEY]), int(os.environ[STEPS_KEY])
    backward, clock = Accelerator.backward, {"calls": 0, "began": 0.0}

    def timed(accelerator: Any, loss: Any, **settings: Any) -> None:
        if clock["calls"] == warm:
            clock["began"] = now()
        if clock["calls"] == warm + steps:
            Path(os.environ[PEER_KEY]).write_text(json.dumps({"seconds": now() - clock["began"]}))
        clock["calls"] += 1
        backward(accelerator, loss, **settings)

    Accelerator.backward = timed
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


def call(command: list[str], environment: dict[str, str] | None = None, seconds: float = 400) -> None:
    """Run a command of the bench, or say what it said."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
    if done.returncode:
        raise SystemExit(f"{command[1:3]} failed: {done.stderr[-1500:]}")


def table(rounds: list[tuple[Run, float]], parameters: int, told: argparse.Namespace) -> str:
    """A row a round."""
    head = f"UNet of {parameters / 1e6:.1f} M parameters, {told.side} px, batch {told.batch}, {told.device}"
    rows = [f"{head}, {told.steps} steps after {told.warm}"]
    rows += ["| round | this project, pictures/s | diffusers' example, pictures/s | ratio |", "|---|---|---|---|"]
    for number, (run, theirs) in enumerate(rounds, 1):
        mine = run.pictures_per_second
        rows.append(f"| {number} | {mine:.2f} | {theirs:.2f} | {mine / theirs:.2f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
