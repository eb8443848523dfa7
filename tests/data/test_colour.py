"""Colour profiles to sRGB, EXIF turned upright, 16 bits to 8; and plain sRGB left as it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.checks import FileChecks
from data.render import Rendered, render
from tests.data.makers import blobs, grey16, p3_profile, saved, srgb_profile

CHECKS = FileChecks(unsafe_threshold=None)


def shown(content: bytes, picture_px: int = 64) -> Image.Image:
    result = render(content, monochrome=False, picture_px=picture_px, checks=CHECKS)
    assert isinstance(result, Rendered), result
    return Image.open(io.BytesIO(result.picture)).convert("RGBA")


def flat(mode: str, colour: float | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (64, 64), colour)


def middle(content: bytes) -> tuple[int, ...]:
    pixel = shown(content).getpixel((32, 32))
    assert isinstance(pixel, tuple)
    return pixel


def grey_profile() -> bytes:
    """Return a profile of linear grey: sRGB's own white and a straight curve."""
    curve = b"curv" + bytes(8)
    white = b"XYZ " + bytes(4) + b"\x00\x00\xf6\xd6\x00\x01\x00\x00\x00\x00\xd3\x2d"
    text = b"desc" + bytes(4) + (5).to_bytes(4, "big") + b"grey\0" + bytes(78)
    parts = {b"desc": text + bytes(-len(text) % 4), b"wtpt": white, b"kTRC": curve}
    at, table, data = 128 + 4 + 12 * len(parts), len(parts).to_bytes(4, "big"), b""
    for name, part in parts.items():
        table += name + (at + len(data)).to_bytes(4, "big") + len(part).to_bytes(4, "big")
        data += part
    head = bytearray(128)
    head[8:12], head[12:24], head[36:40] = b"\x02\x10\0\0", b"mntrGRAYXYZ ", b"acsp"
    head[68:80] = white[8:]
    head[0:4] = (128 + len(table) + len(data)).to_bytes(4, "big")
    return bytes(head) + table + data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_profile_is_followed(kind: str) -> None:
    """The profile's red primary is sRGB's green: what is written as red is shown as green."""
    red, green, blue, alpha = middle(saved(flat("RGB", (255, 0, 0)), kind, quality=95, icc_profile=p3_profile()))
    assert green > 240 and red < 40 and blue < 40 and alpha == 255


def test_a_profile_is_followed_as_littlecms_alone_does() -> None:
    picture = blobs(50)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(p3_profile()))
    alone = ImageCms.profileToProfile(
        picture,
        profile,
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert alone is not None
    ours = shown(saved(picture, icc_profile=p3_profile())).convert("RGB")
    assert np.array_equal(np.asarray(ours), np.asarray(alone))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
def test_the_profile_of_srgb_alters_no_byte(mode: str) -> None:
    picture = blobs(51).convert(mode)
    with_profile = render(saved(picture, icc_profile=srgb_profile()), monochrome=False, picture_px=64, checks=CHECKS)
    assert with_profile == render(saved(picture), monochrome=False, picture_px=64, checks=CHECKS)


def test_transparency_survives_a_profile() -> None:
    picture = flat("RGBA", (255, 0, 0, 128))
    assert middle(saved(picture, icc_profile=p3_profile()))[3] == 128
    palette = blobs(52).quantize(4)
    palette.putpixel((32, 32), 2)
    seen = shown(saved(palette, transparency=2, icc_profile=p3_profile()))
    assert seen.getchannel("A").getpixel((32, 32)) == 0
    assert set(np.unique(np.asarray(seen.getchannel("A")))) == {0, 255}


def test_grey_of_a_linear_profile_becomes_lighter() -> None:
    red, green, blue, _ = middle(saved(flat("L", 128), icc_profile=grey_profile()))
    assert red == green == blue
    assert red == pytest.approx(188, abs=2)  # sRGB's curve at 128/255: 255 · (1.055 · 0.502^(1/2.4) - 0.055)


def test_sixteen_bits_keep_their_shades() -> None:
    values = np.asarray(shown(saved(grey16())))[..., 0]
    assert np.array_equal(values, (np.arange(4096).reshape(64, 64) * 16 >> 8).astype(np.uint8))


def test_cmyk_is_shown_in_its_colours() -> None:
    red, green, blue, _ = middle(saved(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 240 and green < 20 and blue < 20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_turned_upright(orientation: int) -> None:
    """Written so that the turn brings the red corner to the left top."""
    upright = Image.new("RGB", (64, 64), "blue")
    upright.paste((255, 0, 0), (0, 0, 20, 20))
    upright.paste((0, 255, 0), (44, 0, 64, 20))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(shown(saved(stored, exif=exif)).convert("RGB")), np.asarray(upright))
