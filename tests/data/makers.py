"""Makes small picture files, sound and otherwise, from a few lines each."""

from __future__ import annotations

import base64
import io
import random
import struct
import zipfile
import zlib
from typing import Any

from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tests.data.signing import signed

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 8 8">{}</svg>'
RECT = '<rect width="8" height="8"/>'
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:tdm="http://www.w3.org/ns/tdmrep/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">{}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
NEXT_TO_NOTHING = zlib.compress(b"\0")
DMI = "http://ns.useplus.org/ldf/vocab/DMI-"


def blobs(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """Return a picture of a few shapes, unlike that of any other seed."""
    rng = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    picture = Image.new("RGB", (width, height), colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        left, top = rng.randrange(width - 12), rng.randrange(height - 12)
        box = (left, top, left + rng.randrange(8, 40), top + rng.randrange(8, 40))
        rng.choice((draw.ellipse, draw.rectangle))(box, fill=colour())
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def svg(body: str) -> bytes:
    """Return an SVG document of 8 by 8 units."""
    return SVG.format(body).encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """Return a PNG with one more chunk behind its header."""
    return png[:33] + chunk(kind, data) + png[33:]


def png_header(width: int, height: int, data: bytes = NEXT_TO_NOTHING) -> bytes:
    """Return a PNG that declares a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_sized(width: int, height: int) -> bytes:
    """Return a JPEG whose frame header lies about its size."""
    jpeg = JPEG
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def many_scans() -> bytes:
    """Return a progressive JPEG that repeats a scan a hundred times."""
    jpeg = saved(blobs(3), "JPEG", progressive=True)
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * 100 + jpeg[-2:]


def webp_sized(width: int, height: int) -> bytes:
    """Return an extended WebP whose canvas is far larger than its picture."""
    simple = saved(blobs(4), "WEBP", lossless=True)[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body = b"WEBP" + canvas + (height - 1).to_bytes(3, "little") + simple
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(kind: str) -> bytes:
    """Return a moving picture."""
    return saved(blobs(5), kind, save_all=True, append_images=[blobs(6)], duration=100)


def text_chunk(kind: bytes, megabytes: int) -> bytes:
    """Return a PNG with a text or profile that unpacks to many megabytes."""
    packed = zlib.compress(bytes(megabytes << 20), 9)
    head = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"Profile\0\0"}[kind]
    return with_chunk(PNG, kind, head + packed)


def zipped() -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("run.js", "1")
    return buffer.getvalue()


def lab_tiff() -> bytes:
    """Return a TIFF in CIE L*a*b*."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(blobs(7), to_lab)
    assert lab is not None
    return saved(lab, "TIFF")


def srgb_profile() -> bytes:
    """Return an RGB colour profile."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def grey_profile() -> bytes:
    """Return the RGB profile, relabelled as one for grey."""
    profile = srgb_profile()
    return profile[:16] + b"GRAY" + profile[20:]


def oriented(value: int) -> bytes:
    """Return a JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(blobs(8, 80, 48), "JPEG", exif=exif.tobytes())


def xmp_png(properties: str, seed: int = 9) -> bytes:
    """Return a PNG with XMP."""
    return xmp_packet(XMP.format(properties), seed)


def xmp_packet(packet: str, seed: int = 9) -> bytes:
    """Return a PNG with an XMP packet as it is."""
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    return saved(blobs(seed), pnginfo=info)


def text_png(key: str, value: str) -> bytes:
    """Return a PNG with a text."""
    info = PngInfo()
    info.add_text(key, value)
    return saved(blobs(10), pnginfo=info)


def copyright_jpeg(notice: str, seed: int = 11) -> bytes:
    """Return a JPEG with an EXIF copyright notice."""
    exif = Image.Exif()
    exif[0x8298] = notice
    return saved(blobs(seed), "JPEG", exif=exif.tobytes())


def damaged_credentials() -> bytes:
    """Return a signed PNG whose manifest is overwritten in the middle."""
    content = signed(PNG, "image/png", {"cawg.ai_training": "allowed"})
    at = content.index(b"caBX")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    data = content[at + 4 : at + 4 + length]
    data = data[:40] + b"\xff" * 200 + data[240:]
    return content[: at - 4] + chunk(b"caBX", data) + content[at + 8 + length :]


def reuse(levels: int, each: int) -> bytes:
    """Return uses of uses of uses: a hundred million rectangles in a kilobyte."""
    groups = [f'<g id="l0">{RECT}</g>']
    groups += [f'<g id="l{n}">' + f'<use xlink:href="#l{n - 1}"/>' * each + "</g>" for n in range(1, levels)]
    return svg("".join(groups))


def patterns(*, styled: bool) -> bytes:
    """Return patterns filled with patterns, ten at a time, by attribute or by style sheet."""
    fill = 'class="f{}"' if styled else 'fill="url(#p{})"'
    filled = f'<rect width="8" height="8" {fill}/>'
    rules = "".join(f".f{n}{{fill:url(#p{n})}}" for n in range(9))
    levels = [f'<pattern id="p{n}" width="1" height="1">{filled.format(n + 1) * 10}</pattern>' for n in range(8)]
    last = f'<pattern id="p8" width="1" height="1">{RECT}</pattern>'
    return svg((f"<style>{rules}</style>" if styled else "") + "".join(levels) + last + filled.format(0))


def markers() -> bytes:
    """Return a path that puts fifty rectangles on each of three thousand points."""
    path = f'<path marker-mid="url(#m)" d="M0 0{"h1" * 3000}"/>'
    return svg(f'<marker id="m">{RECT * 50}</marker>{path}')


def huge_tile() -> bytes:
    """Return a pattern whose one tile has more pixels than any memory."""
    tile = f'<pattern id="p" width="1e7" height="1e7" patternUnits="userSpaceOnUse">{RECT}</pattern>'
    return svg(tile + '<rect fill="url(#p)" width="8" height="8"/>')


def rule_of_many() -> bytes:
    """Return one style rule that points every element to thousands of patterns."""
    fills = "".join(f"fill:url(#p{n});" for n in range(9000))
    return svg(f"<style>*{{{fills}}}</style>{RECT * 900}")


def filtered(primitive: str) -> bytes:
    """Return a rectangle with a filter."""
    return svg(f'<filter id="f">{primitive}</filter><rect width="8" height="8" filter="url(#f)"/>')


def holding(content: bytes, kind: str = "png") -> bytes:
    """Return an SVG with a picture inside."""
    data = base64.b64encode(content).decode()
    return svg(f'<image width="8" height="8" xlink:href="data:image/{kind};base64,{data}"/>')


def entity(declaration: str, used: str = "") -> bytes:
    """Return an SVG with a document type."""
    return f"<!DOCTYPE svg [{declaration}]>".encode() + svg(RECT + f"<text>{used}</text>")


def laughs() -> str:
    """Return entities of entities: three billion words in a kilobyte."""
    first = '<!ENTITY l0 "ha">'
    return first + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def p3_profile() -> bytes:
    """Return a profile whose red is not that of sRGB: sRGB's own with its red and green primaries swapped."""
    profile = srgb_profile()
    tags = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    red, green = (profile[at + 4 : at + 12] for at in tags)
    return profile[: tags[0] + 4] + green + profile[tags[0] + 12 : tags[1] + 4] + red + profile[tags[1] + 12 :]


def grey16() -> Image.Image:
    """Return a picture of 16-bit grey, from black to white."""
    return Image.frombytes("I;16", (64, 64), b"".join(struct.pack("<H", 16 * n) for n in range(64 * 64)))


PNG = saved(blobs(1))
JPEG = saved(blobs(2), "JPEG")
WEBP = saved(blobs(4), "WEBP", lossless=True)
SCATTERED = PNG[:60] + bytes(byte ^ 0x55 for byte in PNG[60:90]) + PNG[90:]
