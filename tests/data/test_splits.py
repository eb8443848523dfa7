"""Which drawings are held out: golden values, and the rule itself.

printf SUBJECT | sha256sum | cut -c1-8, as a number, mod 10.
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.record import Drawing
from data.splits import Splits, held_out


def drawing(subject: str, collection: str, *, monochrome: bool = False) -> Drawing:
    return Drawing(
        key=f"{collection}__{subject}",
        captions=(subject,),
        subject=subject,
        collection=collection,
        style=collection,
        monochrome=monochrome,
        licence="MIT",
        creator="",
        creator_url="",
        source_uri="",
        evidence="",
        retrieved="2026-01-01",
        content=b"",
    )


GOLDEN = {
    "cat": False,
    "rocket": False,
    "woman-running": False,
    "acorn": True,
    "bellhop-bell": True,
    "sun-behind-cloud": True,
    "arrow-down-right": True,
    "man-scientist@fluent-emoji-flat": True,
    "man-scientist": False,
    "red-heart@fluent-emoji": True,
    "red-heart": False,
}


@pytest.mark.parametrize(("text", "expected"), GOLDEN.items())
def test_golden(text: str, expected: bool) -> None:
    assert held_out(text) is expected


@given(st.text())
def test_rule(text: str) -> None:
    assert held_out(text) == (int(hashlib.sha256(text.encode("utf-8")).hexdigest()[:8], 16) % 10 == 0)


def _pair(subject: str, sets: list[str]) -> str | None:
    return next((name for name in sets if held_out(f"{subject}@{name}")), None)


def test_pairs_need_two_colour_sets() -> None:
    sets = [f"set-{i}" for i in range(40)]
    subject = next(f"s{i}" for i in range(99) if not held_out(f"s{i}") and _pair(f"s{i}", sets))
    held_set = _pair(subject, sets)
    assert held_set is not None
    other = next(name for name in sets if name != held_set and not held_out(f"{subject}@{name}"))
    here, there = drawing(subject, held_set), drawing(subject, other)
    assert Splits([here]).split(here) == "train"
    assert Splits([here, there]).split(here) == "heldout_pair"
    assert Splits([here, there]).split(there) == "train"
    plain = drawing(subject, held_set, monochrome=True)
    assert Splits([plain, there]).split(plain) == "train"


def test_a_held_out_subject_is_held_out_in_every_set() -> None:
    subject = next(f"s{i}" for i in range(99) if held_out(f"s{i}"))
    drawings = [drawing(subject, "a"), drawing(subject, "b"), drawing(subject, "c", monochrome=True)]
    splits = Splits(drawings)
    assert {splits.split(item) for item in drawings} == {"heldout_subject"}
