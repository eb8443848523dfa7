"""A small fixed choice of held-out drawings, measured again and again while a model is trained.

Small and quick rather than exact: N = 32 says whether a run goes the right way, not how good a model is.
Shapes: pictures uint8 [N,3,H,W], features float32 [N,D].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from data.dataset import Dataset
from evaluation.drawing import DrawingSettings, Order, in_batches, request_of, to_image, to_tensor
from evaluation.drawings import colour_rows, in_drawn_order, real_pictures
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.figures import Figure
from evaluation.metrics.kernel import kernel_distance
from evaluation.scene import label_of
from evaluation.tasks.paired import mean_over
from evaluation.tasks.pixels import peak_signal_to_noise
from evaluation.tasks.restoring import shrunk
from synthesis.pipeline import MultiTaskPipeline
from synthesis.pixels import to_pictures

SPLITS = ("heldout_pair", "heldout_subject")
FACTOR = 4
SHOWN = 12
SHOWN_PX = 96


@dataclass(frozen=True)
class Measured:
    """The figures of one moment, and a sheet of examples: true, drawn from text, given small, drawn large."""

    figures: tuple[Figure, ...]
    sheet: Image.Image


class HeldOutSubset:
    """The first ``pictures`` held-out colour drawings of a dataset by the seed, each with its order."""

    def __init__(
        self, judge: Dataset, *, pictures: int, seed: int, px: int, drawing: DrawingSettings, tasks: Sequence[str]
    ) -> None:
        """Choose the drawings.  Raises TooFewPicturesError when the dataset holds fewer out."""
        rows = colour_rows(judge, SPLITS)
        if len(rows) < pictures:
            raise TooFewPicturesError(
                f"{judge.folder} holds {len(rows)} colour drawings out of training, {pictures} are measured on the way:"
                f" pass measured.pictures={len(rows)} or less"
            )
        self._judge, self._rows = judge, in_drawn_order(judge, rows, seed)[:pictures]
        self._seed, self._px, self._drawing = seed, px, drawing
        self._enlarges = "super_resolution" in tasks
        self._real: Tensor | None = None

    @property
    def subject(self) -> str:
        """What is measured and how: steps of another subject are not the same curve."""
        told = f"{label_of(self._judge, self._seed)}/{self._px}px/N={len(self._rows)}"
        return f"{told}/{self._drawing.num_inference_steps}steps/guidance{self._drawing.guidance_scale}"

    @cached_property
    def truth(self) -> Tensor:
        """The real drawings [N,3,H,W]."""
        return real_pictures(self._judge, self._rows, self._px)

    def measure(self, pipeline: MultiTaskPipeline, extractor: Extractor) -> Measured:
        """Draw the subset and measure it; the same pipeline gives the same figures.

        Raises EvaluationError when the pipeline draws what is not a number.
        """
        drawn = self._drawn(pipeline, self._orders("text_to_image"))
        if self._real is None:
            self._real = _features(extractor, self.truth)
        distance = kernel_distance(self._real, _features(extractor, drawn)).interval()
        identity = f"subset-kernel/{extractor_identity(extractor)}/{self.subject}"
        figures = [
            Figure.of("kernel_distance", distance, count=len(drawn), identity=identity, better="lower"),
        ]
        if not self._enlarges:
            return Measured(tuple(figures), _sheet([self.truth, drawn]))
        small = to_pictures(shrunk(self.truth, self._px // FACTOR))
        large = self._drawn(pipeline, self._orders("super_resolution", small))
        figures.append(self._psnr(large))
        shown = to_tensor([picture.resize((self._px, self._px), Image.Resampling.NEAREST) for picture in small])
        return Measured(tuple(figures), _sheet([self.truth, drawn, shown, large]))

    def _orders(self, task: str, pictures: Sequence[Image.Image] = ()) -> list[Order]:
        records = [self._judge.records[row] for row in self._rows]
        return [
            Order(
                prompt=record.caption,
                seed=self._seed + place,
                style=record.style,
                task=task,
                picture=pictures[place] if pictures else None,
            )
            for place, record in enumerate(records)
        ]

    def _drawn(self, pipeline: MultiTaskPipeline, orders: Sequence[Order]) -> Tensor:
        pictures: dict[int, Image.Image] = {}
        for rows in in_batches(orders, range(len(orders)), self._drawing.batch_pictures):
            *_, last = pipeline.stream(request_of([orders[row] for row in rows], self._drawing))
            if not bool(last.estimate.isfinite().all()):
                raise EvaluationError("the network draws values that are not numbers")
            pictures |= dict(zip(rows, last.pictures(), strict=True))
        return to_tensor([pictures[row] for row in range(len(orders))])

    def _psnr(self, large: Tensor) -> Figure:
        subjects = [self._judge.records[row].subject for row in self._rows]
        interval = mean_over(peak_signal_to_noise(large, self.truth), subjects).interval()
        identity = f"subset-super-resolution{FACTOR}x-psnr/{self.subject}"
        return Figure.of(
            "super_resolution_psnr", interval, count=len(large), identity=identity, better="higher", unit="dB"
        )


def _features(extractor: Extractor, pictures_N3HW: Tensor, batch_pictures: int = 32) -> Tensor:
    return torch.cat([extractor(batch).cpu() for batch in pictures_N3HW.split(batch_pictures)])


def _sheet(columns: Sequence[Tensor]) -> Image.Image:
    """Return a row a column of pictures, the first few beneath each other."""
    shown = min(SHOWN, len(columns[0]))
    sheet = Image.new("RGB", (shown * (SHOWN_PX + 4) + 4, len(columns) * (SHOWN_PX + 4) + 4), "white")
    for band, pictures in enumerate(columns):
        for place in range(shown):
            tile = to_image(pictures[place]).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.NEAREST)
            sheet.paste(tile, (4 + place * (SHOWN_PX + 4), 4 + band * (SHOWN_PX + 4)))
    return sheet
