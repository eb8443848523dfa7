"""Whatever is done, and wherever a kill falls, the alias stands where the last journal line says."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.artifacts import digest_folder, write_card
from registry.errors import RegistryError
from registry.figures import Evaluation, Figure
from registry.gates import Gate, Threshold
from registry.promotion import history, promote, rollback
from registry.settings import RegistrySettings
from registry.version import RegisteredVersion

NAME = "backbone"
GATES = {
    "backbone": Gate(
        name="test", thresholds=[Threshold(figure="x", comparison="<", against=1, why="a property")], policies=[]
    )
}


class MemoryStore:
    """The few questions that promotion asks a store, answered from memory: MLflow itself is too slow for hundreds."""

    def __init__(self, folder: Path, count: int) -> None:
        self.aliases: dict[str, int] = {}
        self._folders = {number: folder / f"model-{number}" for number in range(1, count + 1)}
        for number, model in self._folders.items():
            model.mkdir()
            write_card(model, {"kind": "backbone", "name": f"model {number}"})
        self._digests = {number: digest_folder(model) for number, model in self._folders.items()}

    def version(self, name: str, version: int) -> RegisteredVersion:
        held = tuple(alias for alias, target in self.aliases.items() if target == version)
        return RegisteredVersion(
            name=name,
            version=version,
            digest=self._digests[version],
            kind="backbone",
            licence="MIT",
            base_digest=None,
            datasets="",
            aliases=held,
            run_id="",
            created_seconds=0,
        )

    def versions(self, name: str) -> list[RegisteredVersion]:
        return [self.version(name, number) for number in self._folders]

    def folder(self, name: str, version: int) -> Path:
        return self._folders[version]

    def evaluations(self, name: str, version: int) -> list[Evaluation]:
        figure = Figure(name="x", value=0.0 if version < 4 else 2.0)  # the last version fails its gate
        return [Evaluation(suite="s", seed=0, model_digest=self._digests[version], figures=(figure,))]

    def alias_version(self, name: str, alias: str) -> int | None:
        return self.aliases.get(alias)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self.aliases[alias] = version


def reopened(registry: RegistrySettings, store: MemoryStore) -> RegistrySettings:
    fresh = dataclasses.replace(registry)
    vars(fresh)["store"] = store  # what the cached property would hold
    return fresh


def killed_at(registry: RegistrySettings, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: Any) -> None:
        if stage == "line":
            with registry.ledger.path.open("ab") as stream:
                stream.write(b'{"action":')
        raise KeyboardInterrupt

    owner, method = {
        "declaration": (registry.ledger, "declare"),
        "alias": (registry.store, "set_alias"),
        "line": (registry.ledger, "append"),
        "head": (registry.ledger, "_write_head"),
        "withdrawal": (registry.ledger, "withdraw"),
    }[stage]
    monkeypatch.setattr(owner, method, kill)


moves = st.one_of(st.tuples(st.just("promote"), st.integers(1, 4)), st.just(("rollback", 0)))
stages = st.one_of(st.none(), st.sampled_from(["declaration", "alias", "line", "head", "withdrawal"]))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(moves, st.sampled_from(["champion", "challenger"]), stages), max_size=8))
def test_the_alias_stands_where_the_last_line_says(
    steps: list[tuple[tuple[str, int], str, str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("registry")
    store = MemoryStore(folder, 4)
    settings_ = RegistrySettings(journal=str(folder / "journal.jsonl"), key=str(folder / "promotion.pem"))
    for (action, version), alias, stage in steps:
        registry = reopened(settings_, store)
        with pytest.MonkeyPatch.context() as patch:
            if stage:
                killed_at(registry, stage, patch)
            with contextlib.suppress(RegistryError, KeyboardInterrupt):
                act(registry, action, version, alias)
        check(reopened(settings_, store), store)


def act(registry: RegistrySettings, action: str, version: int, alias: str) -> None:
    if action == "promote":
        promote(registry, NAME, version, gates=GATES, alias=alias)
    else:
        rollback(registry, NAME, alias=alias)


def check(registry: RegistrySettings, store: MemoryStore) -> None:
    lines = history(registry)
    last = {move.alias: move.version for move in lines}
    assert store.aliases == last
    assert [move.sequence for move in lines] == list(range(1, len(lines) + 1))
    for alias in last:
        versions = [None, *(move.version for move in lines if move.alias == alias)]
        assert [move.from_version for move in lines if move.alias == alias] == versions[:-1]
    assert all(move.version != 4 for move in lines)
