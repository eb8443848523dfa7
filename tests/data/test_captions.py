"""What drawings are said to show: their subject in several ways, never their style, never a held-out subject."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data.captions import ALWAYS_STYLE, ASKED_FOR, Caption, IconSetWords, captions_of, plain_name
from data.record import MAX_CAPTIONS
from data.splits import held_out

names = st.from_regex(r"[a-z]{1,7}(-[a-z0-9]{1,6}){0,3}", fullmatch=True)
styled_names = st.builds("{}-{}".format, names, st.sampled_from(sorted(ALWAYS_STYLE)))


def texts(captions: Sequence[Caption]) -> tuple[str, ...]:
    return tuple(caption.text for caption in captions)


def told(captions: Sequence[Caption]) -> tuple[str, ...]:
    """What is said of the drawing, without the ways of asking for one that has but a name."""
    asked = {way.format(captions[0].text) for way in ASKED_FOR}
    return tuple(text for text in texts(captions) if text not in asked)


def same_side(*words: str) -> list[str]:
    """The words of which none is held out."""
    return [word for word in words if not held_out(word)]


def test_captions_say_the_subject_first_and_its_category_last() -> None:
    others = same_side("runner", "jogger", "racer", "sprinter", "athlete")
    captions = captions_of("woman-running", [*others, "woman-running"], ["People & Body"])
    assert captions[0] == ("woman running", "name")
    assert captions[-1] == ("woman running, people and body", "category")
    assert {caption.source for caption in captions[1:-1]} == {"alias"}
    assert len(captions) == len(set(texts(captions))) == MAX_CAPTIONS


@given(names, st.lists(names | styled_names, max_size=6), st.lists(st.text(max_size=8), max_size=2))
def test_captions_are_two_to_four_and_no_two_are_alike(name: str, others: list[str], categories: list[str]) -> None:
    captions = captions_of(name, others, categories, IconSetWords(subjects={name, *others}))
    assert 2 <= len(captions) <= MAX_CAPTIONS
    assert len(set(texts(captions))) == len(captions) and all(texts(captions))
    assert captions[0].source == "name"


@given(st.lists(names | styled_names, min_size=2, max_size=8, unique=True))
def test_no_caption_gives_a_name_of_the_other_split(drawn: list[str]) -> None:
    """Whatever the set's names and aliases: what is not held out is never said in a held-out name's words."""
    for subject in drawn:
        for caption in captions_of(subject, drawn, (), IconSetWords(subjects=set(drawn))):
            said = [name for name in drawn if name.replace("-", " ") == caption.text]
            assert all(held_out(name) == held_out(subject) for name in said)


def test_captions_leave_out_a_name_of_the_other_split() -> None:
    held = next(f"name-{word}" for word in map(chr, range(97, 123)) if held_out(f"name-{word}"))
    shown = next(f"name-{word}" for word in map(chr, range(97, 123)) if not held_out(f"name-{word}"))
    assert told(captions_of(shown, [held])) == (shown.replace("-", " "),)
    assert told(captions_of(held, [shown])) == (held.replace("-", " "),)


@given(names, st.sampled_from(sorted(ALWAYS_STYLE)))
def test_a_style_word_is_left_out_unless_that_names_a_subject_of_the_other_split(name: str, style: str) -> None:
    plain = plain_name(name)
    assume(plain_name(f"{name}-{style}") == plain)
    (first, *_) = captions_of(f"{name}-{style}")
    assert (style in first.text.split()) == (
        style in plain.split("-") or held_out(plain) != held_out(f"{name}-{style}")
    )


@pytest.mark.parametrize(
    ("name", "drawn", "plain"),
    [
        ("fire-fill", {"fire"}, "fire"),
        ("format-color-fill", {"format-color"}, "format-color-fill"),
        ("color-fill", {"color"}, "color-fill"),
        ("play-filled-alt", set(), "play"),
        ("text-bold", {"text"}, "text-bold"),
        ("arrow-up-bold", {"arrow-up"}, "arrow-up"),
        ("arrow-up-bold", set(), "arrow-up-bold"),
        ("bold", set(), "bold"),
        ("solid-leaf", {"leaf"}, "solid-leaf"),
        ("flat-tire", {"tire"}, "flat-tire"),
        ("chalk-outline-murder", set(), "chalk-outline-murder"),
        ("lock-simple-open", set(), "lock-open"),
        ("folder-simple-dashed", set(), "folder-dashed"),
        ("simple-icons", set(), "simple-icons"),
        ("run-view-icon", set(), "run-view"),
        ("emoji-laugh", set(), "laugh-face"),
        ("emoji-transportation", set(), "transportation"),
        ("sticker-emoji", set(), "sticker-face"),
        ("flower-2", {"flower"}, "flower"),
        ("flower-2", set(), "flower-2"),
        ("dice-2", {"dice", "dice-1"}, "dice-2"),
        ("keycap-5", {"keycap-4"}, "keycap-5"),
        ("rewind-10", {"rewind"}, "rewind-10"),
    ],
)
def test_style_is_told_from_what_is_shown(name: str, drawn: Collection[str], plain: str) -> None:
    assert plain_name(name, drawn) == plain


def other_words(name: str, **of_set: bool) -> str | None:
    subjects = {"bell", "user", "folder", "file", "square", "edit", name}
    ways = told(captions_of(name, of_set=IconSetWords(subjects=subjects, **of_set)))
    return ways[1] if len(ways) > 1 else None


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("bell-off", "bell crossed out"),
        ("user-plus", "user with a plus sign"),
        ("square-arrow-left", "square with an arrow pointing left"),
        ("broken-heart", None),  # there is no drawing of "broken"
        ("edit-person", None),
        ("arrow-up", "arrow pointing up"),
        ("brand-git", "logo of git"),
        ("git-logo", "logo of git"),
        ("cat", None),
    ],
)
def test_other_words_tell_what_a_last_word_adds(name: str, way: str | None) -> None:
    assert other_words(name) == way


@pytest.mark.parametrize(
    ("name", "way"),
    [("red-fox", "a red fox"), ("owl", "an owl"), ("scissors", None), ("glass", "a glass"), ("man-running", None)],
)
def test_a_thing_gets_its_article(name: str, way: str | None) -> None:
    assert other_words(name, things=True) == way


@pytest.mark.parametrize(
    ("name", "way"),
    [("folder-docs", "folder for docs"), ("folder-src-open", "open folder for src"), ("rust", "rust file")],
)
def test_a_kind_of_file_is_said_to_be_one(name: str, way: str) -> None:
    assert other_words(name, files=True) == way


@pytest.mark.parametrize(
    ("name", "categories", "last"),
    [
        ("pear", ["Others"], "pear"),
        ("pear", ["UI", "Foods"], "pear, food"),
        ("folder", ["Folders"], "folder"),
        ("smile", ["Emoji"], "smile, face"),
        ("van", ["Transportation + Road"], "van, road transport"),
        ("bell", ["Alert / Error"], "bell, alert or error"),
    ],
)
def test_categories_that_tell_nothing_are_left_out(name: str, categories: list[str], last: str) -> None:
    assert told(captions_of(name, categories=categories))[-1] == last


def test_a_drawing_that_has_but_a_name_is_asked_for_in_all_the_ways() -> None:
    second = {captions_of(name)[1].text.replace(name, "{}") for name in ("cat", "dog", "map", "van", "hat", "pen")}
    assert second == set(ASKED_FOR)


@pytest.mark.parametrize("alias", ["arow-up", "arrowup", "arrow-up2x", "arrow-up-outline"])
def test_a_slip_of_the_pen_is_no_other_name(alias: str) -> None:
    name = "arrow-up"
    assert all(caption.source == "name" for caption in captions_of(name, [alias]))
