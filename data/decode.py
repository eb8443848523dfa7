"""Turns the bytes of pictures into one batch of pixels: WebP, PNG and JPEG, straight into the place they end in.

imagecodecs reads WebP about twice as fast as Pillow, which copies each picture three times, and lets other threads
run meanwhile.  Shapes: B batch, H W pixels, 4 colour and alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.errors import DatasetError

Pixels = NDArray[np.uint8]
Content = Any  # bytes, or what shows bytes without copying them


def decode_into(content: Content, out: Pixels) -> None:
    """Decode one picture into ``out`` [H,W,4], straight alpha.

    Raises:
        DatasetError: it is no WebP, PNG or JPEG picture of that size.
    """
    try:
        if content[:4] == b"RIFF":
            imagecodecs.webp_decode(content, hasalpha=True, out=out)
        else:
            _widen(_decoded(content), out)
    except (RuntimeError, ValueError) as error:
        height_px, width_px = out.shape[:2]
        raise DatasetError(f"its picture cannot be read as {width_px}x{height_px} pixels ({error})") from None


def decode(content: Content) -> Pixels:
    """Return one picture [H,W,4] of whatever size.

    Raises:
        DatasetError: it is no WebP, PNG or JPEG picture.
    """
    try:
        if content[:4] == b"RIFF":
            return np.asarray(imagecodecs.webp_decode(content, hasalpha=True))
        found = _decoded(content)
    except (RuntimeError, ValueError) as error:
        raise DatasetError(f"its picture cannot be read ({error})") from None
    out = np.empty((*found.shape[:2], 4), np.uint8)
    _widen(found, out)
    return out


def resized(picture: Pixels, side_px: int) -> Pixels:
    """Return a picture [H,W,4] resized to a square: mean over boxes where sides divide, else Lanczos."""
    divides = all(stored % side_px == 0 for stored in picture.shape[:2])
    how = Image.Resampling.BOX if divides else Image.Resampling.LANCZOS
    # Pillow multiplies colour by alpha before it resizes, and divides after.
    return np.asarray(Image.fromarray(picture, "RGBA").resize((side_px, side_px), how))


def over_ground(pictures: Pixels, ground: Sequence[int]) -> Pixels:
    """Return pictures [B,H,W,4] over a ground colour as [B,H,W,3]: C = a·F + (1-a)·G, rounded."""
    alpha = pictures[..., 3:].astype(np.uint16)
    mixed = pictures[..., :3] * alpha + np.array(ground, np.uint16) * (255 - alpha) + np.uint16(127)
    return np.asarray(mixed // 255, dtype=np.uint8)


def _decoded(content: Content) -> Any:
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        found = imagecodecs.png_decode(content)
    elif content[:3] == b"\xff\xd8\xff":
        found = imagecodecs.jpeg8_decode(content)
    else:
        raise ValueError("neither WebP, PNG nor JPEG")
    return (found >> 8).astype(np.uint8) if found.dtype == np.uint16 else found


def _widen(found: Any, out: Pixels) -> None:
    """Copy grey, grey with alpha, RGB or RGBA into RGBA."""
    if found.ndim == 2:
        found = found[..., None]
    if found.shape[:2] != out.shape[:2]:
        raise ValueError(f"it has {found.shape[1]}x{found.shape[0]}")
    channels = found.shape[2]
    out[..., :3] = found[..., :3] if channels >= 3 else found[..., :1]
    out[..., 3] = found[..., -1] if channels in (2, 4) else 255
