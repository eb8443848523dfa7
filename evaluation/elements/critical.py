"""Colours that must be right where they appear: found in a picture, each held against its tolerance.

Shapes: pixels sRGB float64 [H,W,3], masks bool [H,W].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.elements.colour import Colours, delta_e_2000, differences, lab_of_srgb, srgb_of_hex
from evaluation.elements.palette import Mask, settled_of
from evaluation.errors import EvaluationError

TOLERANCE = 3.0
MOST_TOLERANCE = 20.0
MEANT_STEP = 20.0
SAME_STEP = 5.0
LEAST_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class CriticalColour:
    """A colour #rrggbb and the ΔE2000 up to which it passes."""

    colour: str
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        srgb_of_hex(self.colour)
        given = self.tolerance
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= MOST_TOLERANCE:
            raise EvaluationError(
                f"tolerance {given!r} of critical colour {self.colour} must be a ΔE2000 above 0, at most"
                f" {MOST_TOLERANCE:g}"
            )


def meant_mask(pixels_HW3: Colours, drawn_HW: Mask, critical: CriticalColour, palette: Sequence[str]) -> Mask:
    """Return bool [H,W]: what is drawn in, or nearly in, a critical colour.

    That is within ΔE2000 20 of it and nearer to it than to any other colour of the brand.  Without a network that
    knows things by name, this is how the element is found that is meant to be in this colour.
    """
    own = srgb_of_hex(critical.colour)
    brand = np.array([srgb_of_hex(name) for name in palette]).reshape(-1, 3)
    rivals = brand[differences(brand, own[None])[:, 0] > SAME_STEP]  # a measured palette names it a shade beside
    colours = np.concatenate([own[None], rivals])
    steps = differences(pixels_HW3.reshape(-1, 3), colours).reshape(*pixels_HW3.shape[:2], -1)
    return np.asarray(drawn_HW & (steps[..., 0] <= MEANT_STEP) & (steps.argmin(axis=-1) == 0))


def element_step(pixels_HW3: Colours, mask_HW: Mask, colour: str) -> float | None:
    """Return ΔE2000 between a colour and a masked element's; None where the element is under 1 % of the picture.

    An element's colour is the median in CIELAB of its settled pixels: blends along its edge are not its colour.
    """
    settled = settled_of(pixels_HW3) & mask_HW
    if settled.sum() < max(2, math.ceil(LEAST_SHARE * mask_HW.size)):
        return None
    seen = np.median(lab_of_srgb(pixels_HW3[settled]), axis=0)
    return float(delta_e_2000(seen, lab_of_srgb(srgb_of_hex(colour))))
