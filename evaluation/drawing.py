"""Draws the pictures that are measured, and keeps each one on disk, so that an evaluation resumes where it stopped.

A picture depends only on its order, the weights, the settings and the code that draws, so those name its file.
Shapes: pictures uint8 [N,3,H,W].
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import synthesis
from evaluation.errors import EvaluationError
from evaluation.files import write_whole
from registry.resolve import ResolvedModel
from synthesis.pipeline import MultiTaskPipeline
from synthesis.request import PictureRequest

Advance = Callable[[int], None]
LARGEST_SUITE_SEED = 2**53  # exact in JSON, and far enough below the largest seed to count each picture's own from it


@dataclass(frozen=True, kw_only=True)
class DrawingSettings:
    """How pictures are drawn: denoising steps, strength of guidance, pictures at a time."""

    num_inference_steps: int = 12
    guidance_scale: float = 3.0
    batch_pictures: int = 16

    def __post_init__(self) -> None:
        check_count("num_inference_steps", self.num_inference_steps, 1, 200)
        check_range("guidance_scale", self.guidance_scale, 0, 30)
        check_count("batch_pictures", self.batch_pictures, 1, 1024)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One picture to draw; ``style`` names a base style, None the brand's or none at all.

    ``picture`` and ``mask`` are what the task starts from, as a person would send them: the pipeline's task makes its
    condition of them.  ``strength`` counts for image-to-image alone.
    """

    prompt: str
    seed: int
    style: str | None = None
    task: str = "text_to_image"
    picture: Image.Image | None = None
    mask: Image.Image | None = None
    strength: float = 0.8

    @property
    def kind(self) -> tuple[str, str, float]:
        """What orders must share to be drawn in one batch."""
        return self.task, self.style or "", self.strength


class Illustrator(Protocol):
    """Draws orders; its identity changes whenever its pictures would."""

    @property
    def identity(self) -> str:
        """Everything but the order that a picture depends on."""

    def draw(self, orders: Sequence[Order]) -> Tensor:
        """Return uint8 pictures [B,3,H,W] of orders of one kind."""


class PipelineIllustrator:
    """A backbone, or an adapter on its backbone, that draws any task; loaded at the first picture."""

    def __init__(self, model: ResolvedModel, settings: DrawingSettings, device: str = "cpu") -> None:
        self._model = model
        self._settings = settings
        self._device = device
        self._pipeline: MultiTaskPipeline | None = None
        self._brand: str | None = model.card.get("brand") if model.base else None
        self.identity = json.dumps(
            {
                "model": model.digest,
                "base": model.base.digest if model.base else None,
                "num_inference_steps": settings.num_inference_steps,
                "guidance_scale": settings.guidance_scale,
                "code": source_digest(Path(str(synthesis.__file__)).parent),
            },
            sort_keys=True,
        )

    def draw(self, orders: Sequence[Order]) -> Tensor:
        """Return uint8 pictures [B,3,H,W] of orders of one kind."""
        if self._pipeline is None:
            self._pipeline = self._load()
        *_, last = self._pipeline.stream(request_of(orders, self._settings, self._brand))
        if not bool(last.estimate.isfinite().all()):
            raise EvaluationError(f"{self._model.reference} draws values that are not numbers: its weights are broken")
        return to_tensor(last.pictures())

    def _load(self) -> MultiTaskPipeline:
        backbone = self._model.base or self._model
        pipeline = MultiTaskPipeline.load(backbone.folder, device=self._device)
        if self._brand is not None:
            pipeline.load_brand(self._model.folder, self._brand)
        return pipeline


def request_of(orders: Sequence[Order], settings: DrawingSettings, brand: str | None = None) -> PictureRequest:
    """Return what the pipeline is asked for orders of one kind."""
    return PictureRequest(
        prompts=tuple(order.prompt for order in orders),
        seeds=tuple(order.seed for order in orders),
        task=orders[0].task,
        style=orders[0].style,
        brand=brand,
        images=tuple(order.picture for order in orders if order.picture is not None),
        masks=tuple(order.mask for order in orders if order.mask is not None),
        strength=orders[0].strength,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
    )


