"""What a file says of the rights in it: read, recorded, and heeded where it forbids training."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.checks import FileChecks
from data.marks import MAX_MARK_CHARACTERS, MAX_MARKS
from data.render import Rendered, Unusable, render
from tests.data.makers import (
    DMI,
    JPEG,
    PNG,
    RECT,
    WEBP,
    XMP,
    blobs,
    copyright_jpeg,
    saved,
    svg,
    text_png,
    xmp_packet,
    xmp_png,
)
from tests.data.signing import signed

CHECKS = FileChecks(unsafe_threshold=None)
RECORDED_ONLY = FileChecks(unsafe_threshold=None, opt_outs=False)
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FILES = {"image/png": PNG, "image/jpeg": JPEG, "image/webp": WEBP, "image/svg+xml": svg(RECT)}


def read(content: bytes, checks: FileChecks = CHECKS) -> Rendered | Unusable:
    return render(content, monochrome=False, picture_px=32, checks=checks)


def marks(content: bytes, checks: FileChecks = CHECKS) -> tuple[str, ...]:
    result = read(content, checks)
    assert isinstance(result, Rendered), result
    return result.marks


def opt_out(content: bytes) -> str | None:
    """Return the statement for which a file is refused; None if it is admitted."""
    result = read(content)
    if isinstance(result, Rendered):
        return None
    assert result.reason == "opt-out in the file"
    return result.detail


def iptc_jpeg(notice: bytes) -> bytes:
    """Return a JPEG with an IPTC copyright notice, as Photoshop puts it there."""
    data = b"\x1c\x02\x74" + len(notice).to_bytes(2, "big") + notice
    block = b"8BIM\x04\x04\x00\x00" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
    segment = b"Photoshop 3.0\0" + block
    return JPEG[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + JPEG[2:]


def extended_xmp_jpeg(packet: bytes) -> bytes:
    """Return a JPEG whose XMP lies in an extension, behind a main packet that says nothing."""
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + len(packet).to_bytes(4, "big") + bytes(4)
    segment = head + packet
    extension = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    return JPEG[:2] + extension + JPEG[2:]


def magick_png(packet: str) -> bytes:
    """Return a PNG with XMP in the form in which ImageMagick writes it."""
    info = PngInfo()
    info.add_text("Raw profile type xmp", f"\nxmp\n{len(packet):8}\n{packet.encode().hex()}\n", zip=True)
    return saved(blobs(12), pnginfo=info)


@pytest.mark.parametrize("media_type", FILES)
@pytest.mark.parametrize(
    ("label", "use"), [("cawg.training-mining", "cawg.ai_training"), ("c2pa.training-mining", "c2pa.data_mining")]
)
def test_content_credentials_that_forbid_training_are_heeded(media_type: str, label: str, use: str) -> None:
    assert opt_out(signed(FILES[media_type], media_type, {use: "notAllowed"}, label)) == f"C2PA {use}: notAllowed"


@pytest.mark.parametrize("use", ["ai_training", "ai_generative_training", "data_mining"])
@pytest.mark.parametrize("verdict", ["notAllowed", "constrained", "who knows"])
def test_whatever_is_not_allowed_forbids(use: str, verdict: str) -> None:
    assert opt_out(signed(PNG, "image/png", {f"cawg.{use}": verdict})) == f"C2PA cawg.{use}: {verdict}"


def test_credentials_that_allow_are_recorded() -> None:
    uses = {"cawg.ai_training": "allowed", "cawg.ai_inference": "notAllowed"}
    assert marks(signed(PNG, "image/png", uses)) == (
        "C2PA: Content Credentials by A. Drawer",
        "C2PA cawg.ai_inference: notAllowed",
        "C2PA cawg.ai_training: allowed",
    )


def test_a_new_signature_does_not_undo_an_opt_out() -> None:
    forbidden = signed(JPEG, "image/jpeg", {"cawg.ai_training": "notAllowed"})
    again = signed(forbidden, "image/jpeg", {"cawg.ai_training": "allowed"}, parent=forbidden)
    assert opt_out(again) == "C2PA cawg.ai_training: notAllowed"


def test_an_opt_out_counts_though_its_signature_is_broken() -> None:
    content = signed(PNG, "image/png", {"cawg.ai_training": "notAllowed"})
    other = saved(blobs(13))
    at = content.index(b"caBX") - 4
    length = int.from_bytes(content[at : at + 4], "big") + 12
    assert opt_out(other[:33] + content[at : at + length] + other[33:]) == "C2PA cawg.ai_training: notAllowed"


@pytest.mark.parametrize(
    ("value", "forbids"),
    [
        ("ALLOWED", False),
        ("UNSPECIFIED", False),
        ("PROHIBITED", True),
        ("PROHIBITED-AIMLTRAINING", True),
        ("PROHIBITED-GENAIMLTRAINING", True),
        ("PROHIBITED-EXCEPTSEARCHENGINEINDEXING", True),
        ("PROHIBITED-SEECONSTRAINT", True),
        ("PROHIBITED-SEEEMBEDDEDRIGHTSEXPR", True),
    ],
)
def test_the_data_mining_vocabulary(value: str, forbids: bool) -> None:
    told = f"plus:DataMining: {DMI}{value}"
    content = xmp_png(f"<plus:DataMining>{DMI}{value}</plus:DataMining>")
    assert opt_out(content) == (told if forbids else None)
    as_attribute = XMP.format("").replace('rdf:about=""', f'plus:DataMining="DMI-{value}"')
    assert (opt_out(saved(blobs(14), "WEBP", xmp=as_attribute.encode())) is not None) == forbids
    assert told in marks(content, RECORDED_ONLY)


@pytest.mark.parametrize(("value", "forbids"), [("1", True), ("0", False)])
def test_text_and_data_mining_reservation(value: str, forbids: bool) -> None:
    properties = f"<tdm:reservation>{value}</tdm:reservation><tdm:policy>https://example.org/p</tdm:policy>"
    assert (opt_out(xmp_png(properties)) is not None) == forbids
    assert marks(xmp_png(properties), RECORDED_ONLY) == (
        f"tdm:reservation: {value}",
        "tdm:policy: https://example.org/p",
    )


@pytest.mark.parametrize(
    ("notice", "forbids"),
    [
        ("noai", True),
        ("no-ai, noindex", True),
        ("(c) 2026 A. Drawer. No AI.", True),
        ("This work may not be used to train AI models", True),
        ("Not for use in machine learning", True),
        ("All rights reserved, data mining included", True),
        ("(c) 2026 A. Drawer", False),
        ("All rights reserved. Made for AI training.", False),
        ("Drawn in Osnoaija", False),
    ],
)
def test_plain_words_in_a_notice(notice: str, forbids: bool) -> None:
    assert (opt_out(copyright_jpeg(notice)) is not None) == forbids
    assert (opt_out(iptc_jpeg(notice.encode())) is not None) == forbids
    assert (opt_out(text_png("Copyright", notice)) is not None) == forbids
    assert marks(copyright_jpeg(notice), RECORDED_ONLY) == (f"EXIF Copyright: {notice}",)
    assert marks(iptc_jpeg(notice.encode()), RECORDED_ONLY) == (f"IPTC CopyrightNotice: {notice}",)


PLACES: dict[str, Callable[[str], bytes]] = {
    "png": xmp_packet,
    "imagemagick": magick_png,
    "jpeg": lambda packet: saved(blobs(15), "JPEG", xmp=packet.encode()),
    "jpeg, extended": lambda packet: extended_xmp_jpeg(packet.encode()),
    "webp": lambda packet: saved(blobs(16), "WEBP", xmp=packet.encode()),
}


@pytest.mark.parametrize("place", PLACES)
def test_statements_are_found_wherever_they_lie(place: str) -> None:
    source = f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE}digitalArt</Iptc4xmpExt:DigitalSourceType>"
    rights = "<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>© A. Drawer</rdf:li></rdf:Alt></dc:rights>"
    keywords = "<dc:subject><rdf:Bag><rdf:li>fox</rdf:li></rdf:Bag></dc:subject>"
    assert marks(PLACES[place](XMP.format(rights + source + keywords))) == (
        "dc:rights: © A. Drawer",
        f"Iptc4xmpExt:DigitalSourceType: {DIGITAL_SOURCE}digitalArt",
    )
    assert opt_out(PLACES[place](XMP.format(keywords.replace("fox", "noai")))) == "dc:subject: noai"


def test_an_svg_and_the_picture_inside_it_speak() -> None:
    metadata = '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>CC0</dc:rights></metadata>'
    assert marks(svg(metadata + RECT)) == ("dc:rights: CC0",)
    inside = base64.b64encode(copyright_jpeg("(c) B. Painter")).decode()
    image = f'<image width="8" height="8" href="data:image/jpeg;base64,{inside}"/>'
    assert marks(svg(metadata + image)) == ("dc:rights: CC0", "EXIF Copyright: (c) B. Painter")


def test_marks_are_few_short_and_the_same_each_time() -> None:
    long = "".join(f"<dc:rights>{n} {'x' * 500}\n\u202e</dc:rights>" for n in range(30))
    found = marks(xmp_png(long))
    assert len(found) == MAX_MARKS and found == marks(xmp_png(long))
    assert all(len(mark) <= MAX_MARK_CHARACTERS and mark.isprintable() for mark in found)


def test_statements_without_end_are_not_searched_for_one() -> None:
    refused = read(xmp_png(f"<dc:rights>{'no ' * 100_000}</dc:rights>"))
    assert isinstance(refused, Unusable) and refused.reason == "unreadable rights statement"


def test_what_says_nothing_has_no_marks() -> None:
    assert all(marks(content) == () for content in FILES.values())
    plain = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(plain, "PNG", dpi=(72, 72))
    assert marks(plain.getvalue()) == ()
