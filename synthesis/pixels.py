"""Pillow pictures to the network's numbers and back.

Shapes: [B,3,H,W] in -1..1, masks [B,1,H,W] in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from synthesis.tasks import resize


def to_numbers(pictures: Sequence[Image.Image], side_px: int, ground: tuple[int, int, int] = (255, 255, 255)) -> Tensor:
    """Composite on the ground, fit into a square by bicubic resampling and return [B,3,side,side] in -1..1."""
    arrays = [np.asarray(square(on_ground(picture, ground), side_px, ground)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def lines_to_numbers(
    pictures: Sequence[Image.Image], side_px: int, ground: tuple[int, int, int] = (255, 255, 255)
) -> Tensor:
    """The same of thin bright lines, which a shrunk picture keeps at their full strength.

    Averaging would grey a line of one pixel: of each block of pixels that becomes one, the brightest is taken.
    """
    rows = []
    for picture in pictures:
        times = max(1, math.ceil(max(picture.size) / side_px))
        rows.append(functional.max_pool2d(to_numbers([picture], times * side_px, ground), times))
    return torch.cat(rows)


def enlarged(picture: Image.Image, side_px: int, ground: tuple[int, int, int] = (255, 255, 255)) -> Tensor:
    """A small picture as it is, stretched as super-resolution learnt it: [3,side,side]."""
    return resize(to_numbers([picture], max(picture.size), ground), side_px)[0]


def read_as(
    task: str, pictures: Sequence[Image.Image], side_px: int, ground: tuple[int, int, int] = (255, 255, 255)
) -> Tensor:
    """The same as a task reads them: edges keep their lines, a palette fills the square, without padding."""
    if task == "edges":
        return lines_to_numbers(pictures, side_px, ground)
    if task == "palette":
        size, nearest = (side_px, side_px), Image.Resampling.NEAREST
        return to_numbers([on_ground(picture, ground).resize(size, nearest) for picture in pictures], side_px)
    return to_numbers(pictures, side_px, ground)


def to_mask(masks: Sequence[Image.Image], side_px: int) -> Tensor:
    """White is drawn anew: [B,1,side,side] of zeros and ones, padded with zeros to a square."""
    arrays = [np.asarray(square(mask.convert("L"), side_px, 0)) for mask in masks]
    return (torch.from_numpy(np.stack(arrays))[:, None] >= 128).float()


def to_pictures(numbers: Tensor) -> list[Image.Image]:
    """[B,3,H,W] in -1..1 to RGB pictures, rounded to the nearest of 256 values."""
    bytes_BHW3 = ((numbers.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in bytes_BHW3]


def on_ground(picture: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    """RGB of a picture that may be transparent, on a ground colour."""
    if picture.mode == "RGB":
        return picture
    layered = picture.convert("RGBA")
    below = Image.new("RGBA", layered.size, (*ground, 255))
    return Image.alpha_composite(below, layered).convert("RGB")


def square(picture: Image.Image, side_px: int, fill: tuple[int, int, int] | int) -> Image.Image:
    """Scale the longer side to ``side_px`` and pad the shorter one evenly."""
    scale = side_px / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    scaled = picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
    if scaled.size == (side_px, side_px):
        return scaled
    board = Image.new(picture.mode, (side_px, side_px), fill)
    board.paste(scaled, ((side_px - scaled.width) // 2, (side_px - scaled.height) // 2))
    return board
