"""Makes SVG documents from icon bodies, and refuses documents that reach outside themselves or explode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

MAX_SVG_BYTES = 2_000_000
MAX_ELEMENTS = 100_000
MAX_DEPTH = 200

_OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_FORBIDDEN_TAGS = {"script", "foreignobject", "iframe", "object", "embed", "handler", "listener"}
_OUTSIDE_URL = re.compile(r"url\(\s*['\"]?\s*(?!#|['\"]?#)", re.IGNORECASE)
_INSIDE_URL = re.compile(r"url\(\s*['\"]?#([^)'\"]+)", re.IGNORECASE)
_IMPORT = re.compile(r"@import|expression\s*\(|javascript:", re.IGNORECASE)
_DATA_PICTURE = re.compile(r"data:image/(?:png|jpeg|jpg|webp|gif);", re.IGNORECASE)


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
    """Return why an SVG document must not be drawn, or None: it is broken, active, reaches outside, or explodes."""
    if len(document) > MAX_SVG_BYTES:
        return f"SVG of {len(document):,} bytes; at most {MAX_SVG_BYTES:,} are read"
    if re.search(rb"<!(?:DOCTYPE|ENTITY)|<\?xml-stylesheet", document, re.IGNORECASE) or b"\x00" in document:
        return "SVG declares a document type, entities or an outside style sheet"
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return f"SVG is not well-formed ({error})"
    if _local(root.tag) != "svg":
        return f"not an SVG document but <{_local(root.tag)}>"
    return _dangerous_element(root) or _explosion(root)


def _dangerous_element(root: ElementTree.Element) -> str | None:
    for element in root.iter():
        tag = _local(element.tag)
        if tag in _FORBIDDEN_TAGS:
            return f"SVG holds active content <{tag}>"
        if tag == "style" and (outside := _outside_style("".join(element.itertext()))):
            return outside
        for name, value in element.attrib.items():
            if danger := _dangerous_attribute(_local(name), value.strip()):
                return danger
    return None


def _dangerous_attribute(name: str, value: str) -> str | None:
    if name.startswith("on"):
        return f"SVG holds active content ({name}=)"
    if name in ("href", "src", "base") and value and not value.startswith("#") and not _DATA_PICTURE.match(value):
        return f"SVG refers outside itself ({value[:40]!r})"
    return _outside_style(value)


def _outside_style(text: str) -> str | None:
    if "\\" in text or _OUTSIDE_URL.search(text) or _IMPORT.search(text):
        return f"SVG style refers outside itself ({text.strip()[:40]!r})"
    return None


def _explosion(root: ElementTree.Element) -> str | None:
    """Return a reason when nesting or references would make too many elements; cycles count as too many.

    Every reference counts as a copy of what it refers to: a <use>, and a pattern, mask or clip by url(#id).
    """
    by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
    weights: dict[int, int] = {}

    def weight(element: ElementTree.Element, depth: int) -> int:
        if depth > MAX_DEPTH:
            return MAX_ELEMENTS + 1
        known = weights.get(id(element))
        if known is not None:
            return known
        weights[id(element)] = MAX_ELEMENTS + 1  # stands while its own tree is counted, so that a cycle meets it
        total = 1 + sum(weight(child, depth + 1) for child in element)
        for target in filter(None, map(by_id.get, _referred(element))):
            total += weight(target, depth + 1)
        weights[id(element)] = min(total, MAX_ELEMENTS + 1)
        return weights[id(element)]

    if weight(root, 0) > MAX_ELEMENTS:
        return f"SVG nests deeper than {MAX_DEPTH} or draws more than {MAX_ELEMENTS:,} elements"
    return None


def _referred(element: ElementTree.Element) -> Iterator[str]:
    for name, value in element.attrib.items():
        if _local(name) == "href" and value.strip().startswith("#"):
            yield value.strip()[1:]
        elif "url(" in value:
            yield from _INSIDE_URL.findall(value)


def _local(name: Any) -> str:
    return str(name).rsplit("}", 1)[-1].lower()
