"""Turns a decoded picture upright, to 8 bits, and from its colour profile to sRGB; plain sRGB keeps every byte.

A profile that moves no colour of a coarse grid by more than two of 255 counts as sRGB and is left alone.
Source: ICC.1:2022; relative colorimetric with black point compensation (ISO 18619), as browsers and Photoshop do.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps

from data.checks import Unusable

MAX_PROFILE_BYTES = 8_000_000
SAME_LEVELS = 2
_ORIENTATION = 0x0112
# A profile's colour space: the modes whose samples it can describe, and the mode in which they are handed to it.
_SPACES = {
    "RGB": (("RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1"), "RGB"),
    "GRAY": (("L", "LA", "1"), "L"),
    "CMYK": (("CMYK",), "CMYK"),
}


def upright_srgb(picture: Image.Image) -> Image.Image | Unusable:
    """Return the picture as RGBA in sRGB, turned as its EXIF says, or why its colours or its turn cannot be told.

    Raises:
        OSError, SyntaxError, ValueError, EOFError: as Pillow raises them on data that is broken.
    """
    orientation = picture.getexif().get(_ORIENTATION, 1)
    if orientation not in range(9):
        return Unusable("broken picture", f"EXIF orientation {str(orientation)[:20]} is none of 1 to 8")
    profile = picture.info.get("icc_profile", b"")
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE_BYTES:
        return Unusable("broken colour profile", "it cannot be unpacked, or is over 8 MB")
    upright = _eight_bits(ImageOps.exif_transpose(picture) if orientation > 1 else picture)
    return _to_srgb(upright, profile) if profile else upright.convert("RGBA")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit; Pillow's own conversion would turn all but the darkest 256th white."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    grey = Image.fromarray((values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image | Unusable:
    try:
        space, transform = _transform(profile)
    except (OSError, ImageCms.PyCMSError, ValueError) as error:
        return Unusable("broken colour profile", " ".join(str(error).split())[:100])
    modes, handed = _SPACES[space]
    if picture.mode not in modes:
        return Unusable("broken colour profile", f"it is for {space}, the picture is {picture.mode}")
    if transform is None:
        return picture.convert("RGBA")
    seen_through = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    rgba = picture.convert("RGBA") if seen_through else None
    colours = (rgba or picture).convert(handed) if handed == "RGB" else picture.convert(handed)
    turned = ImageCms.applyTransform(colours, transform) or colours  # None only where it works in place
    if rgba is not None:
        turned.putalpha(rgba.getchannel("A"))
    return turned.convert("RGBA")


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return a profile's colour space and its way to sRGB; None where that leaves colours as they are.

    Raises:
        OSError, PyCMSError, ValueError: it is no profile, or none for pictures.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space.strip()
    if space not in _SPACES:
        raise ValueError(f"it is for {space or 'no colour space'}, not for RGB, grey or CMYK")
    mode = _SPACES[space][1]
    transform = ImageCms.buildTransform(
        opened,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return space, None if mode != "CMYK" and _moves_nothing(transform, mode) else transform


def _moves_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 9, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    before = Image.fromarray(grid if mode == "RGB" else np.arange(256, dtype=np.uint8).reshape(16, 16))
    after = ImageCms.applyTransform(before, transform)
    if after is None:
        return True
    difference = ImageChops.difference(before.convert("RGB"), after)
    return bool(np.asarray(difference).max() <= SAME_LEVELS)
