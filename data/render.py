"""Renders a drawing to a sample's picture: square, RGBA, lossless WebP with fixed settings.

Legend: a monochrome picture is black with its ink in alpha; a photo keeps its proportions on transparent ground.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image, ImageOps, UnidentifiedImageError

from data.checks import DEFAULT_CHECKS, FileChecks
from data.svg import svg_danger

MIN_PICTURE_PX = 32
MAX_PICTURE_PIXELS = 50_000_000
MAX_PICTURE_FILE_BYTES = 100_000_000
EMPTY_ALPHA = 8
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A sample's picture as lossless WebP with its size, and the rights statements found in the file."""

    picture: bytes
    width_px: int
    height_px: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unusable:
    """Why a picture cannot become a sample: ``reason`` is counted, ``detail`` tells this one's case."""

    reason: str
    detail: str = ""


def render(
    content: bytes | Path, *, monochrome: bool, picture_px: int, checks: FileChecks = DEFAULT_CHECKS
) -> Rendered | Unusable:
    """Return the sample's picture, or why there is none. Equal content gives equal bytes."""
    if isinstance(content, Path):
        if content.stat().st_size > MAX_PICTURE_FILE_BYTES:
            return Unusable("picture too large", f"{content.name} has over {MAX_PICTURE_FILE_BYTES:,} bytes")
        content = content.read_bytes()
    is_svg = content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    picture = _draw_svg(content, picture_px) if is_svg else _read_picture(content, picture_px)
    if isinstance(picture, Unusable):
        return picture
    alpha = picture.getchannel("A")
    if max(alpha.histogram()[EMPTY_ALPHA:]) == 0:
        return Unusable("empty picture")
    if monochrome:
        picture = Image.merge("RGBA", [Image.new("L", picture.size)] * 3 + [alpha])
    return Rendered(picture=encode(picture), width_px=picture.width, height_px=picture.height)


def encode(picture: Image.Image) -> bytes:
    """Return an RGBA picture as lossless WebP; the colour under full transparency is not kept."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=75, method=4, exact=False)
    return buffer.getvalue()


def _draw_svg(document: bytes, picture_px: int) -> Image.Image | Unusable:
    if danger := svg_danger(document):
        return Unusable("unsafe or broken SVG", danger)
    try:
        drawn = resvg_py.svg_to_bytes(
            svg_string=document.decode("utf-8-sig"), skip_system_fonts=True, width=picture_px, height=picture_px
        )
    except BaseException as error:
        # A panic in Rust arrives as pyo3's PanicException, which is no Exception and cannot be imported.
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        return Unusable("unsafe or broken SVG", " ".join(str(error).split())[:200])
    picture = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
    return _on_square(picture, picture_px)


def _read_picture(content: bytes, picture_px: int) -> Image.Image | Unusable:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked below, and of harmless metadata
            picture = Image.open(io.BytesIO(content), formats=PICTURE_FORMATS)
            if unfit := _unfit(picture):
                return unfit
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except UnidentifiedImageError:
        return Unusable("broken picture", f"not a whole picture in one of {', '.join(PICTURE_FORMATS)}, SVG")
    except Image.DecompressionBombError:
        return Unusable("picture too large", f"more than {MAX_PICTURE_PIXELS:,} pixels")
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        return Unusable("broken picture", str(error))
    return _on_square(upright, picture_px)


def _unfit(picture: Image.Image) -> Unusable | None:
    width, height = picture.size
    if width * height > MAX_PICTURE_PIXELS:
        return Unusable("picture too large", f"{width}x{height} is more than {MAX_PICTURE_PIXELS:,} pixels")
    if min(width, height) < MIN_PICTURE_PX:
        return Unusable("picture too small", f"{width}x{height}: at least {MIN_PICTURE_PX} px a side are needed")
    frames: int = getattr(picture, "n_frames", 1)
    if frames > 1:
        return Unusable("animated picture", f"{frames} frames; give one still")
    return None


def _on_square(picture: Image.Image, picture_px: int) -> Image.Image:
    """Return the whole picture scaled into the middle of a transparent square."""
    if picture.size == (picture_px, picture_px):
        return picture
    return ImageOps.pad(picture, (picture_px, picture_px), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))
