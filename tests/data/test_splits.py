"""Which drawings are held out: golden values, and the rule itself.

printf SUBJECT | sha256sum | cut -c1-8, as a number, mod 10.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.record import SPLITS
from data.splits import held_out, prefix, splits_of


def splits(*drawings: tuple[str, str, bool]) -> list[str]:
    """The splits of (subject, set, monochrome) triples."""
    subjects, sets, monochrome = zip(*drawings, strict=True)
    held = [held_out(f"{subject}@{name}") for subject, name in zip(subjects, sets, strict=True)]
    numbers = splits_of(
        np.array([prefix(subject) for subject in subjects], np.uint64),
        np.array([prefix(name) for name in sets], np.uint64),
        np.array(monochrome),
        np.array(held),
    )
    return [SPLITS[number] for number in numbers]


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
    here, there = (subject, held_set, False), (subject, other, False)
    assert splits(here) == ["train"]
    assert splits(here, here) == ["train", "train"]
    assert splits(here, there) == ["heldout_pair", "train"]
    assert splits((subject, held_set, True), there) == ["train", "train"]


def test_a_held_out_subject_is_held_out_in_every_set() -> None:
    subject = next(f"s{i}" for i in range(99) if held_out(f"s{i}"))
    drawings = [(subject, "a", False), (subject, "b", False), (subject, "c", True)]
    assert set(splits(*drawings)) == {"heldout_subject"}
