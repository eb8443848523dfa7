"""Files that must not become samples, each with the reason that it must be refused for, and sound neighbours.

Everything is made on the spot; nothing is taken from elsewhere.
"""

from __future__ import annotations

import gzip
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.data.makers import (
    DMI,
    JPEG,
    PNG,
    RECT,
    SCATTERED,
    WEBP,
    XMP,
    animation,
    blobs,
    chunk,
    copyright_jpeg,
    damaged_credentials,
    entity,
    filtered,
    grey16,
    grey_profile,
    holding,
    huge_tile,
    jpeg_sized,
    lab_tiff,
    laughs,
    many_scans,
    markers,
    oriented,
    p3_profile,
    patterns,
    png_header,
    reuse,
    rule_of_many,
    saved,
    srgb_profile,
    svg,
    text_chunk,
    text_png,
    webp_sized,
    with_chunk,
    xmp_packet,
    xmp_png,
    zipped,
)
from tests.data.signing import signed


@dataclass(frozen=True)
class Hostile:
    """A file and why it is refused; ``detail`` is a part of what is told. ``make`` writes it where bytes do not do."""

    name: str
    content: bytes | Callable[[Path], None]
    reason: str
    detail: str = ""

    def write(self, folder: Path) -> Path:
        """Make the file in a folder and return it."""
        file = folder / self.name
        if callable(self.content):
            self.content(file)
        else:
            file.write_bytes(self.content)
        return file


def folder_at(file: Path) -> None:
    """Make a folder."""
    file.mkdir()


def link_to(target: str | Path) -> Callable[[Path], None]:
    """Return what makes a symbolic link."""
    return lambda file: file.symlink_to(target)


def pipe_at(file: Path) -> None:
    """Make a named pipe, which a careless reader waits for without end."""
    os.mkfifo(file)


