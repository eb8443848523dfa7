"""The tasks. A task is one class with one method that makes its condition from a clean picture, on the device.

The trainer, the sampler, the evaluator and the API all use these classes: with ``mask`` and ``picture`` given by a
person the condition is theirs, with neither it is drawn from ``generator``.
Shapes: pictures [B,3,H,W] in -1..1, masks [B,1,H,W] in 0..1 where 1 is drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from synthesis.control import Edges, Palette, Shading, Sketch
from synthesis.errors import SynthesisError


class Task(Protocol):
    """One thing the network can be asked to do."""

    @property
    def name(self) -> str: ...
    @property
    def needs_picture(self) -> bool: ...
    @property
    def needs_mask(self) -> bool: ...
    @property
    def shows_ground(self) -> bool:
        """Whether the source shows the ground that is to be drawn on; where not, appearance tells it."""
        ...

    @property
    def refers(self) -> bool:
        """Whether every place of the drawing is to read the whole picture: it is shown as the reference, too."""
        ...

    @property
    def starts(self) -> bool:
        """Whether drawing may start from the picture, noised, instead of noise alone, as far as ``strength`` says."""
        ...

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Return (source [B,3,H,W], mask [B,1,H,W]) made from ``picture``."""
        ...


def uniform(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    """Uniform numbers in 0..1 on the device of ``like``."""
    return torch.rand(shape, device=like.device, generator=generator)


def no_mask(picture: Tensor) -> Tensor:
    """A mask of zeros [B,1,H,W]."""
    return torch.zeros_like(picture[:, :1])


@dataclass(frozen=True)
class TextToImage:
    """Draw from the text alone: the source is empty."""

    name: str = "text_to_image"
    needs_picture: bool = False
    needs_mask: bool = False
    shows_ground: bool = False
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Zeros."""
        return torch.zeros_like(picture), no_mask(picture)


@dataclass(frozen=True)
class ImageToImage:
    """Redraw a picture after the text: the source is the picture without its fine detail."""

    name: str = "image_to_image"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = True
    refers: bool = False
    starts: bool = True

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Blur by a quarter, half jittered in brightness and contrast when a generator is given."""
        blurred = resize(resize(picture, picture.shape[-1] // 4), picture.shape[-1])
        if generator is not None:
            strength = uniform((len(picture), 2, 1, 1), picture, generator)
            jittered = blurred * (0.6 + 0.8 * strength[:, :1]) + 0.6 * (strength[:, 1:] - 0.5)
            blurred = torch.where(uniform((len(picture), 1, 1, 1), picture, generator) < 0.5, jittered, blurred)
        return blurred.clamp(-1, 1), no_mask(picture)


@dataclass(frozen=True)
class Inpainting:
    """Draw the masked region anew: the source is the picture with a hole."""

    name: str = "inpainting"
    needs_picture: bool = True
    needs_mask: bool = True
    shows_ground: bool = True
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Without a mask, boxes with sides between a quarter and three quarters of the picture."""
        hole = random_boxes(picture, 0.25, 0.75, generator) if mask is None else mask
        return picture * (1 - hole), hole


@dataclass(frozen=True)
class Outpainting:
    """Go on drawing beyond the edges: the mask is everything outside a window."""

    name: str = "outpainting"
    needs_picture: bool = True
    needs_mask: bool = True
    shows_ground: bool = True
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Without a mask, a kept window with sides between 0.4 and 0.8 of the picture."""
        hole = 1 - random_boxes(picture, 0.4, 0.8, generator) if mask is None else mask
        return picture * (1 - hole), hole


@dataclass(frozen=True)
class SuperResolution:
    """Draw a small picture larger: the source is it, stretched."""

    name: str = "super_resolution"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = True
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """With a generator, one half at a half and one at a quarter of the pixels a side; without, a quarter.

        Half of the former carry noise of up to 0.1: what a smaller drawing of a network's own gets wrong is to be put
        right, not sharpened (Ho et al. 2022, section 4.1).
        """
        side = picture.shape[-1]
        quarter = resize(resize(picture, side // 4), side)
        if generator is None:
            return quarter, no_mask(picture)
        half = resize(resize(picture, side // 2), side)
        chosen, noised = uniform((2, len(picture), 1, 1, 1), picture, generator)
        strength = 0.1 * (2 * noised - 1).clamp(min=0)
        coarse = torch.randn(*picture.shape[:2], side // 4, side // 4, device=picture.device, generator=generator)
        source = torch.where(chosen < 0.5, quarter, half) + strength * F.interpolate(
            coarse, (side, side), mode="bilinear"
        )
        return source.clamp(-1, 1), no_mask(picture)


@dataclass(frozen=True)
class StyleTransfer:
    """Draw the source's subject in another style: the source is a picture of the subject in its own style."""

    name: str = "style_transfer"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = True
    refers: bool = True
    starts: bool = True

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """The picture as it is: the trainer passes the same subject from another set."""
        return picture, no_mask(picture)


@dataclass(frozen=True)
class StyleReference:
    """Draw the text in the style of a reference picture, which enters as tokens: the source is empty."""

    name: str = "style_reference"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = False
    refers: bool = True
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Zeros."""
        return torch.zeros_like(picture), no_mask(picture)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        *(TextToImage(), ImageToImage(), Inpainting(), Outpainting(), SuperResolution(), StyleTransfer()),
        *(Edges(), Sketch(), Shading(), Palette(), StyleReference()),
    )
}
"""Order is the row of the task embedding: append, never reorder."""


STARTING_TASKS = tuple(name for name, task in TASKS.items() if task.starts)
"""Tasks for which ``strength`` counts."""


def task_named(name: str) -> Task:
    """Return a task, or say which there are."""
    if name not in TASKS:
        raise SynthesisError(f"task '{name}' is unknown: the tasks are {', '.join(TASKS)}")
    return TASKS[name]


def task_row(name: str) -> int:
    """Row of a task in the network's embedding."""
    task_named(name)
    return list(TASKS).index(name)


def resize(picture: Tensor, side_px: int) -> Tensor:
    """Bicubic, antialiased when shrinking, clipped to -1..1.  [B,3,H,W] -> [B,3,side,side]."""
    size = (side_px, side_px)
    shrinks = side_px < picture.shape[-1]
    return F.interpolate(picture, size, mode="bicubic", antialias=shrinks, align_corners=False).clamp(-1, 1)


def random_boxes(picture: Tensor, smallest: float, largest: float, generator: Generator | None) -> Tensor:
    """One box a picture [B,1,H,W], its sides uniform between two shares of the picture's."""
    height, width = picture.shape[-2:]
    numbers = uniform((len(picture), 4), picture, generator)
    sides = smallest + (largest - smallest) * numbers[:, :2]
    begin = numbers[:, 2:] * (1 - sides)
    row = (torch.arange(height, device=picture.device) + 0.5) / height
    column = (torch.arange(width, device=picture.device) + 0.5) / width
    in_rows = (row >= begin[:, :1]) & (row < begin[:, :1] + sides[:, :1])
    in_columns = (column >= begin[:, 1:]) & (column < begin[:, 1:] + sides[:, 1:])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None].to(picture.dtype)
