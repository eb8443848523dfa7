"""What cannot become a picture, and that what can is drawn the same each time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from data.checks import FileChecks
from data.errors import DataError
from data.render import Rendered, Unusable, render
from data.svg import icon_svg, svg_danger

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 8">{}</svg>'
RECT = '<rect width="8" height="8"/>'


def svg(body: str) -> bytes:
    return SVG.format(body).encode()


def picture(width: int = 64, height: int = 64, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    noise.resize((width, height), Image.Resampling.NEAREST).save(buffer, kind, **options)
    return buffer.getvalue()


def frames() -> bytes:
    first, second = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")
    return_to = io.BytesIO()
    first.save(return_to, "WEBP", save_all=True, append_images=[second])
    return return_to.getvalue()


def reuse_bomb() -> bytes:
    """Eight levels of ten uses each: a hundred million rectangles in a kilobyte."""
    levels = [f'<g id="l0">{RECT}</g>']
    levels += [f'<g id="l{n}">' + f'<use xlink:href="#l{n - 1}"/>' * 10 + "</g>" for n in range(1, 9)]
    return svg("".join(levels))


def pattern_bomb() -> bytes:
    """Patterns filled with patterns, ten at a time."""
    rect = '<rect width="8" height="8" fill="url(#p{})"/>'
    levels = [f'<pattern id="p{n}" width="1" height="1">{rect.format(n + 1) * 10}</pattern>' for n in range(8)]
    return svg("".join(levels) + f'<pattern id="p8" width="1" height="1">{RECT}</pattern>' + rect.format(0))


REFUSED = {
    "truncated": (picture()[:900], "broken picture"),
    "not a picture": (b"hello, world", "broken picture"),
    "empty file": (b"", "broken picture"),
    "another format": (picture(kind="GIF"), "unsupported format"),
    "small": (picture(31, 200), "picture too small"),
    "animated": (frames(), "animated picture"),
    "bomb": (picture(8000, 8000, compress_level=1), "picture too large"),
    "broken svg": (b"<svg", "unsafe or broken SVG"),
    "other xml": (b"<html></html>", "unsafe or broken SVG"),
    "script": (svg("<script>1</script>" + RECT), "unsafe or broken SVG"),
    "handler": (svg('<rect onclick="x()" width="8" height="8"/>'), "unsafe or broken SVG"),
    "outside picture": (svg('<image href="file:///etc/passwd" width="8" height="8"/>'), "unsafe or broken SVG"),
    "outside use": (svg('<use xlink:href="http://example.org/a.svg#b"/>'), "unsafe or broken SVG"),
    "outside style": (svg("<style>@import url(http://example.org/a.css);</style>" + RECT), "unsafe or broken SVG"),
    "outside fill": (svg('<rect style="fill:url(http://a.b/c)" width="8" height="8"/>'), "unsafe or broken SVG"),
    "entity": (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg(RECT), "unsafe or broken SVG"),
    "reuse bomb": (reuse_bomb(), "unsafe or broken SVG"),
    "pattern bomb": (pattern_bomb(), "unsafe or broken SVG"),
    "use cycle": (svg('<g id="a"><use xlink:href="#a"/></g>'), "unsafe or broken SVG"),
    "nesting": (svg("<g>" * 500 + RECT + "</g>" * 500), "unsafe or broken SVG"),
    "nothing drawn": (svg("<g/>"), "empty picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(case: str) -> None:
    content, reason = REFUSED[case]
    result = render(content, monochrome=False, picture_px=32)
    assert isinstance(result, Unusable)
    assert result.reason == reason


@pytest.mark.parametrize(
    "body",
    [
        RECT,
        '<defs><g id="a"><rect width="4" height="4"/></g></defs><use xlink:href="#a"/>',
        '<linearGradient id="g"><stop stop-color="red"/></linearGradient><rect fill="url(#g)" width="8" height="8"/>',
        '<rect width="8" height="8"><animate attributeName="x" values="0;1"/></rect>',
    ],
)
def test_sound_svg_is_drawn(body: str) -> None:
    assert svg_danger(svg(body)) is None
    assert isinstance(render(svg(body), monochrome=False, picture_px=32), Rendered)


def opened(result: Rendered | Unusable) -> Image.Image:
    assert isinstance(result, Rendered)
    assert Image.open(io.BytesIO(result.picture)).size == (result.width_px, result.height_px)
    return Image.open(io.BytesIO(result.picture)).convert("RGBA")


def test_one_colour_drawings_are_black_with_ink_in_alpha() -> None:
    drawn = opened(render(svg('<rect fill="#f00" width="8" height="4"/>'), monochrome=True, picture_px=16))
    assert drawn.getpixel((8, 2)) == (0, 0, 0, 255)
    assert drawn.getchannel("A").getpixel((8, 14)) == 0


def test_pictures_keep_their_proportions_on_a_transparent_square(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.new("RGB", (80, 40), "red").save(file)
    drawn = opened(render(file, monochrome=False, picture_px=32))
    assert drawn.size == (32, 32)
    assert drawn.getpixel((16, 16)) == (255, 0, 0, 255)
    assert drawn.getchannel("A").getpixel((16, 2)) == 0


def test_icons_of_any_shape_are_centred_and_turned() -> None:
    wide = {"body": '<path d="M0 0h4v8H0z"/>', "width": 16, "height": 8}
    left = opened(render(icon_svg(wide, {}), monochrome=True, picture_px=32)).getchannel("A")
    assert (left.getpixel((2, 16)), left.getpixel((2, 2)), left.getpixel((30, 16))) == (255, 0, 0)
    flipped = opened(render(icon_svg(wide | {"hFlip": True}, {}), monochrome=True, picture_px=32)).getchannel("A")
    assert (flipped.getpixel((2, 16)), flipped.getpixel((30, 16))) == (0, 255)
    turned = opened(render(icon_svg(wide | {"rotate": 1}, {}), monochrome=True, picture_px=32)).getchannel("A")
    assert (turned.getpixel((16, 2)), turned.getpixel((16, 30)), turned.getpixel((2, 16))) == (255, 0, 0)


def test_sizes_default_to_those_of_the_set() -> None:
    icon = {"body": '<path d="M0 0h24v24H0z"/>'}
    drawn = opened(render(icon_svg(icon, {"width": 48, "height": 48}), monochrome=True, picture_px=32))
    assert drawn.getchannel("A").getbbox() == (0, 0, 16, 16)
    moved = opened(render(icon_svg(icon, {"width": 48, "height": 48, "left": -24}), monochrome=True, picture_px=32))
    assert moved.getchannel("A").getbbox() == (16, 0, 32, 16)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (64, 64)), ((128, 64), (64, 32)), ((100, 300), (32, 64)), ((640, 48), (64, 16)), ((90, 60), (64, 48))],
)
def test_a_kept_shape_has_the_longer_side_and_steps_of_sixteen(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    checks = FileChecks(shape="kept", unsafe_threshold=None)
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    result = render(buffer.getvalue(), monochrome=False, picture_px=64, checks=checks)
    drawn = opened(result)
    assert drawn.size == expected
    left, top, right, bottom = drawn.getchannel("A").getbbox() or (0, 0, 0, 0)
    assert max(right - left, bottom - top) == 64
    assert (right - left) / (bottom - top) == pytest.approx(size[0] / size[1], rel=0.15)  # to a whole pixel


def test_a_kept_shape_goes_for_drawings_too() -> None:
    wide = svg(RECT).replace(b"0 0 8 8", b"0 0 8 4")
    drawn = opened(render(wide, monochrome=True, picture_px=64, checks=FileChecks(shape="kept")))
    assert drawn.size == (64, 32)
    with pytest.raises(DataError, match="multiple of 16"):
        render(wide, monochrome=True, picture_px=40, checks=FileChecks(shape="kept"))


def test_a_drawing_is_the_same_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    document = svg('<circle cx="4" cy="4" r="3" fill="#a30" stroke="#06c"/>')
    here = render(document, monochrome=False, picture_px=48)
    monkeypatch.setattr("data.svg_draw.PLAIN_BYTES", 0)
    assert render(document, monochrome=False, picture_px=48) == here


def test_a_drawing_that_kills_its_process_costs_only_itself() -> None:
    tile = '<pattern id="p" width="1e7" height="1e7" patternUnits="userSpaceOnUse"><path d="M0 0h1v1z"/></pattern>'
    bomb = svg(tile + '<rect fill="url(#p)" width="8" height="8"/>')
    sound = svg('<filter id="f"><feFlood/></filter><rect filter="url(#f)" width="8" height="8"/>')
    before = render(sound, monochrome=False, picture_px=32)
    for _ in range(2):
        refused = render(bomb, monochrome=False, picture_px=32)
        assert isinstance(refused, Unusable) and "to draw" in refused.detail
        assert render(sound, monochrome=False, picture_px=32) == before


def test_limits_are_settings() -> None:
    small = picture(20, 20)
    lenient = FileChecks(min_side_px=8, unsafe_threshold=None)
    assert isinstance(render(small, monochrome=False, picture_px=32, checks=lenient), Rendered)
    refused = render(picture(), monochrome=False, picture_px=32, checks=FileChecks(max_pixels=64 * 64 - 1))
    assert isinstance(refused, Unusable) and refused.reason == "picture too large"


def test_a_name_is_held_to_its_content_unless_told_not_to(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(kind="JPEG"))
    refused = render(file, monochrome=False, picture_px=32)
    assert isinstance(refused, Unusable) and refused.reason == "mislabelled file"
    trusting = FileChecks(honest_suffix=False, unsafe_threshold=None)
    assert isinstance(render(file, monochrome=False, picture_px=32, checks=trusting), Rendered)


def test_a_long_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "long.png"
    file.write_bytes(picture())
    refused = render(file, monochrome=False, picture_px=32, checks=FileChecks(max_file_bytes=100))
    assert refused == Unusable("picture too large", "over 100 bytes")
