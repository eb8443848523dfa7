"""Colours as people see them: from sRGB to OKLab and CIELAB, and how far apart two of them are.

Shapes: colours [...,3], sRGB in 0..1, all float64.  The white is D65, x = 0.3127, y = 0.3290, as sRGB defines it.
Written out here because the palette of one evaluation asks for some millions of differences: coloraide takes 23 µs for
each, this 0.3 µs.  The tests hold it against coloraide and against the pairs published by Sharma, Wu and Dalal.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import EvaluationError

Colours = NDArray[np.float64]

# IEC 61966-2-1 primaries over D65, unrounded (CSS Color 4, section 18).
SRGB_TO_XYZ = np.array(
    [
        [506752 / 1228815, 87881 / 245763, 12673 / 70218],
        [87098 / 409605, 175762 / 245763, 12673 / 175545],
        [7918 / 409605, 87881 / 737289, 1001167 / 1053270],
    ]
)
WHITE_XYZ = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
# Björn Ottosson, "A perceptual color space for image processing", 2020; from XYZ, recomputed for this white.
XYZ_TO_LMS = np.array(
    [
        [0.8190224379967030, 0.3619062600528904, -0.1288737815209879],
        [0.0329836539323885, 0.9292868615863434, 0.0361446663506424],
        [0.0481771893596242, 0.2642395317527308, 0.6335478284694309],
    ]
)
LMS_TO_OKLAB = np.array(
    [
        [0.2104542683093140, 0.7936177747023054, -0.0040720430116193],
        [1.9779985324311684, -2.4285922420485799, 0.4505937096174110],
        [0.0259040424655478, 0.7827717124575296, -0.8086757549230774],
    ]
)
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def srgb_of_hex(text: str) -> Colours:
    """Return sRGB [3] of #rrggbb; EvaluationError for another spelling."""
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise EvaluationError(f"colour {text!r} must be written like #1e50a0")
    return np.array([int(text[begin : begin + 2], 16) for begin in (1, 3, 5)]) / 255


def hex_of_srgb(colour_3: Colours) -> str:
    """Return #rrggbb of sRGB [3], each channel rounded to 8 bits."""
    red, green, blue = (round(255 * float(channel)) for channel in np.clip(colour_3, 0, 1))
    return f"#{red:02x}{green:02x}{blue:02x}"


def xyz_of_srgb(colours: Colours) -> Colours:
    """Return CIE XYZ [...,3], Y = 1 for white (IEC 61966-2-1)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((np.maximum(colours, 0) + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ SRGB_TO_XYZ.T)


def lab_of_srgb(colours: Colours) -> Colours:
    """Return CIELAB [...,3] over D65: L* in 0..100 (CIE 15:2004)."""
    ratio = xyz_of_srgb(colours) / WHITE_XYZ
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def oklab_of_srgb(colours: Colours) -> Colours:
    """Return OKLab [...,3]: L in 0..1."""
    return np.asarray(np.cbrt(xyz_of_srgb(colours) @ XYZ_TO_LMS.T) @ LMS_TO_OKLAB.T)


def delta_e_2000(one: Colours, other: Colours) -> Colours:
    """Return ΔE2000 [...] of CIELAB colours [...,3]; 1 is about what can just be seen.

    CIE 142:2001 with all weights 1, in the steps of Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula:
    implementation notes", 2005, equations 2 to 22; angles in radians.
    """
    (l_1, a_1, b_1), (l_2, a_2, b_2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean_chroma = (np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2
    stretch = 1.5 - 0.5 * _high_chroma(mean_chroma)
    chroma_1, chroma_2 = np.hypot(stretch * a_1, b_1), np.hypot(stretch * a_2, b_2)
    hue_1, hue_2 = np.arctan2(b_1, stretch * a_1) % (2 * np.pi), np.arctan2(b_2, stretch * a_2) % (2 * np.pi)
    hue_step, hue = _hue_between(hue_1, hue_2, chroma_1 * chroma_2 == 0)
    light, chroma = (l_1 + l_2) / 2 - 50, (chroma_1 + chroma_2) / 2
    lightness_term = (l_2 - l_1) / (1 + 0.015 * light**2 / np.sqrt(20 + light**2))
    chroma_term = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    hue_term = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(hue_step / 2) / (1 + 0.015 * chroma * _hue_weight(hue))
    turn = np.radians(30) * np.exp(-(((np.degrees(hue) - 275) / 25) ** 2))
    rotation = -np.sin(2 * turn) * 2 * _high_chroma(chroma)
    squared = lightness_term**2 + chroma_term**2 + hue_term**2 + rotation * chroma_term * hue_term
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def differences(ones: Colours, others: Colours) -> Colours:
    """Return ΔE2000 [N,M] between sRGB colours [N,3] and [M,3]."""
    return delta_e_2000(lab_of_srgb(ones)[:, None, :], lab_of_srgb(others)[None, :, :])


def _high_chroma(chroma: Colours) -> Colours:
    seventh = (chroma / 25) ** 7
    return np.asarray(np.sqrt(seventh / (seventh + 1)))


def _hue_between(hue_1: Colours, hue_2: Colours, grey: NDArray[np.bool_]) -> tuple[Colours, Colours]:
    """Return the shorter way round from one hue to the other, and the hue in its middle (equations 10 and 14)."""
    step = hue_2 - hue_1
    step = np.where(step > np.pi, step - 2 * np.pi, np.where(step < -np.pi, step + 2 * np.pi, step))
    total, far = hue_1 + hue_2, np.abs(hue_1 - hue_2) > np.pi
    middle = np.where(far, np.where(total < 2 * np.pi, total + 2 * np.pi, total - 2 * np.pi), total) / 2
    return np.where(grey, 0, step), np.where(grey, total, middle)


def _hue_weight(hue: Colours) -> Colours:
    cosines = 0.24 * np.cos(2 * hue) + 0.32 * np.cos(3 * hue + np.radians(6)) - 0.20 * np.cos(4 * hue - np.radians(63))
    return np.asarray(1 - 0.17 * np.cos(hue - np.radians(30)) + cosines)
