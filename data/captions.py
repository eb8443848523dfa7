"""What is in the picture, said in several ways; never the style it is drawn in.

Legend: a name is as a set writes it, ``heart-filled``; a caption is what a person would type, "heart". A twin of a
name is the same name without a word, in the same set: ``fire`` is the twin of ``fire-fill``, and tells that ``fill``
is a way of drawing there; ``format-color-fill`` has none, and shows a paint bucket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from data.naming import words
from data.record import MAX_CAPTIONS
from data.splits import held_out

# Words that say how a drawing is drawn, or that it is one more drawing of the same.
ALWAYS_STYLE = frozenset(
    ["outline", "outlined", "filled", "duotone", "twotone", "glyph", "alt", "variant", "minimalistic", "minimal"]
)
STYLE_WITH_TWIN = frozenset(["bold", "fill", "solid", "regular", "thin", "linear", "color"])
# There the same words are what is shown: a bold letter, the outline of a text, a line's pattern, chalk on the floor.
SHOWS_STYLE = frozenset(
    ["text", "format", "type", "font", "letter", "chalk", "line", "dashed", "curved", "color", "colour"]
)

# Categories that say nothing of what is seen, or say it badly; the rest of the table is spelling.
SAID_CATEGORY: dict[str, str] = dict.fromkeys(
    [
        "Others",
        "Base",
        "UI",
        "UI Actions",
        "Actions",
        "Android",
        "Operate",
        "Parts",
        "IT",
        "Like",
        "Color",
        "Abstract",
        "Planning",
        "Organization",
        "Enterprise",
        "Components",
        "Character",
        "View",
        "Form",
        "Text",
        "Images",
        "Settings",
        "Vector",
        "Arrange",
        "Notification",
        "Search",
    ],
    "",
) | {"Peoples": "people", "Datas": "data", "Foods": "food", "Makeups": "make-up", "Ppe": "protective equipment"}
SAID_CATEGORY |= {"Emoji": "face", "Alpha / Numeric": "letter or number", "Account / User": "person"}
SAID_CATEGORY |= {"Geographic Information System": "map", "Text / Content / Format": "text formatting"}
SAID_CATEGORY |= {f"Transportation + {way}": f"{way.lower()} transport" for way in ("Road", "Water")}
SAID_CATEGORY |= {"Transportation + Flying": "air transport", "Transportation + Other": "transport"}

# What a last word adds to the drawing before it, where that drawing is in the set too.
ADDED: Mapping[str, str] = {
    **dict.fromkeys(("off", "slash"), "{} crossed out"),
    **dict.fromkeys(("plus", "add"), "{} with a plus sign"),
    **dict.fromkeys(("minus", "remove", "subtract"), "{} with a minus sign"),
    **dict.fromkeys(("check", "checkmark"), "{} with a check mark"),
    **dict.fromkeys(("x", "cancel", "cross", "dismiss"), "{} with a cross"),
    **dict.fromkeys(("alert", "warning", "exclamation"), "{} with an exclamation mark"),
    **dict.fromkeys(("question", "help"), "{} with a question mark"),
    **dict.fromkeys(("settings", "cog", "gear"), "{} with a gear"),
    **dict.fromkeys(("edit", "pen", "pencil"), "{} with a pencil"),
    **{f"arrow-{way}": f"{{}} with an arrow pointing {way}" for way in ("up", "down", "left", "right")},
    **{word: f"{{}} with a {word}" for word in ("heart", "star", "lock", "clock", "sparkle", "key", "person")},
}
_TURNS = (
    (re.compile(r"arrow (up|down|left|right)"), r"arrow pointing \1"),
    (re.compile(r"(?:brand|logo) (.+)|(.+) logo"), r"logo of \1\2"),
)
_FILES = (
    (re.compile(r"folder (.+) open"), r"open folder for \1"),
    (re.compile(r"folder (?!open\b)(.+)"), r"folder for \1"),
    (re.compile(r"(?!folder\b)(.+)"), r"\1 file"),
)
# How a person asks for a drawing that has no other words of its own.  No set names a drawing so, whatever its split.
ASKED_FOR = ("symbol for {}", "sign for {}", "picture of {}")
MISSPELT = 0.9  # two spellings so alike are one word and a slip


@dataclass(frozen=True, kw_only=True)
class IconSetWords:
    """What a whole set tells of each of its names: all its subjects, and what it draws.

    ``things``: its names are nouns, as those of emoji are. ``files``: they are kinds of files and folders.
    """

    subjects: Collection[str] = frozenset()
    things: bool = False
    files: bool = False


class Caption(NamedTuple):
    """One caption and where it comes from: name, alias or category of an icon set; sidecar, table, tag, person."""

    text: str
    source: str


def captions_of(
    subject: str,
    other_names: Iterable[str] = (),
    categories: Iterable[str] = (),
    of_set: IconSetWords = IconSetWords(),
) -> tuple[Caption, ...]:
    """Return two to four captions, no two alike: the name, other names, other words for it, name with category.

    Where there is nothing but the name, the second is how a person asks for it. What another name says is left out
    where that name's own split differs: it would teach a held-out subject by its second name. For the same reason a
    style word stays where the name without it is held out and this one is not, or the other way round.
    """
    names = of_set.subjects
    name = _on_its_side(subject, plain_name(subject, names))
    said = words(name)
    others = [words(_on_its_side(other, plain_name(other, names))) for other in _apart(subject, other_names)]
    ways = [Caption(said, "name")]
    ways += [Caption(other, "alias") for other in others if not _alike(other, said)]
    ways[2:2] = [Caption(text, "name") for text in _in_other_words(name, of_set)]
    placed = [Caption(f"{said}, {category}", "category") for category in _said_categories(categories, said)][:1]
    if len(_distinct([*ways, *placed])) == 1:
        ways.append(Caption(_asked_for(said), "name"))
    return (*_distinct(ways)[: MAX_CAPTIONS - len(placed)], *placed)


def plain_name(name: str, names: Collection[str] = frozenset()) -> str:
    """Return a name without the words that say how it is drawn, and without the number of a second drawing."""
    parts = name.split("-")
    for part in parts:
        rest = [other for other in parts if other != part]
        twin = part in STYLE_WITH_TWIN and part != parts[0] and "-".join(rest) in names
        styled = (part in ALWAYS_STYLE or twin) and not SHOWS_STYLE & set(rest)
        if rest and (styled or (part == "simple" and part != parts[0])):
            return plain_name("-".join(rest), names)
    if len(parts) > 1 and parts[-1] == "icon":
        return plain_name("-".join(parts[:-1]), names)
    if "emoji" in parts:
        return _without_emoji(parts)
    return _without_number(name, names)


def _without_emoji(parts: list[str]) -> str:
    """Return the name of an emoji's icon: a face, unless the name says what else."""
    rest = [part for part in parts if part != "emoji"]
    things = {"objects", "people", "transportation", "nature", "symbols", "hand", "events", "food", "flags", "language"}
    return "-".join(rest if things & set(rest) else [*rest, "face"])


