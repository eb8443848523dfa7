"""A logo: read from its file; how far its colours are off where it stands; how much room it is given.

Shapes: pictures uint8 [3,H,W]; logos RGBA; boxes in pixels of the searched copy (``logo_search.searched``).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from data.checks import FileChecks, Unusable
from data.render import render
from evaluation.elements.colour import delta_e_2000, lab_of_srgb
from evaluation.elements.logo_search import Placed, layers, searched
from evaluation.elements.palette import palette_of
from evaluation.errors import EvaluationError

LOGO_PX = 256
FOREIGN_STEP = 10.0
LOGO_COLOURS = 4
TELLING_SHARE = 0.1
SOLID = 0.95
# The brand's own mark: it is looked for, not learnt, so no statement about training in its file matters.
CHECKS = FileChecks(min_side_px=16, opt_outs=False, unsafe_threshold=None)


def read_logo(file: Path) -> Image.Image:
    """Return a logo as RGBA in sRGB, cut to what is not transparent, 256 px at its longer side.

    Raises EvaluationError when the file is missing, is no picture or SVG that can be read, or shows nothing.
    """
    if not file.is_file():
        raise EvaluationError(f"logo {file} does not exist: name a PNG, WebP or SVG file, relative to the kit")
    drawn = render(file, monochrome=False, picture_px=2 * LOGO_PX, checks=CHECKS)
    if isinstance(drawn, Unusable):
        raise EvaluationError(f"logo {file} cannot be used: {drawn.reason}{drawn.detail and ', ' + drawn.detail}")
    with Image.open(io.BytesIO(drawn.picture)) as picture:
        return trimmed(picture.convert("RGBA"))


def trimmed(logo: Image.Image) -> Image.Image:
    """Return the logo without its transparent border, 256 px at its longer side."""
    inside = logo.crop(logo.getchannel("A").point(lambda alpha: 255 * (alpha >= 8)).getbbox())
    factor = LOGO_PX / max(inside.size)
    width, height = (max(1, round(side * factor)) for side in inside.size)
    return inside.resize((width, height), Image.Resampling.LANCZOS)


def png_of(logo: Image.Image) -> bytes:
    """Return the file that travels with an adapter."""
    buffer = io.BytesIO()
    logo.save(buffer, format="PNG")
    return buffer.getvalue()


def logo_step(picture_3HW: Tensor, logo: Image.Image, place: Placed) -> float:
    """Return the ΔE2000 of the logo's colour that is furthest off where it stands.

    Each of its colours with a tenth of its area or more, four at most, is held against the median of the pixels that
    it covers whole.
    """
    seen = searched(picture_3HW)[place.top : place.top + place.height, place.left : place.left + place.width]
    colours, cover = layers(logo, place.width, place.height)
    solid = cover >= min(SOLID, float(cover.max()))
    wanted = lab_of_srgb(colours[solid].astype(np.float64))
    found = lab_of_srgb(seen[solid].astype(np.float64))
    palette = palette_of(colours[solid].astype(np.float64), LOGO_COLOURS)
    target = lab_of_srgb(palette.colours[palette.weights >= TELLING_SHARE])
    nearest = delta_e_2000(wanted[:, None], target[None]).argmin(axis=1)
    covered = [each for each in range(len(target)) if (nearest == each).any()]
    return max(float(delta_e_2000(np.median(found[nearest == each], axis=0), target[each])) for each in covered)


def clear_space(picture_3HW: Tensor, place: Placed) -> float:
    """Return how far the nearest foreign thing is from the logo's box, in heights of the logo.

    Foreign is what differs from the logo's ground by more than ΔE2000 10, and the picture's edge.  Distances run along
    the axes, as the exclusion zones of brand books do.  The first pixel outside may be a blend and is not looked at.
    """
    picture = searched(picture_3HW)
    high, wide = picture.shape[:2]
    rows, columns = np.arange(high)[:, None], np.arange(wide)[None, :]
    down = np.maximum(place.top - 1 - rows, rows - (place.top + place.height))
    across = np.maximum(place.left - 1 - columns, columns - (place.left + place.width))
    room = np.maximum(down, across)
    ground = lab_of_srgb(np.array(place.ground))
    foreign = (delta_e_2000(lab_of_srgb(picture.astype(np.float64)), ground) > FOREIGN_STEP) & (room >= 1)
    edge = min(place.left, place.top, wide - place.left - place.width, high - place.top - place.height)
    nearest = min(edge, int(room[foreign].min())) if foreign.any() else edge
    return float(max(0, nearest) / place.height)
