"""Renders a drawing to a sample's picture: RGBA in sRGB, lossless WebP with fixed settings, once its file is admitted.

Legend: a monochrome picture is black with its ink in alpha; a photo keeps its proportions on transparent ground.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from data.checks import DEFAULT_CHECKS, KEPT_STEP_PX, FileChecks, Unusable
from data.colour import upright_srgb
from data.containers import PICTURE_FORMATS, misfit, read_file, sniff
from data.credentials import Claims, credentials
from data.errors import DataError
from data.marks import picture_claims, svg_claims
from data.svg import embedded_pictures, safe_svg
from data.svg_draw import draw_svg
from data.unsafe import unsafe_score

__all__ = ["Rendered", "Unusable", "encode", "render"]

EMPTY_ALPHA = 8
# What Pillow lets through from its parsers on data that was made to break them.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A sample's picture as lossless WebP with its size, and the rights statements found in the file."""

    picture: bytes
    width_px: int
    height_px: int
    marks: tuple[str, ...] = ()


def render(
    content: bytes | Path, *, monochrome: bool, picture_px: int, checks: FileChecks = DEFAULT_CHECKS
) -> Rendered | Unusable:
    """Return the sample's picture, or why there is none. Equal content gives equal bytes.

    Raises:
        DataError: pictures that keep their shape need a ``picture_px`` that is a multiple of 16.
    """
    if checks.shape == "kept" and picture_px % KEPT_STEP_PX:
        raise DataError(f"picture_px is {picture_px}; with checks.shape kept it must be a multiple of {KEPT_STEP_PX}")
    found = _found(content, picture_px, checks)
    if isinstance(found, Unusable):
        return found
    picture, claims = _shaped(found[0], picture_px, checks.shape), found[1]
    alpha = picture.getchannel("A")
    if max(alpha.histogram()[EMPTY_ALPHA:]) == 0:
        return Unusable("empty picture")
    if monochrome:
        picture = Image.merge("RGBA", [Image.new("L", picture.size)] * 3 + [alpha])
    return Rendered(picture=encode(picture), width_px=picture.width, height_px=picture.height, marks=claims.marks)


def _found(content: bytes | Path, picture_px: int, checks: FileChecks) -> tuple[Image.Image, Claims] | Unusable:
    """Return what a file shows, RGBA in sRGB and upright, and what it says; an SVG's longer side is ``picture_px``."""
    suffix = content.suffix if isinstance(content, Path) else ""
    held = read_file(content, checks) if isinstance(content, Path) else content
    if isinstance(held, Unusable):
        return held
    if unfit := misfit(held, suffix, checks):
        return unfit
    return _read_svg(held, picture_px, checks) if sniff(held) == "SVG" else _read_picture(held, checks)


