"""Finds the rights statements in a picture file: XMP, EXIF, IPTC, PNG texts and an SVG's metadata.

What keeps a file out of training: ``plus:DataMining`` with a DMI-PROHIBITED value (PLUS; IPTC Photo Metadata 2023.1),
``tdm:reservation`` 1 (W3C TDM Reservation Protocol), and noai, noimageai or plain words to that effect in a rights
statement. Pillow finds the blocks and defusedxml parses them: both are kept, and permissive. Exiv2's bindings find more
places, but are GPL and parse hostile files in C++ inside this process.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import IptcImagePlugin, JpegImagePlugin
from PIL.ImageFile import ImageFile

from data.credentials import Claims

MAX_MARKS = 16
MAX_MARK_CHARACTERS = 200
MAX_XMP_BYTES = 4_000_000
MAX_STATED_CHARACTERS = 50_000  # of all that one block states; who writes more hides something

# Namespaces as they are compared: no scheme, no trailing sign, lower case.
_PLUS, _TDM = "ns.useplus.org/ldf/xmp/1.0", "www.w3.org/ns/tdmrep"
_RIGHTS = {
    ("purl.org/dc/elements/1.1", "rights"): "dc:rights",
    ("purl.org/dc/elements/1.1", "creator"): "dc:creator",
    ("ns.adobe.com/xap/1.0/rights", "UsageTerms"): "xmpRights:UsageTerms",
    ("ns.adobe.com/xap/1.0/rights", "WebStatement"): "xmpRights:WebStatement",
    ("ns.adobe.com/photoshop/1.0", "Instructions"): "photoshop:Instructions",
    ("ns.adobe.com/photoshop/1.0", "Credit"): "photoshop:Credit",
    ("creativecommons.org/ns", "license"): "cc:license",
    ("web.resource.org/cc", "license"): "cc:license",
    ("iptc.org/std/iptc4xmpext/2008-02-29", "DigitalSourceType"): "Iptc4xmpExt:DigitalSourceType",
    ("purl.org/dc/terms", "provenance"): "dcterms:provenance",
    (_PLUS, "DataMining"): "plus:DataMining",
    (_PLUS, "OtherConstraints"): "plus:OtherConstraints",
    (_TDM, "reservation"): "tdm:reservation",
    (_TDM, "policy"): "tdm:policy",
}
_PLAIN = {("purl.org/dc/elements/1.1", "subject"): "dc:subject"}  # keywords: looked through, not recorded
_RDF_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
_EXIF = {0x8298: "EXIF Copyright", 0x013B: "EXIF Artist"}
_IPTC = {(2, 116): "IPTC CopyrightNotice", (2, 80): "IPTC By-line", (2, 40): "IPTC Instructions"}
_PNG_TEXTS = ("Copyright", "License", "Licence", "Author", "Disclaimer", "robots")
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\x00"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\x00"
_EXTENSION_HEADER_BYTES = len(_XMP_EXTENSION) + 32 + 4 + 4  # GUID, full length, offset
_SPOKEN = re.compile(
    r"(?i:\bno[-_]?(?:image[-_]?)?ai\b)|\b(?:No|NO|no)[- ]AI\b"
    r"|(?i:\b(?:no|not|without|prohibit\w*|forbid\w*|reserve[ds]?|reservation)\b[^.;]{0,80}?\b"
    r"(?:(?:ai|ml|model|generative)[- ]training|train(?:ing)? (?:of )?(?:\w+ )?(?:ai|models?|datasets?)"
    r"|artificial intelligence|machine[- ]learning|data[- ]mining|tdm)\b)"
)


def picture_claims(picture: ImageFile) -> Claims:
    """Return what a decoded picture's metadata say; ``picture`` is as Pillow opened it, loaded."""
    total = Claims()
    for packet in _packets(picture):
        total += _xmp_claims(packet)
    return total + _judged([*_exif(picture), *_iptc(picture), *_png_texts(picture)])


def svg_claims(root: Element) -> Claims:
    """Return what an SVG document's metadata say."""
    return _judged(_properties(root))


