"""Counts how much an SVG document would draw once every reference is followed, before any of it is drawn."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any
from xml.etree.ElementTree import Element

MAX_ELEMENTS = 20_000
MAX_DEPTH = 200
MAX_STYLE_MATCHES = 1_000_000  # rules times elements: each rule is held against each element
MAX_OCTAVES = 16
MAX_KERNEL_CELLS = 625

_INSIDE_URL = re.compile(r"url\(\s*['\"]?#([^)'\"]+)", re.IGNORECASE)
_NAMES = re.compile(r"[\w-]+|\*|\[")


def local(name: Any) -> str:
    """Return an XML name without its namespace, in lower case."""
    return str(name).rsplit("}", 1)[-1].lower()


def too_heavy(root: Element) -> str | None:
    """Return why drawing the document would take too long, or None."""
    elements = list(root.iter())
    styles = _Styles("".join("".join(element.itertext()) for element in elements if local(element.tag) == "style"))
    if styles.matches(len(elements)) > MAX_STYLE_MATCHES:
        return f"SVG holds style rules for {len(elements):,} elements over {MAX_STYLE_MATCHES:,} matches"
    if any(_dear_filter(element) for element in elements):
        return f"SVG holds a filter of more than {MAX_OCTAVES} octaves or {MAX_KERNEL_CELLS} kernel cells"
    if weight(root, styles) > MAX_ELEMENTS:
        return f"SVG nests deeper than {MAX_DEPTH} or draws more than {MAX_ELEMENTS:,} elements"
    return None


def _dear_filter(element: Element) -> bool:
    if local(element.tag) == "feturbulence":
        return _largest(element.get("numOctaves", "1")) > MAX_OCTAVES
    if local(element.tag) == "feconvolvematrix":
        return _largest(element.get("order", "3")) ** 2 > MAX_KERNEL_CELLS
    return False


def _largest(numbers: str) -> float:
    found = re.findall(r"[-+]?[\d.]+(?:e[-+]?\d+)?", numbers[:100], re.IGNORECASE)
    return max((float(number) for number in found if number.count(".") < 2 and number not in "+-."), default=0.0)


class _Styles:
    """The references of style sheets: by the names in a rule's selector, the ids that the rule points to."""

    def __init__(self, sheet: str) -> None:
        rules = [rule.rpartition("{") for rule in sheet.split("}")]
        self._targets: defaultdict[str, set[str]] = defaultdict(set)
        self._most, self._pairs = len(rules), 0
        for selector, _, body in rules:
            names, targets = set(_NAMES.findall(selector)), set(_INSIDE_URL.findall(body))
            self._pairs += len(names) * len(targets)
            if self._pairs > MAX_STYLE_MATCHES:
                return
            for name in names:
                self._targets[name] |= targets
                self._most = max(self._most, len(self._targets[name]))

    def matches(self, elements: int) -> int:
        """Return how often a rule or an id is held against an element, or a name leads to an id."""
        return max(self._pairs, self._most * elements)

    def referred(self, element: Element) -> set[str]:
        """Return the ids that may be meant for an element; rather one too many than one too few."""
        if not self._targets:
            return set()
        names = {local(element.tag), element.get("id", ""), "*", "[", *element.get("class", "").split()}
        return set().union(*(self._targets.get(name, ()) for name in names))


_NO_STYLES = _Styles("")


def weight(root: Element, styles: _Styles = _NO_STYLES) -> int:
    """Return how many elements are drawn with every reference followed; too deep and cycles count as too many.

    Every reference counts as a copy of what it refers to: a <use>, and a pattern, mask, clip or filter by url(#id);
    a marker as one for each point of its path.
    """
    by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
    weights: dict[int, int] = {}

    def weigh(element: Element, depth: int) -> int:
        if depth > MAX_DEPTH:
            return MAX_ELEMENTS + 1
        known = weights.get(id(element))
        if known is not None:
            return known
        weights[id(element)] = MAX_ELEMENTS + 1  # stands while its own tree is counted, so that a cycle meets it
        total = 1 + sum(weigh(child, depth + 1) for child in element)
        by_style = ((name, _points(element)) for name in sorted(styles.referred(element)))
        for name, copies in chain(_referred(element), by_style):
            target = by_id.get(name)
            if target is not None:
                total += weigh(target, depth + 1) * (copies if local(target.tag) == "marker" else 1)
        weights[id(element)] = min(total, MAX_ELEMENTS + 1)
        return weights[id(element)]

    return weigh(root, 0)


def _referred(element: Element) -> Iterator[tuple[str, int]]:
    for name, value in element.attrib.items():
        if local(name) == "href" and value.strip().startswith("#"):
            yield value.strip()[1:], 1
        elif "url(" in value.lower():
            for target in _INSIDE_URL.findall(value):
                yield target, _points(element)


def _points(element: Element) -> int:
    """Return an upper bound of a path's points."""
    return 1 + len(element.get("d", "") + element.get("points", "")) // 2
