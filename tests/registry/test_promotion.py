from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from registry.errors import JournalError, RegistryError
from registry.promotion import GateRefusedError, Move, drift, history, promote, rollback, served_on
from registry.settings import RegistrySettings

MakeModel = Callable[..., Path]
NAME = "brand-openmoji"


def champion(registry: RegistrySettings) -> int | None:
    return registry.store.alias_version(NAME, "champion")


def reopened(registry: RegistrySettings) -> RegistrySettings:
    """The registry as the next process sees it."""
    return dataclasses.replace(registry)


def test_a_promotion_tells_who_when_what_and_why(registered: RegistrySettings) -> None:
    promotion = promote(registered, NAME, 1, why="first", who="release manager")
    assert promotion.verdict.passed
    (move,) = history(reopened(registered), NAME)
    assert move == promotion.move
    assert (move.who, move.why, move.from_version, move.version) == ("release manager", "first", None, 1)
    assert move.digest == registered.store.version(NAME, 1).digest
    assert (move.gate, move.verdict_digest) == ("adapter", promotion.verdict.digest())
    assert datetime.datetime.fromisoformat(move.time).tzinfo == datetime.UTC
    assert champion(registered) == 1


def test_a_failed_gate_moves_nothing(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    with pytest.raises(GateRefusedError, match="version 3 is not promoted, it fails 2 of 13 checks") as refusal:
        promote(registered, NAME, 3)
    assert "\n" not in str(refusal.value)
    assert len(refusal.value.verdict.failures) == 2
    assert champion(registered) == 1
    assert len(history(registered)) == 1


def test_a_model_without_figures_is_not_promoted(registry: RegistrySettings, make_adapter: MakeModel) -> None:
    registry.store.register(NAME, make_adapter())
    with pytest.raises(GateRefusedError, match="run atelier evaluate"):
        promote(registry, NAME, 1)


def test_promoting_the_champion_again_is_no_move(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    assert promote(registered, NAME, 1).move is None
    assert len(history(registered)) == 1


def test_rolling_back_goes_back_one_promotion_at_a_time(registered: RegistrySettings) -> None:
    with pytest.raises(RegistryError, match="was never promoted"):
        rollback(registered, NAME)
    promote(registered, NAME, 1)
    with pytest.raises(RegistryError, match="has held only version 1: there is none to go back to"):
        rollback(registered, NAME)
    promote(registered, NAME, 2)
    promote(registered, NAME, 1)
    assert [rollback(registered, NAME).version for _ in range(2)] == [2, 1]
    assert champion(registered) == 1
    with pytest.raises(RegistryError, match="none to go back to"):
        rollback(registered, NAME)
    assert [(move.action, move.from_version, move.version) for move in history(registered, NAME)] == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("promote", 2, 1),
        ("rollback", 1, 2),
        ("rollback", 2, 1),
    ]
    with pytest.raises(RegistryError, match="no registered model 'brand-x'"):
        rollback(registered, "brand-x")


def test_aliases_move_apart(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    promote(registered, NAME, 2, alias="challenger")
    assert (champion(registered), registered.store.alias_version(NAME, "challenger")) == (1, 2)
    with pytest.raises(RegistryError, match="has held only version 2"):
        rollback(registered, NAME, alias="challenger")
    assert [move.version for move in history(registered, NAME, "challenger")] == [2]


def test_a_changed_artifact_is_neither_promoted_nor_rolled_back_to(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    promote(registered, NAME, 2)
    (registered.store.folder(NAME, 1) / "adapter_model.safetensors").write_text("others")
    for attempt in (lambda: promote(registered, NAME, 1), lambda: rollback(registered, NAME)):
        with pytest.raises(RegistryError, match="has changed since"):
            attempt()
    assert champion(registered) == 2


def test_a_tampered_journal_stops_every_move(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    journal = Path(registered.journal)
    journal.write_text(journal.read_text().replace('"version":1', '"version":2'))
    attempts: list[Callable[[], object]] = [
        lambda: promote(reopened(registered), NAME, 2),
        lambda: rollback(reopened(registered), NAME),
        lambda: history(reopened(registered)),
    ]
    for attempt in attempts:
        with pytest.raises(JournalError, match="line 1 was changed"):
            attempt()
    assert champion(registered) == 1


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["before the alias", "before the line", "inside the line", "before the withdrawal"])
def test_a_kill_is_healed_at_the_next_start(
    registered: RegistrySettings, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    promote(registered, NAME, 1)
    killed = reopened(registered)
    owner, method = {
        "before the alias": (killed.store, "set_alias"),
        "before the line": (killed.ledger, "append"),
        "inside the line": (killed.ledger, "append"),
        "before the withdrawal": (killed.ledger, "withdraw"),
    }[stage]
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, interrupt)
        with pytest.raises(KeyboardInterrupt):
            promote(killed, NAME, 2)
    if stage == "inside the line":
        with Path(registered.journal).open("ab") as stream:
            stream.write(b'{"action":"prom')
    moves = history(reopened(registered), NAME)
    expected = [1] if stage == "before the alias" else [1, 2]
    assert [move.version for move in moves] == expected
    assert champion(registered) == expected[-1]
    assert not registered.ledger.intent_path.exists()
    assert drift(reopened(registered), NAME) == []
    assert promote(reopened(registered), NAME, 2).verdict.passed
    assert [move.version for move in history(registered, NAME)] == [1, 2]


def test_concurrent_promotions_wait_for_each_other(registered: RegistrySettings) -> None:
    registered.store.names()

    def take_turns(version: int) -> None:
        mine = reopened(registered)
        for _ in range(3):
            promote(mine, NAME, version)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(take_turns, (1, 2)))
    moves = history(reopened(registered), NAME)
    assert champion(registered) == moves[-1].version
    assert all(before.version == move.from_version for before, move in itertools.pairwise(moves))


def test_an_alias_moved_by_hand_is_told_and_journaled_by_the_next_move(registered: RegistrySettings) -> None:
    promote(registered, NAME, 1)
    registered.store.set_alias(NAME, "champion", 3)
    (sentence,) = drift(registered, NAME)
    assert "champion points to version 3, but the journal left it at 1" in sentence
    move = promote(registered, NAME, 1).move
    assert move is not None
    assert (move.from_version, move.version) == (3, 1)
    assert drift(registered, NAME) == []


def test_which_version_served_on_a_day() -> None:
    def moved(number: int, time: str) -> Move:
        names = [field.name for field in dataclasses.fields(Move)]
        return Move(**{**dict.fromkeys(names), "sequence": number, "version": number, "time": time})  # type: ignore[arg-type]

    moves = [
        moved(1, "2026-11-01T10:00:00+00:00"),
        moved(2, "2026-11-03T10:00:00+00:00"),
        moved(3, "2026-11-03T23:30:00-02:00"),
    ]
    versions = {
        day: [move.version for move in served_on(moves, datetime.date(2026, 11, day))] for day in (1, 2, 3, 4, 5)
    }
    assert versions == {1: [1], 2: [1], 3: [1, 2], 4: [2, 3], 5: [3]}