def _xmp_claims(packet: bytes) -> Claims:
    if len(packet) > MAX_XMP_BYTES:
        return Claims(fault=f"XMP of {len(packet):,} bytes; at most {MAX_XMP_BYTES:,} are read")
    try:
        return _judged(_properties(fromstring(packet.strip(b"\x00 \t\r\n"), forbid_dtd=True)))
    except (ParseError, ValueError, LookupError, DefusedXmlException) as error:
        kind = "declares entities" if isinstance(error, DefusedXmlException) else "is not well-formed"
        return Claims(fault=f"XMP {kind}")


def _properties(root: Element) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each property that is looked at; a value is an attribute, a text or a list."""
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        if name := _known(element.tag):
            yield name, " ".join(element.itertext()).strip() or element.get(_RDF_RESOURCE, "")
        for attribute, value in element.attrib.items():
            if name := _known(attribute):
                yield name, value


def _known(qualified: str) -> str | None:
    namespace, _, local = qualified.rpartition("}")
    plain = re.sub(r"^\{https?://", "", namespace).rstrip("/#").lower()
    return _RIGHTS.get((plain, local)) or _PLAIN.get((plain, local))


def _judged(statements: Iterable[tuple[str, str]]) -> Claims:
    marks: list[str] = []
    opt_out, stated = None, 0
    for name, value in statements:
        stated += len(value)
        if stated > MAX_STATED_CHARACTERS:
            return Claims(
                tuple(marks[:MAX_MARKS]), opt_out, f"rights statements of over {MAX_STATED_CHARACTERS:,} signs"
            )
        text = _clean(value)
        if not text:
            continue
        statement = f"{name}: {text}"[:MAX_MARK_CHARACTERS]
        forbidden = _forbids(name, text)
        if forbidden or name not in _PLAIN.values():
            marks.append(statement)
        if forbidden:
            opt_out = opt_out or statement
    return Claims(tuple(dict.fromkeys(marks))[:MAX_MARKS], opt_out)


def _forbids(name: str, text: str) -> bool:
    if name == "plus:DataMining":
        return text.rsplit("/", 1)[-1].upper().startswith("DMI-PROHIBITED")
    if name == "tdm:reservation":
        return text.lower() in ("1", "true", "yes")
    return _SPOKEN.search(text) is not None


def _clean(value: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())


def _packets(picture: ImageFile) -> Iterator[bytes]:
    """Yield each XMP packet: a JPEG may hold several and one in pieces, a PNG one in ImageMagick's own form."""
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        segments = [segment for name, segment in picture.applist if name == "APP1"]
        yield from (s[len(_XMP_SEGMENT) :] for s in segments if s.startswith(_XMP_SEGMENT))
        if extended := b"".join(s[_EXTENSION_HEADER_BYTES:] for s in segments if s.startswith(_XMP_EXTENSION)):
            yield extended
        return
    if packet := picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp"):
        yield packet if isinstance(packet, bytes) else str(packet).encode()
    if raw := picture.info.get("Raw profile type xmp"):
        hexadecimal = re.sub(r"[^0-9a-fA-F]", "", "".join(str(raw).split("\n")[3:]))
        yield bytes.fromhex(hexadecimal[: len(hexadecimal) // 2 * 2])


def _exif(picture: ImageFile) -> Iterator[tuple[str, str]]:
    exif = picture.getexif()
    for tag, name in _EXIF.items():
        yield name, str(exif.get(tag, ""))


def _iptc(picture: ImageFile) -> Iterator[tuple[str, str]]:
    try:
        found = IptcImagePlugin.getiptcinfo(picture) or {}
    except (SyntaxError, ValueError, struct.error, OSError):
        return
    for tag, name in _IPTC.items():
        values = found.get(tag, b"")
        for value in values if isinstance(values, list) else [values]:
            yield name, value.decode("utf-8", "replace")


def _png_texts(picture: ImageFile) -> Iterator[tuple[str, str]]:
    for key in _PNG_TEXTS:
        if isinstance(text := picture.info.get(key), str):
            yield f"PNG {key}", text
