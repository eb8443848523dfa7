"""Does the small preview show what the large picture will be?

    python tests/benchmarks/bench_refinement.py --model DIR [--px 256] [--pictures 24] [--sheet FILE.png]

Held-out captions are drawn at the native size and refined to ``--px``.  Printed are feature distances (1 - cos) of the
preview, which is what the first stage ends with: to its own final picture, to the finals of other captions, and to a
drawing of the same caption and seed at ``--px`` at once, without a first stage.  An extractor takes a blurred picture
for another than a sharp one, so each stands there twice: to the large pictures, and to these shrunk to the preview's
size.  Means over subjects with 95 % intervals, a share with Wilson's; ``make bench`` runs it on a tiny random network.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from atelier import AtelierError
from data.dataset import open_dataset
from data.record import Record
from evaluation.drawing import to_image, to_tensor
from evaluation.drawings import colour_rows, in_drawn_order
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.protocol import extractor_identity
from evaluation.intervals import Interval, share_interval
from evaluation.suites.tasks import HELD_OUT
from evaluation.tasks.paired import difference, mean_over
from registry.artifacts import digest_folder
from synthesis.pipeline import MultiTaskPipeline, Progress
from synthesis.pixels import to_pictures
from synthesis.request import PictureRequest
from synthesis.tasks import resize
from synthesis.testing import make_tiny_pipeline

ROOT = Path(__file__).parents[2]
SHOWN_PX = 256


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is drawn: ``pictures`` captions at ``px``, in ``steps`` and ``refinement_steps``."""

    model: Path
    px: int = 256
    pictures: int = 24
    seed: int = 0
    steps: int = 16
    refinement_steps: int = 8
    judge: Path = ROOT / "assets" / "sample" / "base"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Numbers in -1..1, a row a caption: previews [N,3,h,w]; finals and direct drawings [N,3,H,W]."""

    half: Tensor
    preview: Tensor
    final: Tensor
    direct: Tensor


def captions(settings: Settings) -> list[Record]:
    """The first held-out colour drawings by the seed, their captions and styles."""
    judge = open_dataset(settings.judge)
    rows = in_drawn_order(judge, colour_rows(judge, HELD_OUT), settings.seed)
    return [judge.records[row] for row in rows[: settings.pictures]]


def stages(pipeline: MultiTaskPipeline, record: Record, seed: int, settings: Settings, refining: int) -> list[Progress]:
    """Every step of one picture."""
    request = PictureRequest(
        prompts=(record.caption,),
        seeds=(seed,),
        style=record.style if record.style in pipeline.styles else None,
        num_inference_steps=settings.steps,
        height=settings.px,
        width=settings.px,
        num_refinement_steps=refining,
    )
    return list(pipeline.stream(request))


def drawn(pipeline: MultiTaskPipeline, records: Sequence[Record], settings: Settings) -> Drawn:
    """Draw every caption in two stages and at once."""
    rows: list[tuple[Tensor, ...]] = []
    for place, record in enumerate(records):
        steps = stages(pipeline, record, settings.seed + place, settings, settings.refinement_steps)
        native = [step.estimate for step in steps if step.estimate.shape[-1] == pipeline.picture_px]
        at_once = stages(pipeline, record, settings.seed + place, settings, 0)[-1].estimate
        rows.append((native[len(native) // 2 - 1], native[-1], steps[-1].estimate, at_once))
        print(f"\r{place + 1} of {len(records)} drawn", end="", flush=True)
    print()
    half, preview, final, direct = (torch.cat(column).cpu() for column in zip(*rows, strict=True))
    return Drawn(half=half, preview=preview, final=final, direct=direct)


def distances(extractor: EfficientNetLite0, one: Tensor, other: Tensor) -> Tensor:
    """1 - cos of the features of every picture of ``one`` and every one of ``other`` [N,N]."""
    features = [normalize(extractor(to_tensor(to_pictures(side))).double().cpu(), dim=1) for side in (one, other)]
    return 1 - features[0] @ features[1].T


def measured(extractor: EfficientNetLite0, pictures: Drawn, subjects: Sequence[str], px: int) -> dict[str, Interval]:
    """Mean distances of previews to what was drawn at ``px``, all seen at the sizes that they are given in."""
    final, direct = (
        large if large.shape[-1] == px else resize(large, px) for large in (pictures.final, pictures.direct)
    )
    to_final = distances(extractor, pictures.preview, final)
    unlike = torch.tensor([[one != other for other in subjects] for one in subjects])
    to_others = (to_final * unlike).sum(1) / unlike.sum(1)
    own = mean_over(to_final.diagonal(), subjects)
    others = mean_over(to_others, subjects)
    at_once = mean_over(distances(extractor, pictures.preview, direct).diagonal(), subjects)
    nearest = int((to_final.argmin(1) == torch.arange(len(subjects))).sum())
    means = {
        "preview to its final": own,
        "preview halfway to its final": mean_over(distances(extractor, pictures.half, final).diagonal(), subjects),
        "preview to other captions' finals": others,
        "preview to a direct drawing": at_once,
        "its final less others' finals": difference(own, others),
        "its final less a direct drawing": difference(own, at_once),
    }
    intervals = {name: mean.interval() for name, mean in means.items()}
    return intervals | {"share whose own final is the nearest": share_interval(nearest, len(subjects))}


def sheet(pictures: Drawn, rows: int = 8) -> Image.Image:
    """Preview, final and direct drawing side by side, two captions a row."""
    columns = [pictures.preview, pictures.final, pictures.direct]
    count = min(rows * 2, len(pictures.final))
    board = Image.new("RGB", (2 * len(columns) * (SHOWN_PX + 4) + 4, (count + 1) // 2 * (SHOWN_PX + 4) + 4), "grey")
    for place in range(count):
        for column, numbers in enumerate(columns):
            tile = to_image(to_tensor(to_pictures(numbers[place : place + 1]))[0])
            left = 4 + (place % 2 * len(columns) + column) * (SHOWN_PX + 4)
            board.paste(
                tile.resize((SHOWN_PX, SHOWN_PX), Image.Resampling.NEAREST), (left, 4 + place // 2 * (SHOWN_PX + 4))
            )
    return board


def run(settings: Settings, sheet_file: Path | None = None) -> None:
    """Draw, measure and print."""
    pipeline = MultiTaskPipeline.load(settings.model)
    extractor = EfficientNetLite0()
    records = captions(settings)
    pictures = drawn(pipeline, records, settings)
    told = f"{pipeline.picture_px} to {settings.px} px, {settings.steps} + {settings.refinement_steps} steps"
    print(f"model {digest_folder(settings.model)[:12]}, {told}, N={len(records)}, seed {settings.seed}")
    print(f"{extractor_identity(extractor)}")
    subjects = [record.subject for record in records]
    for px in (settings.px, pipeline.picture_px):
        print(f"seen at {pipeline.picture_px} and {px} px:")
        for name, interval in measured(extractor, pictures, subjects, px).items():
            print(f"  {name:<38} {interval.value:7.4f}  [{interval.low:.4f}, {interval.high:.4f}]")
    if sheet_file is not None:
        sheet(pictures).save(sheet_file)


def test_a_preview_is_measured_against_its_final() -> None:
    """Print the figures of a tiny random network."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_pipeline(Path(folder) / "backbone", larger=((128, 16),))
        run(Settings(model=model, px=128, pictures=12, steps=2, refinement_steps=2), Path(folder) / "sheet.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=Settings.judge)
    for name in ("px", "pictures", "seed", "steps", "refinement_steps"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Settings, name))
    parser.add_argument("--sheet", type=Path, default=None)
    asked = vars(parser.parse_args())
    shown = asked.pop("sheet")
    try:
        run(Settings(**asked), shown)
    except AtelierError as error:
        parser.error(str(error))
