"""Where in a picture a logo fits best, and how well.

A place is explained as α·L + (1-α)·g: the logo L with its cover α over one ground colour g, which is fitted by least
squares.  Its fit is the share of the place's variance that this explains, pixels around the logo counting a twentieth:
so a logo of one colour is found by its shape as well as its colour, on any ground, and on a busy one too.

Shapes: pictures float32 [N,H,W,3] in 0..1, a logo's layers [h,w,3] and [h,w], scores [N,Y,X].  After the method of
fast normalised cross-correlation (Lewis 1995), with weights; all sums over places are correlations by FFT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from torch import Tensor

SEARCH_PX = 128
SMALLEST, LARGEST, STEP = 0.13, 0.56, 1.07
FINER = (0.96, 0.98, 1.02, 1.04)
MARGIN = 0.12
AROUND = 0.05
LEAST_VARIANCE = 0.005
BATCH_PICTURES = 32
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Placed:
    """Where a logo fits best: its box in pixels of the searched copy, and the ground's sRGB around it.

    ``score`` is the explained share of the variance times the fourth root of the box's share of the picture: a small
    box is matched by chance far more often than a large one.
    """

    score: float
    left: int
    top: int
    width: int
    height: int
    ground: tuple[float, float, float]
    scale: float


def searched(picture_3HW: Tensor) -> Values:
    """Return sRGB float32 [H,W,3] in 0..1 of a uint8 picture, shrunk to at most 128 px at its longer side."""
    picture = Image.fromarray(picture_3HW.permute(1, 2, 0).contiguous().numpy())
    picture.thumbnail((SEARCH_PX, SEARCH_PX), Image.Resampling.BICUBIC)
    return np.asarray(np.asarray(picture) / 255, dtype=np.float32)


def find_logo(pictures_N3HW: Tensor, logo: Image.Image) -> list[Placed]:
    """Return for each picture where the RGBA logo fits best, its longer side 0.13 to 0.56 of the picture's.

    A logo that is turned, skewed or half covered is not looked for.
    """
    count = math.floor(math.log(LARGEST / SMALLEST) / math.log(STEP)) + 1
    places = []
    for start in range(0, len(pictures_N3HW), BATCH_PICTURES):
        pictures = np.stack([searched(picture) for picture in pictures_N3HW[start : start + BATCH_PICTURES]])
        coarse = _best(pictures, logo, [SMALLEST * STEP**step for step in range(count)])
        for picture, place in zip(pictures, coarse, strict=True):
            (finer,) = _best(picture[None], logo, [place.scale * factor for factor in FINER])
            places.append(max(place, finer, key=lambda each: each.score))
    return places


def layers(logo: Image.Image, width: int, height: int) -> tuple[Values, Values]:
    """Return a logo's colours [h,w,3] and its cover α [h,w] at a size."""
    rgba = np.asarray(np.asarray(logo.resize((width, height), Image.Resampling.BOX)) / 255, dtype=np.float32)
    return rgba[..., :3], rgba[..., 3]


def _best(pictures: Values, logo: Image.Image, scales: Sequence[float]) -> list[Placed]:
    tried = [_at_scale(pictures, logo, scale) for scale in scales]
    return [max(each, key=lambda place: place.score) for each in zip(*tried, strict=True)]


def _at_scale(pictures: Values, logo: Image.Image, scale: float) -> list[Placed]:
    """Return the best place of each picture at one scale."""
    high, wide = pictures.shape[1:3]
    longer = scale * max(high, wide)
    width, height = (max(2, round(side * longer / max(logo.size))) for side in logo.size)
    if width > wide or height > high:
        return [Placed(-1.0, 0, 0, width, height, (1.0, 1.0, 1.0), scale)] * len(pictures)
    colours, cover = layers(logo, width, height)
    margin = max(1, round(MARGIN * min(width, height)))
    over = np.pad(colours * cover[..., None], ((margin, margin), (margin, margin), (0, 0)))
    framed = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    fits, grounds = _fits(framed, over, np.pad(cover, margin))
    scores = fits * (width * height / (wide * high)) ** 0.25
    return [_placed(one, ground, (width, height), scale) for one, ground in zip(scores, grounds, strict=True)]


def _placed(scores_YX: Values, grounds_YX3: Values, size: tuple[int, int], scale: float) -> Placed:
    top, left = np.unravel_index(int(scores_YX.argmax()), scores_YX.shape)
    red, green, blue = (float(channel) for channel in grounds_YX3[top, left].clip(0, 1))
    return Placed(float(scores_YX[top, left]), int(left), int(top), *size, (red, green, blue), scale)


def _fits(pictures: Values, over: Values, cover: Values) -> tuple[Values, Values]:
    """Return the explained share [N,Y,X] of every place and its fitted ground [N,Y,X,3].

    With u = 1-α, weights w = α + u/20 and R = P - αL:  g = Σ wuR / Σ wu²;  unexplained = Σ wR² - Σ_c (Σ wuR)² / Σ wu²;
    the whole is Σ w(P - mean_w P)².
    """
    under = 1 - cover
    weight = cover + AROUND * under
    total, spread = float(weight.sum()), max(float((weight * under**2).sum()), 1e-6)
    shape = pictures.shape[1:3]
    spectrum = fft.rfft2(pictures, axes=(1, 2))
    places = (slice(None), slice(shape[0] - cover.shape[0] + 1), slice(shape[1] - cover.shape[1] + 1))

    def sums(values: NDArray[np.complex64], kernel: Values) -> Values:
        product = values * np.conj(fft.rfft2(kernel, shape, axes=(0, 1)))
        product = product.sum(axis=-1) if kernel.ndim == 3 else product
        return np.asarray(fft.irfft2(product, shape, axes=(1, 2))[places], dtype=np.float32)

    means = np.stack([sums(spectrum[..., channel], weight) for channel in range(3)], axis=-1)
    blends = np.stack([sums(spectrum[..., channel], weight * under) for channel in range(3)], axis=-1)
    blends -= (over * (weight * under)[..., None]).sum(axis=(0, 1))
    squares = sums(fft.rfft2((pictures**2).sum(axis=-1), axes=(1, 2)), weight)
    rest = squares - 2 * sums(spectrum, over * weight[..., None]) + float((weight[..., None] * over**2).sum())
    unexplained = np.maximum(rest - (blends**2).sum(axis=-1) / spread, 0)
    whole = np.maximum(squares - (means**2).sum(axis=-1) / total, LEAST_VARIANCE * total)
    return np.asarray(1 - unexplained / whole), np.asarray(blends / spread)
