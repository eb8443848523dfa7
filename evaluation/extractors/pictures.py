"""Where pictures wait before a network looks at them: in memory, or on disk as files of any size.

Shapes: pictures uint8 [B,3,H,W].
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.dataset import on_ground
from evaluation.errors import EvaluationError
from synthesis.pixels import square

WHITE = (255, 255, 255)


class Pictures(Protocol):
    """Pictures of one size that can be read by several threads at once."""

    def __len__(self) -> int:
        """Return how many there are."""

    def key(self, place: int) -> bytes:
        """Return 32 bytes that two pictures share only if a network sees the same in both."""

    def batch(self, places: Sequence[int]) -> Tensor:
        """Return uint8 [B,3,H,W] on the CPU."""


class PicturesInMemory:
    """Pictures that are there already: uint8 [N,3,H,W]."""

    def __init__(self, pictures_N3HW: Tensor) -> None:
        self._pictures = pictures_N3HW

    def __len__(self) -> int:
        return len(self._pictures)

    def key(self, place: int) -> bytes:
        """Return the digest of a picture's shape and bytes."""
        return picture_digest(self._pictures[place])

    def batch(self, places: Sequence[int]) -> Tensor:
        """Return some of them."""
        return self._pictures[list(places)]


class PicturesOnDisk:
    """Files, each composited on white and fitted into a square when a batch asks for it; never all in memory."""

    def __init__(self, files: Sequence[Path], side_px: int) -> None:
        self._files = list(files)
        self._side_px = side_px

    def __len__(self) -> int:
        return len(self._files)

    def key(self, place: int) -> bytes:
        """Return the digest of a file's bytes and of what is done to it."""
        treatment = f"white {self._side_px}px bicubic\0".encode()
        return hashlib.sha256(treatment + self._files[place].read_bytes()).digest()

    def batch(self, places: Sequence[int]) -> Tensor:
        """Return some of them, decoded; EvaluationError names a file that does not open."""
        squares = [fitted(opened(self._files[place]), self._side_px) for place in places]
        return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in squares])


def picture_digest(picture_3HW: Tensor) -> bytes:
    """Return the sha256 of a uint8 picture [3,H,W]: of its shape and its bytes, whatever file it came from."""
    header = "x".join(map(str, picture_3HW.shape)).encode()
    return hashlib.sha256(header + picture_3HW.contiguous().numpy().tobytes()).digest()


def fitted(picture: Image.Image, side_px: int) -> Image.Image:
    """Composite on white and fit into a square of ``side_px`` (bicubic)."""
    return square(on_ground(picture, WHITE), side_px, WHITE)


def opened(file: Path) -> Image.Image:
    """Return a file's picture, RGBA; EvaluationError when it is empty, cut short, or no picture."""
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as picture:
            return picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EvaluationError(f"{file} is not a picture that opens: {_said(error)}: remove it or replace it") from None


def _said(error: Exception) -> str:
    """Leave out Pillow's memory address of what it could not identify."""
    text = (str(error).splitlines() or [""])[0]
    return "no known format" if "cannot identify" in text else text or type(error).__name__