class PictureArchive:
    """Pictures drawn before, as PNG files in one folder an illustrator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(
        self, illustrator: Illustrator, orders: Sequence[Order], *, batch_pictures: int, advance: Advance | None = None
    ) -> Tensor:
        """Return the pictures [N,3,H,W] of all orders; those not yet on disk are drawn, batch by batch."""
        folder = self._folder / hashlib.sha256(illustrator.identity.encode()).hexdigest()[:24]
        files = [folder / f"{_order_digest(order)}.png" for order in orders]
        missing = [row for row, file in enumerate(files) if _drawn_before(file) is None]
        if advance:
            advance(len(orders) - len(missing))
        for rows in in_batches(orders, missing, batch_pictures):
            for row, picture in zip(rows, illustrator.draw([orders[row] for row in rows]), strict=True):
                _save(files[row], picture)
            if advance:
                advance(len(rows))
        return to_tensor([picture for file in files if (picture := _drawn_before(file)) is not None])


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Return uint8 [N,3,H,W] of pictures of one size."""
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        found = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)) or "none at all"
        raise EvaluationError(f"pictures must be of one size to be measured together, got {found}")
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def to_image(picture_3HW: Tensor) -> Image.Image:
    """Return a uint8 picture [3,H,W] as Pillow's."""
    return Image.fromarray(picture_3HW.permute(1, 2, 0).contiguous().numpy())


def check_range(field: str, value: float, lowest: float, highest: float) -> None:
    """Raise EvaluationError unless ``value`` is a number in the range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvaluationError(f"{field} {value} must be a number, {lowest} to {highest}")
    if not lowest <= value <= highest:
        raise EvaluationError(f"{field} {value} must lie in {lowest} to {highest}")


def check_count(field: str, value: int, lowest: int, highest: int) -> None:
    """Raise EvaluationError unless ``value`` is a whole number in the range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise EvaluationError(f"{field} {value} must be a whole number, {lowest} to {highest}")
    check_range(field, value, lowest, highest)


def check_seed(seed: int) -> None:
    """Raise EvaluationError unless a suite's seed is a whole number from which every picture's own can be counted."""
    check_count("suite.seed", seed, 0, LARGEST_SUITE_SEED)


def source_digest(folder: Path) -> str:
    """Return the sha256 of a package's source: other code may draw other pictures from the same weights."""
    total = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        total.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _order_digest(order: Order) -> str:
    told: list[object] = [order.prompt, order.seed, order.style]
    if order.task != "text_to_image":
        told += [order.task, order.strength, _picture_digest(order.picture), _picture_digest(order.mask)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:40]


def _picture_digest(picture: Image.Image | None) -> str:
    if picture is None:
        return ""
    return hashlib.sha256(f"{picture.mode} {picture.size} ".encode() + picture.tobytes()).hexdigest()


def in_batches(orders: Sequence[Order], rows: Sequence[int], batch_pictures: int) -> Iterator[list[int]]:
    """Yield rows of orders in batches of one kind."""
    by_kind = sorted(rows, key=lambda row: (orders[row].kind, row))
    for _, group in groupby(by_kind, key=lambda row: orders[row].kind):
        members = list(group)
        for start in range(0, len(members), batch_pictures):
            yield members[start : start + batch_pictures]


def _drawn_before(file: Path) -> Image.Image | None:
    """Return a picture drawn before; None where there is none, or a power cut spoilt it."""
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError):
        return None


def _save(file: Path, picture_3HW: Tensor) -> None:
    buffer = io.BytesIO()
    to_image(picture_3HW).save(buffer, format="PNG")
    write_whole(file, buffer.getvalue())
