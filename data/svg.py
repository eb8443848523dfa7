"""Makes SVG documents from icon bodies, and refuses documents that reach outside themselves or explode."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from data.svg_weight import local, too_heavy

MAX_SVG_BYTES = 2_000_000

_OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_FORBIDDEN_TAGS = frozenset(
    ("script", "foreignobject", "iframe", "object", "embed", "handler", "listener", "audio", "video", "font-face")
)
_LINKS = ("href", "src", "base")
_OUTSIDE_URL = re.compile(r"url\(\s*['\"]?\s*(?!#|['\"]?#)", re.IGNORECASE)
_IMPORT = re.compile(r"@import|@font-face|image-set\s*\(|expression\s*\(|javascript:", re.IGNORECASE)
_DATA_PICTURE = re.compile(r"data:image/(?:png|jpeg|jpg|webp);base64,", re.IGNORECASE)


def icon_svg(icon: Mapping[str, Any], defaults: Mapping[str, Any]) -> bytes:
    """Return the square SVG document of one Iconify drawing, in black where it leaves the colour open.

    ``defaults`` holds the set's sizes. The drawing stays centred and clipped to its own box.
    """
    left, top = (icon.get(side, defaults.get(side, 0)) for side in ("left", "top"))
    width, height = (icon.get(side, defaults.get(side, 16)) for side in ("width", "height"))
    body = _turned(icon, left, top, width, height)
    if icon.get("rotate", 0) % 2:
        left, top = left + (width - height) / 2, top + (height - width) / 2
        width, height = height, width
    side = max(width, height)
    x, y = left - (side - width) / 2, top - (side - height) / 2
    if width != height:
        body = (
            f'<svg x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" '
            f'viewBox="{left:g} {top:g} {width:g} {height:g}">{body}</svg>'
        )
    return f'{_OPEN} viewBox="{x:g} {y:g} {side:g} {side:g}" color="#000">{body}</svg>'.encode()


def _turned(icon: Mapping[str, Any], left: float, top: float, width: float, height: float) -> str:
    """Return the body with Iconify's flips, then its quarter turns clockwise, about the middle of its box."""
    middle_x, middle_y = left + width / 2, top + height / 2
    steps = []
    if quarter_turns := icon.get("rotate", 0) % 4:
        steps.append(f"rotate({90 * quarter_turns} {middle_x:g} {middle_y:g})")
    if icon.get("hFlip"):
        steps.append(f"translate({2 * middle_x:g} 0) scale(-1 1)")
    if icon.get("vFlip"):
        steps.append(f"translate(0 {2 * middle_y:g}) scale(1 -1)")
    return f'<g transform="{" ".join(steps)}">{icon["body"]}</g>' if steps else str(icon["body"])


def svg_danger(document: bytes) -> str | None:
    """Return why an SVG document must not be drawn, or None."""
    parsed = safe_svg(document)
    return parsed if isinstance(parsed, str) else None


def safe_svg(document: bytes) -> tuple[str, ElementTree.Element] | str:
    """Return an SVG document's text and tree, or why it must not be drawn.

    It must not if it is broken, active, reaches outside itself, or explodes. The text is UTF-8 whatever the document
    declares, so that every reader after this one sees the same.
    """
    if len(document) > MAX_SVG_BYTES:
        return f"SVG of {len(document):,} bytes; at most {MAX_SVG_BYTES:,} are read"
    if re.search(rb"<!(?:DOCTYPE|ENTITY)|<\?xml-stylesheet", document, re.IGNORECASE) or b"\x00" in document:
        return "SVG declares a document type, entities or an outside style sheet"
    try:
        text = document.decode("utf-8-sig")
        root = ElementTree.fromstring(text)
    except UnicodeDecodeError:
        return "SVG is not UTF-8 text"
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return f"SVG is not well-formed ({error})"
    if local(root.tag) != "svg":
        return f"not an SVG document but <{local(root.tag)[:40]}>"
    return _dangerous_element(root) or too_heavy(root) or (text, root)


def embedded_pictures(root: ElementTree.Element) -> Iterator[bytes]:
    """Yield the picture files inside a safe document.

    Raises:
        ValueError: one is not in base 64.
    """
    for element in root.iter():
        for name, value in element.attrib.items():
            if local(name) in _LINKS and (found := _DATA_PICTURE.match(value.strip())):
                yield b64decode("".join(value.strip()[found.end() :].split()), validate=True)


def _dangerous_element(root: ElementTree.Element) -> str | None:
    for element in root.iter():
        tag = local(element.tag)
        if tag in _FORBIDDEN_TAGS:
            return f"SVG holds active content <{tag}>"
        if tag == "style" and (outside := _outside_style("".join(element.itertext()))):
            return outside
        for name, value in element.attrib.items():
            if danger := _dangerous_attribute(local(name), value.strip()):
                return danger
    return None


def _dangerous_attribute(name: str, value: str) -> str | None:
    if name.startswith("on"):
        return f"SVG holds active content ({name}=)"
    if name in _LINKS and value and not value.startswith("#") and not _DATA_PICTURE.match(value):
        return f"SVG refers outside itself ({value[:40]!r})"
    return _outside_style(value)


def _outside_style(text: str) -> str | None:
    if "\\" in text or _OUTSIDE_URL.search(text) or _IMPORT.search(text):
        return f"SVG style refers outside itself ({text.strip()[:40]!r})"
    return None