def _without_number(name: str, names: Collection[str]) -> str:
    """Return ``flower-2`` as ``flower`` where that is drawn too; ``dice-2`` beside a ``dice-1`` shows its number."""
    bare, _, number = name.rpartition("-")
    counted = f"{bare}-1" in names or f"{bare}-0" in names
    second = bare in names and re.fullmatch(r"[2-9]", number) is not None
    return bare if second and not counted and not bare.rpartition("-")[2].isdigit() else name


def _on_its_side(name: str, plain: str) -> str:
    return plain if held_out(plain) == held_out(name) else name


def _apart(subject: str, other_names: Iterable[str]) -> Iterator[str]:
    side = held_out(subject)
    for other in other_names:
        whole = re.sub(r"2x$", "", other)  # healthicons lists its larger files as aliases
        if whole == other and held_out(other) == side:
            yield other


def _alike(one: str, other: str) -> bool:
    """Return whether two captions are one with a slip of the pen, as "arow" is "arrow"; other numbers are not."""
    same_numbers = re.findall(r"\d+", one) == re.findall(r"\d+", other)
    squeezed = one.replace(" ", "") == other.replace(" ", "")
    return squeezed or (same_numbers and SequenceMatcher(None, one, other).ratio() > MISSPELT)


def _in_other_words(name: str, of_set: IconSetWords) -> Iterator[str]:
    said = words(name)
    for ending, way in ADDED.items():
        head = name.removesuffix(f"-{ending}")
        if head != name and head in of_set.subjects and head not in ADDED and not of_set.things:
            yield way.format(words(head))
            return
    for pattern, text in (*_TURNS, *(_FILES if of_set.files else ())):
        if pattern.fullmatch(said):
            yield pattern.sub(text, said)
            return
    if of_set.things and re.fullmatch(r"(?!.*(?:[^s]s|ing)$)[a-z -]+", said):
        yield f"an {said}" if said[0] in "aeiou" else f"a {said}"


def _asked_for(said: str) -> str:
    """Return one of the ways of asking, by a digest of what is asked for: all of them are learnt."""
    return ASKED_FOR[hashlib.sha256(said.encode()).digest()[0] % len(ASKED_FOR)].format(said)


def _said_categories(categories: Iterable[str], said: str) -> Iterator[str]:
    """Yield the first category that says something, unless the name says it already."""
    texts = (SAID_CATEGORY.get(one, words(one).lower().replace(" / ", " or ")) for one in categories)
    text = next(filter(None, texts), "")
    if text and text.rstrip("s") not in {word.rstrip("s") for word in said.split()}:
        yield text


def _distinct(captions: Iterable[Caption]) -> list[Caption]:
    by_text: dict[str, Caption] = {}
    for caption in captions:
        by_text.setdefault(caption.text, caption)
    return list(by_text.values())
