"""Reading pictures that strangers send: the size is checked before a pixel is decoded, and any fault is one refusal.

A mask is kept as the network reads it: mode ``L``, white (255) where the picture is drawn anew.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image, ImageOps

from serving.errors import RequestRefused

READABLE_FORMATS = ("PNG", "WEBP", "JPEG")
MASK_CONVENTIONS = ("auto", "alpha", "white")

# Everything Pillow's decoders are known to raise on broken files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    ArithmeticError,
    LookupError,
    struct.error,
    zlib.error,
)


def read_picture(content: bytes, *, param: str, side_limit_px: int) -> Image.Image:
    """Decode one PNG, WebP or JPEG, upright, as RGBA or RGB; the first frame of an animation.

    Raises RequestRefused that names ``param`` for anything else, and before decoding when a side is over the limit.
    """
    if not content:
        raise RequestRefused(f"'{param}' is empty: send a PNG, WebP or JPEG file", param=param, code="invalid_image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=READABLE_FORMATS)
            _refuse_large(picture, param, side_limit_px)
            # Copied, so that nothing of the file's own text or profile travels on.
            upright = ImageOps.exif_transpose(picture)
            return _plain(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RequestRefused(
            f"'{param}' has far too many pixels: each side may have at most {side_limit_px} px",
            param=param,
            code="image_too_large",
        ) from error
    except _BROKEN as error:
        raise RequestRefused(
            f"'{param}' is not a picture that can be read: send a whole PNG, WebP or JPEG file",
            param=param,
            code="invalid_image",
        ) from error


def read_mask(content: bytes, *, param: str, side_limit_px: int, convention: str) -> Image.Image:
    """Decode a mask into mode L with white where the picture is drawn anew.

    ``alpha``: transparent pixels are drawn anew (OpenAI's rule). ``white``: white pixels are. ``auto`` reads the alpha
    if there is any transparency in the file and the brightness if there is none.
    Raises RequestRefused when the mask is broken or leaves nothing to draw.
    """
    picture = read_picture(content, param=param, side_limit_px=side_limit_px)
    mask = mask_from(picture, convention)
    if mask.getbbox() is None:
        raise RequestRefused(
            f"'{param}' marks nothing to draw anew: make the area transparent, or white on black", param=param
        )
    return mask


def mask_from(picture: Image.Image, convention: str = "auto") -> Image.Image:
    """Turn a picture into a hard mask of mode L: 255 where drawn anew, 0 where kept."""
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
    by_alpha = convention == "alpha" or (convention == "auto" and alpha.getextrema() != (255, 255))
    if by_alpha:
        return alpha.point([255 if value < 128 else 0 for value in range(256)])
    return picture.convert("L").point([255 if value >= 128 else 0 for value in range(256)])


def _refuse_large(picture: Image.Image, param: str, side_limit_px: int) -> None:
    if max(picture.width, picture.height) > side_limit_px:
        raise RequestRefused(
            f"'{param}' measures {picture.width}x{picture.height} px: each side may have at most {side_limit_px} px",
            param=param,
            code="image_too_large",
        )


def _plain(picture: Image.Image) -> Image.Image:
    return Image.frombytes(picture.mode, picture.size, picture.tobytes())
