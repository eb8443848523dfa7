"""Tasks that give detail back to a picture which lost it: image-to-image, and super-resolution by 2 and by 4.

Shapes: numbers float32 [N,3,H,W] in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from evaluation.drawing import check_range
from evaluation.errors import EvaluationError
from evaluation.measurement import Column
from evaluation.tasks.bench import Bench, numbers_of, with_pictures
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import FeatureDistance, PeakSignal, Structure
from evaluation.tasks.trial import Rival, Trial
from synthesis.tasks import resize, task_named


@dataclass(frozen=True, kw_only=True)
class ImageToImageMeasure:
    """The drawing without its fine detail, to be drawn again after its caption; held against the drawing itself.

    At full strength the network sees nothing of the drawing but the task's own source, which is the baseline.
    """

    task: str = "image_to_image"
    title: str = "Image to image"

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        rows = bench.rows()
        truth = bench.truth(rows)
        clean = numbers_of(truth.pictures)
        source = bench.shown(
            "The source itself", "source", task_named(self.task).condition(clean, mask=None, generator=None)[0]
        )
        orders = with_pictures(bench.orders(rows, self.task), clean)
        trial = Trial(
            name=self.task,
            title=self.title,
            note="A drawing without its fine detail is drawn again after its caption.",
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=source,
            truth=truth,
            made=bench.drawn(orders),
            rivals=_rivals("source", source, bench.unadapted(orders)),
            scores=(FeatureDistance(network=bench.studio.extractor_identity), PeakSignal()),
        )
        return [trial.measure(bench)]


@dataclass(frozen=True, kw_only=True)
class SuperResolutionMeasure:
    """The drawing at a half and at a quarter of its side, to be drawn at its full side; the baseline is bicubic."""

    task: str = "super_resolution"
    title: str = "Super-resolution"
    factors: Sequence[int] = (2, 4)

    def __post_init__(self) -> None:
        if not self.factors:
            raise EvaluationError("super-resolution needs a factor: factors=[2,4]")
        for factor in self.factors:
            check_range("a factor of super-resolution", factor, 2, 8)

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return a result a factor."""
        rows = bench.rows()
        truth = bench.truth(rows)
        return [self._by(factor, rows, truth, bench) for factor in self.factors]

    def _by(self, factor: int, rows: Sequence[int], truth: Column, bench: Bench) -> TaskResult:
        px = bench.abilities.px
        small = shrunk(truth.pictures, px // factor)
        bicubic = bench.shown("Bicubic", "bicubic", resize(small, px))
        orders = with_pictures(bench.orders(rows, self.task), small)
        trial = Trial(
            name=f"{self.task}_{factor}x",
            title=f"{self.title}, {factor}×",
            note=f"A drawing of {px // factor} px is drawn at {px} px.",
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=bicubic,
            truth=truth,
            made=bench.drawn(orders),
            rivals=_rivals("bicubic", bicubic, bench.unadapted(orders)),
            scores=(PeakSignal(), Structure(), FeatureDistance(network=bench.studio.extractor_identity)),
        )
        return trial.measure(bench)


def shrunk(pictures_N3HW: Tensor, side_px: int) -> Tensor:
    """Return pictures as a person's small file would hold them: the task's own resampling, in whole bytes."""
    small = resize(numbers_of(pictures_N3HW), side_px)
    return ((small + 1) * 127.5).round() / 127.5 - 1


def _rivals(key: str, source: Column, unadapted: Sequence[tuple[str, Column]]) -> list[Rival]:
    return [
        Rival(key=key, column=source),
        *(Rival(key=name, column=column, role="model") for name, column in unadapted),
    ]
