"""What names say, set by set."""

from __future__ import annotations

import pytest

from data.naming import Naming, has_skin_tone, is_flag, words

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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("woman-running", "woman running"),
        ("clock12", "clock 12"),
        ("html5", "html 5"),
        ("ak47", "ak47"),
        ("baby-0203m", "baby 2 to 3 months"),
        ("girl-0105y", "girl 1 to 5 years"),
        ("five-oclock", "five o'clock"),
        ("wi-fi-router", "wifi router"),
        ("woodPanel", "wood panel"),
        ("People & Body", "People and Body"),
        ("finance_dept", "finance department"),
    ],
)
def test_words_are_those_that_a_person_would_type(name: str, said: str) -> None:
    assert words(name) == said
