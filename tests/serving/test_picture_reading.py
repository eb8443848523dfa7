"""Whatever bytes arrive, reading gives a picture within the limit or one refusal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from serving.errors import RequestRefused
from serving.marking import Artifact, MetadataMarking, PictureRecord, digest_prompt
from serving.pictures import mask_from, read_mask, read_picture

SIDE_LIMIT_PX = 64


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


SAMPLES = [
    encoded(Image.new("RGB", (9, 7), "red"), "PNG"),
    encoded(Image.new("RGBA", (9, 7), (1, 2, 3, 4)), "WEBP"),
    encoded(Image.new("L", (9, 7), 5), "JPEG"),
    encoded(Image.new("P", (9, 7)), "PNG", transparency=0),
    encoded(Image.new("I;16", (9, 7), 900), "PNG"),
    encoded(Image.new("CMYK", (9, 7)), "JPEG"),
    encoded(Image.new("1", (9, 7), 1), "PNG"),
]


def read(content: bytes) -> Image.Image:
    return read_picture(content, param="image", side_limit_px=SIDE_LIMIT_PX)


@pytest.mark.parametrize("content", SAMPLES)
def test_every_kind_becomes_rgb_or_rgba(content: bytes) -> None:
    picture = read(content)
    assert picture.mode in ("RGB", "RGBA") and picture.size == (9, 7)
    assert picture.info == {}


@given(content=st.binary(max_size=300))
@example(content=b"\x89PNG\r\n\x1a\n")
def test_arbitrary_bytes(content: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(content)
    assert caught.value.param == "image"


@given(data=st.data(), content=st.sampled_from(SAMPLES))
def test_damaged_pictures(data: st.DataObject, content: bytes) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    cut = data.draw(st.booleans())
    rest = b"" if cut else bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]
    try:
        picture = read(content[:place] + rest)
    except RequestRefused as refused:
        assert "\n" not in refused.message
    else:
        assert max(picture.width, picture.height) <= SIDE_LIMIT_PX and picture.mode in ("RGB", "RGBA")


def test_a_picture_lying_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read(encoded(Image.new("RGB", (9, 7)), "JPEG", exif=exif))
    assert picture.size == (7, 9)


@given(alphas=st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_masks_are_hard_and_follow_their_convention(alphas: list[int]) -> None:
    picture = Image.new("RGBA", (2, 2))
    picture.putalpha(Image.frombytes("L", (2, 2), bytes(alphas)))
    by_alpha = list(mask_from(picture, "alpha").tobytes())
    assert by_alpha == [255 if alpha < 128 else 0 for alpha in alphas]
    assert list(mask_from(picture, "white").tobytes()) == [0] * 4
    assert list(mask_from(picture, "auto").tobytes()) == (by_alpha if min(alphas) < 255 else [0] * 4)


def test_a_white_mask_without_transparency_is_read_by_brightness() -> None:
    mask = Image.new("L", (4, 4), 0)
    mask.paste(255, (0, 0, 2, 4))
    content = encoded(mask, "PNG")
    read_back = read_mask(content, param="mask", side_limit_px=SIDE_LIMIT_PX, convention="auto")
    assert read_back.tobytes() == mask.tobytes()
    with pytest.raises(RequestRefused, match="nothing to draw anew"):
        read_mask(content, param="mask", side_limit_px=SIDE_LIMIT_PX, convention="alpha")


@given(seed=st.integers(0, 2**63 - 1), output_format=st.sampled_from(["png", "webp", "jpeg"]))
def test_marks_are_read_back_and_pixels_stay(seed: int, output_format: str) -> None:
    brand = Artifact(name="brand-x", version=None, digest="cd" * 32, licence="CC-BY-SA-4.0", obligations=("Ünïcode",))
    record = PictureRecord(
        seed=seed,
        task="text_to_image",
        prompt_sha256=digest_prompt("ein Ölbild"),
        num_inference_steps=16,
        guidance_scale=3.0,
        model=Artifact(name="backbone", version=2, digest="ab" * 32, licence="Apache-2.0"),
        adapter=brand,
    )
    picture = Image.effect_noise((16, 16), 90).convert("RGB")
    content = MetadataMarking()(picture, record, output_format=output_format, compression=100)
    opened = Image.open(io.BytesIO(content))
    text = opened.info["atelier"] if output_format == "png" else opened.getexif()[0x010E]
    assert json.loads(text)["seed"] == str(seed)
    assert json.loads(text)["obligations"] == ["Ünïcode"]
    assert "prompt" not in json.loads(text)
    if output_format != "jpeg":
        assert opened.convert("RGB").tobytes() == picture.tobytes()
