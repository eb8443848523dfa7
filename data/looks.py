"""How a picture looks from afar: its perceptual hash and its thumbnail, taken of the picture on white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOOK_PX = 16


def perceptual_hash(on_white: Image.Image) -> str:
    """Return the 64-bit DCT hash of a picture as 16 hexadecimal digits.

    The signs, about their median, of the 8×8 lowest frequencies of the grey picture at 32×32. A one-colour drawing on
    white is its alpha, turned round.
    """
    import imagehash

    return str(imagehash.phash(on_white))


def look_of(on_white: Image.Image) -> NDArray[np.uint8]:
    """Return a picture's thumbnail, uint8 [LOOK_PX, LOOK_PX, 3]: each pixel the mean of its area."""
    return np.asarray(on_white.resize((LOOK_PX, LOOK_PX), Image.Resampling.BOX), np.uint8)
