"""What a drawing's name says: its subject, its style within the set, the size it was drawn for, a skin tone, a flag.

Legend: ``ph``'s ``acorn-bold`` has subject ``acorn`` and style ``bold``; ``fluent``'s ``acorn-24-filled`` was drawn
for 24 px in style ``filled``; ``hugeicons``' ``comet-02`` is a second drawing of subject ``comet``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# Sets whose metadata does not list the suffixes that their names bear.
STYLE_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "tabler": ("filled",),
    "mdi": ("outline",),
    "carbon": ("filled", "outline"),
    "material-icon-theme": ("light",),
}

# Endings that number further drawings of one subject. They stay out of the subject, so that a second drawing of a
# held-out subject is held out too.
NUMBERED_DRAWINGS: Mapping[str, str] = {
    "hugeicons": r"-0\d",
    "icon-park": r"-(?:one|two|three|four|five|six|seven|eight|nine)",
    "solar": r"-\d",
    "streamline-ultimate-color": r"-\d",
}

# Every set keeps the drawing nearest to this size; healthicons' unmarked 48 px ones are the full drawings.
PREFERRED_PX = 24
PREFERRED_PX_OF_SET: Mapping[str, int] = {"healthicons": 48}

TONES = ("medium-light", "medium-dark", "light", "medium", "dark")
_SKIN_TONE = re.compile(r"(?:^|-)(?:light|medium|dark)-skin-tone(?:-|$)")
_DRAWN_PX = re.compile(r"(?:^|-)(\d+)(?:px)?(?=-|$)")
_FLAG = re.compile(r"flag-(?!in-hole$).+|(?!.*mailbox).+-flags?")

# What a name abbreviates, or cannot spell.
SPELLING: Mapping[str, str] = {
    "oclock": "o'clock",
    "dept": "department",
    "wi fi": "wifi",
    "e mail": "e-mail",
    "t shirt": "t-shirt",
    "x ray": "x-ray",
    "horiz": "horizontal",
    "vert": "vertical",
    "pwid": "people who inject drugs",
}
_SPELT = re.compile(rf"\b(?:{'|'.join(SPELLING)})\b")


@dataclass(frozen=True, kw_only=True)
class Name:
    """A name taken apart. ``drawing`` keeps a number that ``subject`` drops."""

    drawing: str
    subject: str
    style: str | None
    drawn_px: int | None


class Naming:
    """How one set names its drawings: the prefixes and suffixes of its metadata, or the table above."""

    def __init__(self, collection: str, prefixes: Collection[str] = (), suffixes: Collection[str] = ()) -> None:
        longest_first = {"key": len, "reverse": True}
        suffixes = suffixes or STYLE_SUFFIXES.get(collection, ())
        self._suffixes = sorted(filter(None, suffixes), **longest_first)  # type: ignore[call-overload]
        self._prefixes = sorted(filter(None, prefixes), **longest_first)  # type: ignore[call-overload]
        self._numbered = re.compile(f"(?:{NUMBERED_DRAWINGS.get(collection, '(?!)')})$")
        self.preferred_px = PREFERRED_PX_OF_SET.get(collection, PREFERRED_PX)

    def parse(self, name: str) -> Name:
        """Take one name apart; what is left of it is never empty."""
        drawing, mark = self._cut(name)
        size = _DRAWN_PX.search(mark)
        style = _DRAWN_PX.sub("", mark).strip("-")
        return Name(
            drawing=drawing,
            subject=self._numbered.sub("", drawing) or drawing,
            style=style or None,
            drawn_px=int(size.group(1)) if size else None,
        )

    def _cut(self, name: str) -> tuple[str, str]:
        for suffix in self._suffixes:
            if name.endswith(f"-{suffix}") and len(name) > len(suffix) + 1:
                return name[: -len(suffix) - 1], suffix
        for prefix in self._prefixes:
            if name.startswith(f"{prefix}-") and len(name) > len(prefix) + 1:
                return name[len(prefix) + 1 :], prefix
        return name, ""


def has_skin_tone(name: str, names: Collection[str]) -> bool:
    """Return whether the name is a skin-tone variant: says so, or is one of a full row of tones in ``names``.

    ``police-car-light`` is none, as there is no ``police-car-medium``.
    """
    if _SKIN_TONE.search(name):
        return True
    tone = next((tone for tone in TONES if name.endswith(f"-{tone}")), None)
    base = name.removesuffix(f"-{tone}")
    return tone is not None and all(f"{base}-{other}" in names for other in ("light", "medium", "dark"))


def is_flag(name: str, categories: Collection[str], *, emoji: bool) -> bool:
    """Return whether the drawing is a flag of a country, region or movement; UI icons of flags are none."""
    return "Flags" in categories or (emoji and _FLAG.fullmatch(name) is not None)


def words(name: str) -> str:
    """Return the name as a caption says it: ``woman-running`` is "woman running", ``clock12`` "clock 12".

    ``baby-0203m`` is "baby 2 to 3 months", ``ThreeOclock`` "three o'clock".
    """
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    text = text.lower() if text != name else name
    text = re.sub(r"[\s_-]+", " ", text.replace("&", " and ")).strip()
    text = re.sub(r"\b(\d\d)(\d\d)([wmy])\b", _ages, text)
    text = re.sub(r"(?<=[a-z]{3})(?=\d)", " ", text)
    return _SPELT.sub(lambda found: SPELLING[found.group()], text)


def _ages(found: re.Match[str]) -> str:
    unit = {"w": "weeks", "m": "months", "y": "years"}[found.group(3)]
    return f"{int(found.group(1))} to {int(found.group(2))} {unit}"
