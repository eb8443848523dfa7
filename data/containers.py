"""Opens files safely, tells what they are by their first bytes, and finds those that are cut, patched or two in one.

Pillow passes over a wrong checksum in a picture's data, a missing end, and whatever follows it: they are found here.
Sources: PNG (W3C, third edition) 5 and 11, JPEG (ITU T.81) annex B, WebP (RFC 9649) 2.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from pathlib import Path

from data.checks import FileChecks, Unusable

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",), "SVG": (".svg",)}
MAX_CHUNKS = 100_000
MAX_SCANS = 64

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Read, or named in a refusal. UTF-16 stands before SVG, whose first bytes it shares.
_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"\xff\xfe|\xfe\xff|<\x00|\x00<"), "UTF-16 text"),
    (re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*<"), "SVG"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"(?:II\*\x00|MM\x00\*|II\+\x00|MM\x00\+)"), "TIFF"),
    (re.compile(rb"BM.{4}\x00\x00\x00\x00", re.DOTALL), "BMP"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"%!PS"), "PostScript"),
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp", re.DOTALL), "HEIC or video"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL"),
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\x00\x00\x01\x00"), "icon"),
    (re.compile(rb"\x1f\x8b"), "gzip (a packed SVG?)"),
    (re.compile(rb"PK\x03\x04"), "zip archive"),
)
_FOREIGN = (b"<?php", b"<script", b"<html")
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_PADDING = b"\x00 \r\n"


def read_file(file: Path, checks: FileChecks) -> bytes | Unusable:
    """Return a regular file's bytes; no link is followed, no pipe waited for, and no more read than is allowed."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if file.is_symlink():
            return Unusable("not a regular file", "a symbolic link; put the picture itself there")
        return Unusable("unreadable file", error.strerror or type(error).__name__)
    try:
        return _read_open(descriptor, checks)
    except OSError as error:
        return Unusable("unreadable file", error.strerror or type(error).__name__)
    finally:
        os.close(descriptor)


def _read_open(descriptor: int, checks: FileChecks) -> bytes | Unusable:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Unusable("not a regular file", "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device")
    with os.fdopen(descriptor, "rb", closefd=False) as opened:
        content = opened.read(checks.max_file_bytes + 1)
    if len(content) > checks.max_file_bytes:
        return Unusable("picture too large", f"over {checks.max_file_bytes:,} bytes")
    return content


def sniff(content: bytes) -> str:
    """Return the name of the format that the first bytes announce, or an empty text."""
    return next((name for pattern, name in _SIGNATURES if pattern.match(content)), "")


def misfit(content: bytes, suffix: str, checks: FileChecks) -> Unusable | None:
    """Return why a file is refused before it is decoded; ``suffix`` is empty where there is no name to hold to."""
    found = sniff(content)
    if not content or not found:
        return Unusable("broken picture", "no picture" if content else "the file is empty")
    if found not in SUFFIXES:
        return Unusable("unsupported format", f"{found}; give PNG, JPEG, WebP or SVG")
    if checks.honest_suffix and suffix and suffix.lower() not in SUFFIXES[found]:
        return Unusable("mislabelled file", f"a {found} picture named {suffix[:10]!r}")
    return None if found == "SVG" else _two_in_one(content) or _FAULTS[found](content)


def _two_in_one(content: bytes) -> Unusable | None:
    """Find what would make the same bytes a page, a program, a document or an archive to another reader."""
    lowered = content.lower()
    if foreign := [sign for sign in _FOREIGN if sign in lowered]:
        return Unusable("polyglot file", f"holds {foreign[0].decode()!r}")
    if b"%PDF-" in content[:1024]:
        return Unusable("polyglot file", "is a PDF document too")
    if b"PK\x05\x06" in content[-65_600:] and b"PK\x01\x02" in content:
        return Unusable("polyglot file", "is a zip archive too")
    return None


def _png_fault(content: bytes) -> Unusable | None:
    at, view = len(_PNG_SIGNATURE), memoryview(content)
    for _ in range(MAX_CHUNKS):
        if len(content) < at + 12:
            return Unusable("broken picture", "PNG is cut short")
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            return Unusable("broken picture", "PNG is cut short")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            return Unusable("broken picture", f"PNG chunk {kind.decode('latin-1')!r} has a wrong checksum")
        if kind == b"IEND":
            return _trailing(content[end:])
        at = end
    return Unusable("broken picture", f"PNG has more than {MAX_CHUNKS:,} chunks")


def _webp_fault(content: bytes) -> Unusable | None:
    end = 8 + int.from_bytes(content[4:8], "little")
    return Unusable("broken picture", "WebP is cut short") if end > len(content) else _trailing(content[end:])


def _jpeg_fault(content: bytes) -> Unusable | None:
    """Walk from marker to marker until the end of the picture; phones keep films behind it, so those are let be."""
    at, scans = 2, 0
    while marker := _JPEG_MARKER.search(content, at):
        kind, at = marker.group(1)[0], marker.end()
        if kind == 0xD9:
            return None
        scans += kind == 0xDA
        if scans > MAX_SCANS:
            return Unusable("broken picture", f"JPEG has more than {MAX_SCANS} scans")
        if kind not in (0x01, 0xD8):
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
    return Unusable("broken picture", "JPEG is cut short")


def _trailing(rest: bytes) -> Unusable | None:
    if rest.strip(_PADDING):
        return Unusable("polyglot file", f"{len(rest):,} bytes follow the end of the picture")
    return None


_FAULTS = {"PNG": _png_fault, "JPEG": _jpeg_fault, "WEBP": _webp_fault}