def socket_at(file: Path) -> None:
    """Make a socket; its own path must be short."""
    here = Path.cwd()
    os.chdir(file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    finally:
        os.chdir(here)


def closed_at(file: Path) -> None:
    """Make a file that may not be read, by whoever is not the superuser."""
    file.write_bytes(PNG)
    file.chmod(0)


KINDS: dict[str, list[tuple[str, bytes, str]]] = {
    "broken picture": [
        ("empty.png", b"", "empty"),
        ("words.png", b"hello, world", "no picture"),
        ("program.png", b"\x7fELF" + bytes(200), "no picture"),
        ("cut-in-signature.png", PNG[:6], "no picture"),
        ("cut-in-header.png", PNG[:20], "cut short"),
        ("cut-in-data.png", PNG[: len(PNG) // 2], "cut short"),
        ("cut-before-end.png", PNG[:-12], "cut short"),
        ("header-checksum.png", PNG[:29] + b"\0\0\0\0" + PNG[33:], "wrong checksum"),
        ("data-checksum.png", SCATTERED, "wrong checksum"),
        ("data-not-packed.png", png_header(64, 64, b"x" * 99), ""),
        ("data-missing.png", png_header(64, 64), ""),
        ("no-size.png", png_header(0, 64), ""),
        ("negative-chunk.png", PNG[:33] + b"\xff\xff\xff\xff" + PNG[37:], "cut short"),
        ("many-chunks.png", PNG[:33] + chunk(b"teXt", b"") * 100_001 + PNG[33:], "chunks"),
        ("cut-in-data.jpg", JPEG[: len(JPEG) // 2], "cut short"),
        ("cut-before-end.jpg", JPEG[:-2], "cut short"),
        ("only-a-start.jpg", b"\xff\xd8\xff\xd9", ""),
        ("many-scans.jpg", many_scans(), "scans"),
        ("orientation.jpg", oriented(99), "orientation 99"),
        ("cut-in-data.webp", WEBP[: len(WEBP) // 2], "cut short"),
        ("canvas-lies.webp", webp_sized(64, 66), ""),
        ("unpacks.png", text_chunk(b"zTXt", 40), "too large"),
        ("unpacks-text.png", text_chunk(b"iTXt", 40), "too large"),
        ("unpacks-profile.png", text_chunk(b"iCCP", 40), "too large"),
    ],
    "picture too large": [
        ("bomb.png", saved(Image.new("1", (8000, 8000))), "8000x8000"),
        ("header-65535.png", png_header(65535, 65535), ""),
        ("header-2-31.png", png_header(2**31 - 1, 2**31 - 1), ""),
        ("header-65500.jpg", jpeg_sized(65500, 65500), ""),
        ("canvas-16383.webp", webp_sized(16383, 16383), ""),
    ],
    "picture too small": [
        ("one-pixel.png", saved(blobs(1).resize((1, 1))), ""),
        ("small.webp", saved(blobs(1).resize((31, 64)), "WEBP"), ""),
    ],
    "picture too narrow": [
        ("ribbon.png", saved(blobs(1).resize((1200, 40))), ""),
        ("line.svg", svg(RECT).replace(b"0 0 8 8", b"0 0 800 1"), ""),
    ],
    "animated picture": [
        ("moving.png", animation("PNG"), "2 frames"),
        ("moving.webp", animation("WEBP"), "2 frames"),
    ],
    "empty picture": [
        ("invisible.png", saved(Image.new("RGBA", (64, 64), (200, 30, 30, 0))), ""),
        ("nothing.svg", svg("<g/>"), ""),
    ],
    "mislabelled file": [
        ("jpeg.png", JPEG, "JPEG"),
        ("webp.jpg", WEBP, "WEBP"),
        ("drawing.png", svg(RECT), "SVG"),
        ("picture.svg", PNG, "PNG"),
    ],
    "unsupported format": [
        ("moving-gif.png", animation("GIF"), "GIF"),
        ("lab-tiff.png", lab_tiff(), "TIFF"),
        ("tiff-header.jpg", b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 256, 4, 1, 2**31), "TIFF"),
        ("bitmap.png", saved(blobs(1), "BMP"), "BMP"),
        ("icon.png", saved(blobs(1), "ICO"), "icon"),
        ("jpeg-2000.jpg", saved(blobs(1), "JPEG2000"), "JPEG 2000"),
        ("avif.png", saved(blobs(1), "AVIF"), "AVIF"),
        ("heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "HEIC"),
        ("photoshop.png", b"8BPS\0\1" + bytes(64), "Photoshop"),
        ("document.png", b"%PDF-1.7\n" + bytes(64), "PDF"),
        ("postscript.svg", b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        ("archive.png", zipped(), "zip"),
        ("packed.svg", gzip.compress(svg(RECT)), "gzip"),
        ("utf-16.svg", svg(RECT).decode().encode("utf-16"), "UTF-16"),
        ("utf-16-unmarked.svg", svg(RECT).decode().encode("utf-16-be"), "UTF-16"),
    ],
    "polyglot file": [
        ("and-archive.png", PNG + zipped(), "zip"),
        ("and-archive.jpg", JPEG + zipped(), "zip"),
        ("and-more.png", PNG + b"#!/bin/sh\nexit\n", "follow the end"),
        ("and-more.webp", WEBP + b"MZ" * 40, "follow the end"),
        ("and-page.png", text_png("Comment", "<script>alert(1)</script>"), "<script"),
        ("and-program.jpg", saved(blobs(2), "JPEG", comment=b"<?php system($_GET[0]); ?>"), "<?php"),
        ("and-document.jpg", saved(blobs(2), "JPEG", comment=b"%PDF-1.4\n"), "PDF"),
    ],
    "broken colour profile": [
        ("profile-noise.png", saved(blobs(1), icc_profile=b"not a profile" * 20), ""),
        ("profile-cut.jpg", saved(blobs(2), "JPEG", icc_profile=srgb_profile()[:300]), ""),
        ("profile-not-packed.png", with_chunk(PNG, b"iCCP", b"Profile\0\0" + b"x" * 50), "unpacked"),
        ("profile-for-grey.jpg", saved(blobs(2), "JPEG", icc_profile=grey_profile()), ""),
        ("profile-for-rgb.jpg", saved(blobs(2).convert("CMYK"), "JPEG", icc_profile=srgb_profile()), "CMYK"),
    ],
    "opt-out in the file": [
        ("c2pa.png", signed(PNG, "image/png", {"cawg.ai_generative_training": "notAllowed"}), "notAllowed"),
        (
            "c2pa.jpg",
            signed(JPEG, "image/jpeg", {"c2pa.ai_training": "constrained"}, "c2pa.training-mining"),
            "constrained",
        ),
        ("c2pa.webp", signed(WEBP, "image/webp", {"cawg.data_mining": "notAllowed"}), "data_mining"),
        ("c2pa.svg", signed(svg(RECT), "image/svg+xml", {"cawg.ai_training": "notAllowed"}), "ai_training"),
        (
            "iptc-data-mining.png",
            xmp_png(f"<plus:DataMining>{DMI}PROHIBITED-GENAIMLTRAINING</plus:DataMining>"),
            "GENAIML",
        ),
        ("tdm.png", xmp_png("<tdm:reservation>1</tdm:reservation>"), "tdm:reservation: 1"),
        (
            "noai.jpg",
            saved(blobs(2), "JPEG", xmp=XMP.format("<dc:rights>noai, noimageai</dc:rights>").encode()),
            "noai",
        ),
        ("noai-text.png", text_png("robots", "noimageai"), "noimageai"),
        ("notice.jpg", copyright_jpeg("(c) A. Drawer. May not be used for AI training."), "EXIF Copyright"),
        ("metadata.svg", svg(f'<metadata xmlns:t="http://www.w3.org/ns/tdmrep/" t:reservation="1"/>{RECT}'), "tdm"),
        ("inside.svg", holding(xmp_png("<tdm:reservation>1</tdm:reservation>")), "tdm"),
    ],
    "unreadable rights statement": [
        ("c2pa-damaged.png", damaged_credentials(), "Content Credentials"),
        ("xmp-broken.png", xmp_packet("<x:xmpmeta"), "XMP"),
        ("xmp-laughs.png", xmp_packet(f"<!DOCTYPE x [{laughs()}]><x>&l9;</x>"), "entities"),
    ],
    "unsafe or broken SVG": [
        ("script.svg", svg(f"<script>1</script>{RECT}"), "<script>"),
        ("handler.svg", svg('<rect onload="x()" width="8" height="8"/>'), "onload="),
        ("script-link.svg", svg(f'<a xlink:href="javascript:x()">{RECT}</a>'), "refers outside"),
        ("foreign-object.svg", svg(f"<foreignObject><p/></foreignObject>{RECT}"), "<foreignobject>"),
        ("outside-file.svg", svg('<image href="file:///etc/passwd" width="8" height="8"/>'), "outside"),
        ("outside-page.svg", svg('<use xlink:href="http://example.org/a.svg#b"/>'), "outside"),
        ("outside-import.svg", svg(f"<style>@import 'http://example.org/a';</style>{RECT}"), "outside"),
        ("outside-fill.svg", svg('<rect style="fill:url(http://a.b/c)" width="8" height="8"/>'), "outside"),
        ("outside-font.svg", svg(f"<style>@font-face{{src:url(#f)}}</style>{RECT}"), "outside"),
        ("outside-sheet.svg", b'<?xml-stylesheet href="http://a.b/c"?>' + svg(RECT), "style sheet"),
        ("escaped-style.svg", svg('<rect style="fill:u\\72l(http://a.b)" width="8" height="8"/>'), "outside"),
        ("entity.svg", entity('<!ENTITY a "b">', "&a;"), "entities"),
        ("entity-file.svg", entity('<!ENTITY a SYSTEM "file:///etc/passwd">', "&a;"), "entities"),
        ("laughs.svg", entity(laughs(), "&l9;"), "entities"),
        ("nesting.svg", svg("<g>" * 500 + RECT + "</g>" * 500), "nests deeper"),
        ("deep-nesting.svg", svg("<g>" * 200_000 + "</g>" * 200_000), "nests deeper"),
        ("reuse.svg", reuse(9, 10), "elements"),
        ("reuse-wide.svg", reuse(3, 3000), "elements"),
        ("reuse-cycle.svg", svg('<g id="a"><use xlink:href="#a"/></g>'), "elements"),
        ("patterns.svg", patterns(styled=False), "elements"),
        ("patterns-by-style.svg", patterns(styled=True), "elements"),
        ("markers.svg", markers(), "elements"),
        ("rules.svg", svg("<style>" + ".a .b{fill:red}" * 9000 + "</style>" + RECT * 900), "style rules"),
        ("rule-of-many.svg", rule_of_many(), "style rules"),
        ("octaves.svg", filtered('<feTurbulence baseFrequency=".1" numOctaves="100000"/>'), "octaves"),
        ("kernel.svg", filtered(f'<feConvolveMatrix order="200" kernelMatrix="{"1 " * 40_000}"/>'), "kernel"),
        ("tile.svg", huge_tile(), "to draw"),
        ("large.svg", svg("<!--" + "x" * 2_000_000 + "-->" + RECT), "bytes"),
        ("zero-bytes.svg", svg(RECT + "\0"), ""),
        ("not-utf-8.svg", svg(RECT).replace(b"<rect", b"<!--\xff--><rect"), "UTF-8"),
        ("page.svg", b"<html><body/></html>", "<html>"),
        ("cut.svg", svg(RECT)[:-10], "well-formed"),
        ("bomb-inside.svg", holding(png_header(30000, 30000)), "too large"),
        ("broken-inside.svg", holding(JPEG[:400], "jpeg"), "broken picture"),
        ("not-base-64.svg", svg('<image href="data:image/png;base64,!!!"/>'), "base 64"),
        ("drawing-inside.svg", svg('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'), "outside"),
    ],
}
FILES = [Hostile(name, content, reason, detail) for reason, kinds in KINDS.items() for name, content, detail in kinds]


# What is no ordinary file. A folder's source tells some of them by other words than one that opens them alone.
ODD_FILES = [
    Hostile("folder.png", folder_at, "not a regular file"),
    Hostile("link-outside.png", link_to("/etc/hostname"), "not a regular file"),
    Hostile("pipe.png", pipe_at, "not a regular file"),
    Hostile("device.png", link_to("/dev/zero"), "not a regular file"),
    Hostile("socket.png", socket_at, "not a regular file"),
    Hostile("link-nowhere.png", link_to("missing.png"), "unreadable file"),
    Hostile("link-loop.png", link_to("link-loop.png"), "unreadable file"),
]
if os.geteuid() != 0:
    ODD_FILES.append(Hostile("closed.png", closed_at, "unreadable file"))

ODD_NAMES = [
    Hostile("new\nline.png", PNG, "unsafe file name"),
    Hostile("bell\a.png", PNG, "unsafe file name"),
    Hostile("turned-\u202egnp.png", PNG, "unsafe file name"),
    Hostile("no-utf-8-\udcff\udcfe.png", PNG, "unsafe file name"),
]


def neighbours() -> dict[str, bytes]:
    """Return sound files of many kinds, by name."""
    blur = '<filter id="f"><feGaussianBlur stdDeviation="1"/></filter>'
    rights = "<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>(c) A. Drawer</rdf:li></rdf:Alt></dc:rights>"
    return {
        "plain.png": saved(blobs(20)),
        "photo.jpg": saved(blobs(21), "JPEG"),
        "PHOTO-2.JPEG": saved(blobs(22), "JPEG", progressive=True),
        "picture.webp": saved(blobs(23), "WEBP"),
        "grey-16.png": saved(grey16()),
        "grey-alpha.png": saved(blobs(24).convert("LA")),
        "palette.png": saved(blobs(25).quantize(8), transparency=0),
        "cmyk.jpg": saved(blobs(26).convert("CMYK"), "JPEG"),
        "profile.png": saved(blobs(27), icc_profile=p3_profile()),
        "turned.jpg": oriented(6),
        "two-views.jpg": saved(blobs(28), "MPO", save_all=True, append_images=[blobs(29)]),
        "allowed.png": signed(saved(blobs(30)), "image/png", {"cawg.ai_training": "allowed"}),
        "credited.png": xmp_png(rights, seed=31),
        "film-behind.jpg": saved(blobs(32), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8,
        "padded.png": saved(blobs(33)) + bytes(64),
        "drawing.svg": svg('<path d="M1 1h5v2H3v4H1z" fill="#a30"/>'),
        "blurred.svg": svg(blur + '<circle cx="3" cy="5" r="2" fill="#06c" filter="url(#f)"/>'),
        "styled.svg": svg("<style>.a{fill:#080}</style>" + '<path class="a" d="M4 0l4 8H0z"/>'),
        "with-picture.svg": holding(saved(blobs(34))),
    }
