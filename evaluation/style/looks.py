"""Colour, edges and stroke widths of pictures: the part of a look that can be written down.

Shapes: values float32 [B,3,H,W] in 0..1, maps [B,H,W], statistics [B,S].  Every statistic is a mean over the picture,
so that where a thing lies does not count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.elements.colour import LMS_TO_OKLAB, SRGB_TO_XYZ, XYZ_TO_LMS

LIGHTNESS_BINS = 12
CHROMA_BINS = 8
HUE_BINS = 8
DIRECTION_BINS = 8
SLOPE_BINS = 10
WIDTHS_PX = 10  # half widths that strokes and gaps are measured to
LOOKS = LIGHTNESS_BINS + CHROMA_BINS + HUE_BINS + DIRECTION_BINS + SLOPE_BINS + 2 * (WIDTHS_PX + 1) + 2
_FLAT = 0.02
_EPSILON = 1e-3


def looks(values_B3HW: Tensor) -> Tensor:
    """Return [B,70]: OKLab histograms, directions and slopes of edges, widths of strokes and of gaps.

    Histograms are weighted by how far a pixel is from white, the ground: so they tell of the ink.  Kernels in place of
    hard bins keep the statistics steady when a colour lies between two bins.  Widths are measured at full size, the
    rest at half of it, where it costs a quarter.
    """
    fine = oklch(values_B3HW)[0]
    lightness, chroma, hue = oklch(functional.avg_pool2d(values_B3HW, 2))
    ink = (3 * (1 - lightness) + 5 * chroma).clamp(0, 1)
    slopes, flat = edges(fine)
    return torch.cat(
        [
            _histogram(lightness, ink, torch.linspace(0, 1, LIGHTNESS_BINS), 0.05),
            _histogram(chroma, ink, torch.linspace(0, 0.3, CHROMA_BINS), 0.03),
            _circular(hue, ink * chroma, _angles(2 * math.pi, HUE_BINS), period=1) / _total(ink),
            slopes,
            widths(1 - fine),
            widths(fine),
            torch.stack([ink.mean((1, 2)), flat], 1),
        ],
        1,
    )


def oklch(values_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return lightness 0..1, chroma and hue in radians, [B,H,W] each, in OKLab (Ottosson 2020)."""
    values = values_B3HW.clamp(0, 1)
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    cones = torch.einsum("ij,bjhw->bihw", _matrix(XYZ_TO_LMS @ SRGB_TO_XYZ, values), linear).clamp_min(0) ** (1 / 3)
    lightness, a, b = torch.einsum("ij,bjhw->bihw", _matrix(LMS_TO_OKLAB, values), cones).unbind(1)
    return lightness, (a * a + b * b).sqrt(), torch.atan2(b, a)


def edges(lightness_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return [B,18] shares of directions (mod 180°) and of steepness, and [B] the share of even ground."""
    across = lightness_BHW[:, 1:-1, 2:] - lightness_BHW[:, 1:-1, :-2]
    down = lightness_BHW[:, 2:, 1:-1] - lightness_BHW[:, :-2, 1:-1]
    slope = (across * across + down * down).sqrt()
    directions = _circular(torch.atan2(down, across), slope, _angles(math.pi, DIRECTION_BINS), period=2, sharpness=8.0)
    steepness = _histogram(slope, (slope > _FLAT).float(), torch.linspace(0, 1, SLOPE_BINS), 0.08)
    return torch.cat([directions / _total(slope), steepness], 1), (slope < _FLAT).float().mean((1, 2))


def widths(amount_BHW: Tensor) -> Tensor:
    """Return [B,11]: the mean amount, and which share of it is left after eroding by 1 to 10 px.

    Thin strokes vanish at once, wide shapes last.  Squares compose, so that each px costs one 3×3 erosion.
    """
    eroded = amount_BHW[:, None]
    mean = eroded.mean((1, 2, 3))
    left = []
    for _ in range(WIDTHS_PX):
        eroded = _eroded(eroded)
        left.append(eroded.mean((1, 2, 3)) / (mean + _EPSILON))
    return torch.stack([mean, *left], 1)


def _eroded(maps_B1HW: Tensor) -> Tensor:
    across = functional.max_pool2d(-maps_B1HW, (1, 3), 1, (0, 1))
    return -functional.max_pool2d(across, (3, 1), 1, (1, 0))


def _histogram(maps_BHW: Tensor, weights_BHW: Tensor, centres_K: Tensor, width: float) -> Tensor:
    kernels = [torch.exp(-(((maps_BHW - centre) / width) ** 2)) * weights_BHW for centre in centres_K.tolist()]
    return torch.stack([kernel.sum((1, 2)) for kernel in kernels], 1) / _total(weights_BHW)


def _circular(
    angles_BHW: Tensor, weights_BHW: Tensor, centres_K: Tensor, *, period: int, sharpness: float = 3
) -> Tensor:
    """Return unnormalised von Mises counts [B,K] of angles that repeat ``period`` times in a turn."""
    kernels = [torch.exp(sharpness * (torch.cos(period * (angles_BHW - c)) - 1)) for c in centres_K.tolist()]
    return torch.stack([(kernel * weights_BHW).sum((1, 2)) for kernel in kernels], 1)


def _angles(turn: float, count: int) -> Tensor:
    return torch.arange(count) * (turn / count)


def _total(weights_BHW: Tensor) -> Tensor:
    return weights_BHW.sum((1, 2))[:, None] + _EPSILON


def _matrix(matrix: object, like: Tensor) -> Tensor:
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)
