"""What every task is measured with: the model, drawings that it never learnt, and where it draws.

Shapes: pictures uint8 [N,3,H,W]; numbers float32 [N,3,H,W] in -1..1 as the tasks have them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Generator, Tensor

from data.dataset import Dataset
from data.record import Record
from evaluation.drawing import DrawingSettings, Order, to_tensor
from evaluation.drawings import colour_rows, in_drawn_order, real_pictures
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.measurement import Column
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.scene import label_of
from evaluation.studio import Studio
from registry.resolve import ResolvedModel
from synthesis.pixels import to_pictures
from synthesis.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a backbone's folder says that it can draw."""

    px: int
    tasks: tuple[str, ...]
    styles: tuple[str, ...]

    @classmethod
    def of(cls, backbone: Path) -> Abilities:
        """Read them from a backbone's folder.  Raises EvaluationError when they are not there."""
        file = backbone / "transformer" / "config.json"
        try:
            told = json.loads(file.read_bytes())
            return cls(px=int(told["native_px"]), tasks=tuple(told["tasks"]), styles=tuple(told["styles"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{file} does not say which tasks the backbone has: {error!r}") from None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Held-out colour drawings and the model that is asked for them.

    ``base`` is the backbone beneath an adapter, drawn beside it; None for a backbone, which is asked for each drawing
    in the style of its set.  ``others`` holds further drawings of the subjects, to start style transfer from; ``learn``
    what the model learnt, to look for copies in.
    """

    studio: Studio
    model: ResolvedModel
    base: ResolvedModel | None
    abilities: Abilities
    judge: Dataset
    splits: tuple[str, ...]
    others: Dataset
    learn: Dataset
    drawing: DrawingSettings
    pictures: int
    seed: int

    def rows(self, *splits: str) -> list[int]:
        """Return ``pictures`` held-out colour rows of the judging dataset, of all its held-out splits by default.

        Raises TooFewPicturesError when there are fewer, saying how many there are.
        """
        chosen = splits or self.splits
        return self.first(colour_rows(self.judge, chosen), f"colour drawings of {', '.join(chosen)}")

    def first(self, rows: Sequence[int], what: str) -> list[int]:
        """Return the first ``pictures`` of some rows in drawn order, or say how many of ``what`` there are."""
        if len(rows) < self.pictures:
            fewer = f"suite.pictures={len(rows)} or less, or " if len(rows) >= LEAST_PICTURES else ""
            raise TooFewPicturesError(
                f"{self.judge.folder} has {len(rows)} {what}, {self.pictures} are measured: pass {fewer}another"
                " suite.judge=DIR with more"
            )
        return in_drawn_order(self.judge, rows, self.seed)[: self.pictures]

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of judging rows."""
        return [self.judge.records[row] for row in rows]

    def truth(self, rows: Sequence[int]) -> Column:
        """Return the real drawings of judging rows."""
        pictures = real_pictures(self.judge, rows, self.abilities.px)
        return self.studio.column("The real drawing", "truth", pictures)

    def orders(self, rows: Sequence[int], task: str) -> list[Order]:
        """Return an order a judging row: its caption, in the style of its set, with a seed of its own."""
        return [
            Order(
                prompt=record.caption,
                seed=self.seed + number,
                style=record.style if self.base is None else None,
                task=task,
            )
            for number, record in enumerate(self.records(rows))
        ]

    def drawn(self, orders: Sequence[Order]) -> Column:
        """Return what the model draws to order."""
        return self.studio.drawn(self.model, orders, self.drawing, "The model", "model")

    def unadapted(self, orders: Sequence[Order]) -> list[tuple[str, Column]]:
        """Return what the backbone beneath an adapter draws to the same orders, under its key; nothing without one."""
        if self.base is None:
            return []
        return [("unadapted", self.studio.drawn(self.base, orders, self.drawing, "Without the adapter", "without"))]

    def shown(self, title: str, short: str, numbers_N3HW: Tensor) -> Column:
        """Return a task's own numbers as pictures."""
        return self.studio.column(title, short, to_tensor(to_pictures(numbers_N3HW)))

    def identity(self, metric: str, *, network: str, count: int) -> str:
        """Return what a figure of N pictures must share to be compared; ``network`` looked at them, if any did."""
        seen_by = f"{network}/" if network else ""
        return f"{metric}/{seen_by}{self.abilities.px}px/{label_of(self.judge, self.seed)}/N={count}"

    def condition(self, task: Task, rows: Sequence[int], clean_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the task's own (source, mask) of each picture, masks by the seed and the drawing alone.

        So every model gets the same, however many pictures are measured.
        """
        parts = [
            task.condition(clean[None], mask=None, generator=self._generator(task.name, row))
            for row, clean in zip(rows, clean_N3HW, strict=True)
        ]
        return torch.cat([source for source, _ in parts]), torch.cat([mask for _, mask in parts])

    def _generator(self, task: str, row: int) -> Generator:
        return Generator().manual_seed(int(lot(self.seed, task, self.judge.records[row].key)[:14], 16))


def lot(seed: int, *names: str) -> str:
    """Return what chance gives to a thing of these names: the seed decides, no order of a dataset does."""
    return hashlib.sha256("/".join((str(seed), *names)).encode()).hexdigest()


def with_pictures(orders: Sequence[Order], numbers_N3HW: Tensor, masks_N1HW: Tensor | None = None) -> list[Order]:
    """Return orders that start from pictures, and masks where they are given, at full strength.

    At full strength nothing of the picture but the task's own source reaches the network.
    """
    pictures = to_pictures(numbers_N3HW)
    masks = [None] * len(orders) if masks_N1HW is None else [_mask_image(mask) for mask in masks_N1HW]
    return [
        replace(order, picture=picture, mask=mask, strength=1.0)
        for order, picture, mask in zip(orders, pictures, masks, strict=True)
    ]


def numbers_of(pictures_N3HW: Tensor) -> Tensor:
    """Return uint8 pictures as the network's numbers."""
    return pictures_N3HW.float() / 127.5 - 1


def _mask_image(mask_1HW: Tensor) -> Image.Image:
    return Image.fromarray((mask_1HW[0] * 255).to(torch.uint8).numpy())
