"""What names say, set by set."""

from __future__ import annotations

import pytest

from data.captions import captions_of
from data.naming import Naming, has_skin_tone, is_flag
from data.record import MAX_CAPTIONS
from data.splits import held_out

FLUENT = ("16-filled", "24-filled", "24-regular", "20-regular")


@pytest.mark.parametrize(
    ("collection", "suffixes", "name", "subject", "style", "drawn_px"),
    [
        ("ph", ("thin", "bold", ""), "acorn-bold", "acorn", "bold", None),
        ("ph", ("thin", "bold", ""), "acorn", "acorn", None, None),
        ("solar", ("bold", "bold-duotone"), "black-hole-2-bold-duotone", "black-hole", "bold-duotone", None),
        ("fluent", FLUENT, "access-time-24-filled", "access-time", "filled", 24),
        ("fluent-color", ("16", "24"), "beach-16", "beach", None, 16),
        ("healthicons", ("", "24px", "outline-24px"), "sperm-outline-24px", "sperm", "outline", 24),
        ("material-symbols", ("outline", "outline-rounded"), "add-outline-rounded", "add", "outline-rounded", None),
        ("tabler", (), "heart-filled", "heart", "filled", None),
        ("mdi", (), "heart-outline", "heart", "outline", None),
        ("hugeicons", (), "comet-02", "comet", None, None),
        ("icon-park", (), "delete-two", "delete", None, None),
        ("noto", (), "woman-running", "woman-running", None, None),
        ("ph", ("bold",), "bold", "bold", None, None),
    ],
)
def test_name_is_taken_apart(
    collection: str, suffixes: tuple[str, ...], name: str, subject: str, style: str | None, drawn_px: int | None
) -> None:
    parsed = Naming(collection, suffixes=suffixes).parse(name)
    assert (parsed.subject, parsed.style, parsed.drawn_px) == (subject, style, drawn_px)


def test_prefix_is_a_style() -> None:
    assert Naming("x", prefixes=("outline",)).parse("outline-home").style == "outline"


@pytest.mark.parametrize(
    ("name", "toned"),
    [
        ("clapping-hands-medium-light-skin-tone", True),
        ("man-dark-skin-tone-bald", True),
        ("judge-medium-dark", True),
        ("judge-light", True),
        ("judge", False),
        ("police-car-light", False),
        ("light-bulb", False),
        ("skin-cancer", False),
    ],
)
def test_skin_tones(name: str, toned: bool) -> None:
    names = {
        "judge",
        "judge-light",
        "judge-medium",
        "judge-dark",
        "judge-medium-dark",
        "police-car",
        "police-car-light",
    }
    assert has_skin_tone(name, names) is toned


@pytest.mark.parametrize(
    ("name", "categories", "emoji", "flag"),
    [
        ("flag-france", (), True, True),
        ("flag-for-france", (), True, True),
        ("pirate-flag", (), True, True),
        ("crossed-flags", (), True, True),
        ("anything", ("Flags",), False, True),
        ("flag-in-hole", (), True, False),
        ("open-mailbox-with-raised-flag", (), True, False),
        ("flag-plus", (), False, False),
    ],
)
def test_flags(name: str, categories: tuple[str, ...], emoji: bool, flag: bool) -> None:
    assert is_flag(name, categories, emoji=emoji) is flag


def test_captions_say_the_subject_first_and_its_category_last() -> None:
    others = [name for name in ("runner", "jogger", "racer", "sprinter", "athlete") if not held_out(name)]
    captions = captions_of("woman-running", [*others, "woman-running"], ["People & Body"])
    assert captions[0] == "woman running"
    assert captions[-1] == "woman running, people and body"
    assert len(captions) == len(set(captions)) == MAX_CAPTIONS


def test_captions_leave_out_a_name_of_the_other_split() -> None:
    held = next(f"name-{i}" for i in range(100) if held_out(f"name-{i}"))
    shown = next(f"name-{i}" for i in range(100) if not held_out(f"name-{i}"))
    assert captions_of(shown, [held]) == (shown.replace("-", " "),)
    assert captions_of(held, [shown]) == (held.replace("-", " "),)