def encode(picture: Image.Image) -> bytes:
    """Return an RGBA picture as lossless WebP; the colour under full transparency is not kept."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=75, method=4, exact=False)
    return buffer.getvalue()


def _read_svg(document: bytes, picture_px: int, checks: FileChecks) -> tuple[Image.Image, Claims] | Unusable:
    parsed = safe_svg(document)
    if isinstance(parsed, str):
        return Unusable("unsafe or broken SVG", parsed)
    text, root = parsed
    claims = credentials(document, "SVG") + svg_claims(root)
    within = _embedded_claims(root, checks)
    if isinstance(within, Unusable):
        return within
    claims += within
    if refused := _refusal(claims, checks):
        return refused
    drawn = draw_svg(text, root, picture_px)
    if isinstance(drawn, Unusable):
        return drawn
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    indecent = _indecent(picture, checks) if checks.unsafe_drawings else None
    return _narrow(picture, checks) or indecent or (picture, claims)


def _embedded_claims(root: Element, checks: FileChecks) -> Claims | Unusable:
    """Return what the pictures inside a drawing say; they must be as sound as pictures that come alone."""
    total, pixels = Claims(), 0
    try:
        for content in embedded_pictures(root):
            opened = misfit(content, "", checks) or _open(content, checks, least_px=1)
            if isinstance(opened, Unusable):
                return Unusable("unsafe or broken SVG", f"SVG holds a picture: {opened.reason}, {opened.detail}")
            picture, claims = opened
            total, pixels = total + claims, pixels + picture.width * picture.height
            if pixels > checks.max_pixels:
                return Unusable("unsafe or broken SVG", f"SVG holds pictures of over {checks.max_pixels:,} pixels")
    except ValueError as error:
        return Unusable("unsafe or broken SVG", f"SVG holds a picture that is not in base 64 ({error})")
    return total


def _read_picture(content: bytes, checks: FileChecks) -> tuple[Image.Image, Claims] | Unusable:
    opened = _open(content, checks, least_px=checks.min_side_px)
    if isinstance(opened, Unusable):
        return opened
    picture, claims = opened
    if refused := _refusal(claims, checks):
        return refused
    try:
        with _quiet():
            upright = upright_srgb(picture)
    except BROKEN as error:
        return _broken(error)
    if isinstance(upright, Unusable):
        return upright
    return _indecent(upright, checks) or (upright, claims)


def _open(content: bytes, checks: FileChecks, *, least_px: int) -> tuple[ImageFile, Claims] | Unusable:
    """Return the decoded picture as its file holds it, with what the file says of rights."""
    try:
        with _quiet():
            picture = Image.open(io.BytesIO(content), formats=PICTURE_FORMATS)
            if unfit := _unfit(picture, checks, least_px):
                return unfit
            picture.load()
            return picture, credentials(content, sniff(content)) + picture_claims(picture)
    except UnidentifiedImageError:
        return Unusable("broken picture", f"not a whole picture in one of {', '.join(PICTURE_FORMATS)}, SVG")
    except Image.DecompressionBombError:
        return Unusable("picture too large", f"more than {checks.max_pixels:,} pixels")
    except BROKEN as error:
        return _broken(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow from warning of what is checked here, and of harmless metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _broken(error: BaseException) -> Unusable:
    return Unusable("broken picture", " ".join(str(error).split())[:200] or type(error).__name__)


def _refusal(claims: Claims, checks: FileChecks) -> Unusable | None:
    if not checks.opt_outs:
        return None
    if claims.opt_out:
        return Unusable("opt-out in the file", claims.opt_out)
    return Unusable("unreadable rights statement", claims.fault) if claims.fault else None


def _unfit(picture: ImageFile, checks: FileChecks, least_px: int) -> Unusable | None:
    width, height = picture.size
    if width * height > checks.max_pixels:
        return Unusable("picture too large", f"{width}x{height} is more than {checks.max_pixels:,} pixels")
    if min(width, height) < least_px:
        return Unusable("picture too small", f"{width}x{height}: at least {least_px} px a side are needed")
    # A phone keeps a depth map or a second view behind the picture, as MPO: that is no animation.
    frames: int = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if frames > 1:
        return Unusable("animated picture", f"{frames} frames; give one still")
    return _narrow(picture, checks) if least_px > 1 else None


def _narrow(picture: Image.Image, checks: FileChecks) -> Unusable | None:
    if max(picture.size) <= min(picture.size) * checks.max_ratio:
        return None
    width, height = picture.size
    return Unusable("picture too narrow", f"{width}x{height}: one side is over {checks.max_ratio:g} times the other")


def _indecent(picture: Image.Image, checks: FileChecks) -> Unusable | None:
    if checks.unsafe_threshold is None:
        return None
    score = unsafe_score(picture)
    if score < checks.unsafe_threshold:
        return None
    return Unusable("unsafe picture", f"open_nsfw scores it {score:.2f}; under {checks.unsafe_threshold:g} is admitted")


def _shaped(picture: Image.Image, picture_px: int, shape: str) -> Image.Image:
    """Return the whole picture scaled into the middle of a transparent square, or of its own proportions' box."""
    width, height = (picture_px, picture_px) if shape == "square" else _kept_size(picture.size, picture_px)
    if picture.size == (width, height):
        return picture
    return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))


def _kept_size(size: tuple[int, int], picture_px: int) -> tuple[int, int]:
    """Return the box of a picture whose longer side becomes ``picture_px``: sides up to the next multiple of 16 px."""
    steps = [-(-side * picture_px // (max(size) * KEPT_STEP_PX)) for side in size]
    return steps[0] * KEPT_STEP_PX, steps[1] * KEPT_STEP_PX
