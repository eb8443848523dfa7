from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import keys
from registry.errors import JournalError
from registry.journal import FIRST_PREVIOUS, Journal

LINES = 4


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl", tmp_path / "keys/promotion.pem")
    for number in range(LINES):
        journal.append({"model": "brand-x", "version": number, "why": "ünïcode"})
    return journal


def again(journal: Journal) -> Journal:
    """A journal without anything remembered from writing."""
    return Journal(journal.path, journal.key_path)


def test_lines_are_read_as_they_were_written(journal: Journal) -> None:
    lines = again(journal).read()
    assert [line["version"] for line in lines] == list(range(LINES))
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4]
    assert lines[0]["previous"] == FIRST_PREVIOUS
    assert "signature" not in lines[0]


def test_the_key_is_for_its_owner_alone(journal: Journal) -> None:
    assert stat.S_IMODE(journal.key_path.stat().st_mode) == 0o600
    assert b"PRIVATE" not in keys.public_path(journal.key_path).read_bytes()
    journal.key_path.chmod(0o644)
    with pytest.raises(JournalError, match="chmod 600"):
        again(journal).append({})


def test_reading_makes_no_key(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal.jsonl", tmp_path / "promotion.pem").read() == []
    assert list(tmp_path.iterdir()) == []


def test_the_public_half_is_enough_to_verify_and_too_little_to_write(journal: Journal) -> None:
    journal.key_path.unlink()
    assert len(again(journal).read()) == LINES
    with pytest.raises(JournalError, match=r"the key .*promotion\.pem that signed .* is gone"):
        again(journal).append({})
    keys.public_path(journal.key_path).unlink()
    with pytest.raises(JournalError, match="to verify the journal with"):
        again(journal).read()


def changed_value(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"version":1', b'"version":3'), *lines[2:]]


def garbage(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"no line", *lines[2:]]


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (changed_value, "line 2 was changed after it was signed"),
        (garbage, "line 2 is not what was written there"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 was removed: line 3 stands in its place"),
        (lambda lines: lines[1:], "line 1 was removed: line 2 stands"),
        (lambda lines: lines[:-1], "line 4 was removed: 4 lines were written"),
        (lambda lines: [], "line 1 was removed: 4 lines were written"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "line 2 was removed"),
        (lambda lines: [lines[0], b"", *lines[1:]], "line 2 is not what was written there"),
    ],
)
def test_tampering_is_found_and_the_line_named(
    journal: Journal, tamper: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    lines = journal.path.read_bytes().splitlines()
    journal.path.write_bytes(b"".join(line + b"\n" for line in tamper(lines)))
    for attempt in (again(journal).read, lambda: again(journal).append({})):
        with pytest.raises(JournalError, match=told):
            attempt()


def test_a_cut_line_is_named(journal: Journal) -> None:
    os.truncate(journal.path, journal.path.stat().st_size - 5)
    with pytest.raises(JournalError, match="line 4 is cut short"):
        again(journal).read()


def test_a_line_signed_by_another_key_is_named(journal: Journal, tmp_path: Path) -> None:
    keys.make_key(journal.key_path)
    with pytest.raises(JournalError, match=r"line 1 is signed by the key [0-9a-f]{16}, not by"):
        again(journal).read()
    journal.key_path.write_text("no key")
    with pytest.raises(JournalError, match="no Ed25519 private key"):
        again(journal).read()


def test_a_changed_or_removed_head_is_found(journal: Journal) -> None:
    head = journal.head_path.read_bytes()
    journal.head_path.write_bytes(head.replace(b'"count":4', b'"count":3'))
    with pytest.raises(JournalError, match="head was changed after it was signed"):
        again(journal).read()
    journal.head_path.unlink()
    with pytest.raises(JournalError, match="counts 0 lines of 4"):
        again(journal).read()


def test_a_kill_between_line_and_head_is_no_tampering(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    heads_written = []

    def killed_at_the_last_head(raw_lines: list[bytes]) -> None:
        heads_written.append(len(raw_lines))
        if len(heads_written) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write_head", killed_at_the_last_head)
        with pytest.raises(KeyboardInterrupt):
            journal.append({"version": 9})
    assert len(again(journal).read()) == LINES + 1
    again(journal).append({"version": 10})
    assert [line["version"] for line in again(journal).read()[LINES:]] == [9, 10]


def test_an_intent_is_signed_and_forgotten(journal: Journal) -> None:
    assert journal.declared() is None
    journal.declare({"version": 7})
    declared = again(journal).declared()
    assert declared is not None
    assert (declared["version"], declared["sequence"]) == (7, LINES + 1)
    content = json.loads(journal.intent_path.read_text())
    journal.intent_path.write_text(json.dumps(content | {"version": 8}))
    with pytest.raises(JournalError, match="intent was changed after it was signed"):
        again(journal).declared()
    journal.withdraw()
    assert again(journal).declared() is None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder / "journal.jsonl", folder / "promotion.pem")
    for number in range(2):
        journal.append({"version": number})
    content = bytearray(journal.path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    journal.path.write_bytes(content)
    with pytest.raises(JournalError, match=r"line [12]"):
        again(journal).read()
