"""What is revoked stays out of every loader, a list that cannot be trusted stops them, and a run goes on without it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.dataset import Dataset, open_dataset
from data.errors import DataError, RevocationError
from data.order import SampleOrder
from data.revocations import leading_parts, load_revocations
from data.unrevoked import UnrevokedOrder, unrevoked

MakeDataset = Callable[..., Dataset]


def line(kind: str, value: str, action: str = "revoke", **fields: Any) -> dict[str, Any]:
    told = {"time": "2026-11-22T10:00:00.000+00:00", "who": "me", "reason": "asked"}
    return {"action": action, "kind": kind, "value": value, "held": {}, **told, **fields}


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write a list as the registry's journal does, but for the signatures, which loaders do not check."""
    previous, raw_lines = "0" * 64, []
    for sequence, one in enumerate(lines, start=1):
        raw_lines.append(json.dumps(one | {"sequence": sequence, "previous": previous}, sort_keys=True).encode())
        previous = hashlib.sha256(raw_lines[-1]).hexdigest()
    path.write_bytes(b"".join(raw + b"\n" for raw in raw_lines))
    path.with_name(path.name + ".head").write_text(json.dumps({"count": len(lines), "last": previous}))


@pytest.fixture
def revocations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where this test's list lies; every loader of the process reads it."""
    path = tmp_path / "revocations.jsonl"
    monkeypatch.setenv("ATELIER_REVOCATIONS", str(path))
    return path


def kept(folder: Path) -> set[str]:
    dataset = open_dataset(folder)
    return {dataset.index[row].key for row in dataset.rows()}


@pytest.mark.parametrize(
    ("kind", "value", "left"),
    [
        ("key", "dots__dot-3", 23),
        ("collection", "dots", 12),
        ("source", "pkg:npm/%40iconify-json/tiles@1.0.0", 12),
        ("source", "pkg:npm/%40iconify-json/tiles", 12),
        ("source", "pkg:npm/%40iconify-json/tiles@1.0.0#dot-3", 23),
        ("source", "pkg:npm/%40iconify-json/tile", 24),
        ("creator", "A. Drawer", 0),
        ("creator", "A. Draw", 24),
    ],
)
def test_a_revoked_work_leaves_every_loader_at_once_and_no_shard_changes(
    make_dataset: MakeDataset, revocations: Path, kind: str, value: str, left: int
) -> None:
    folder = make_dataset().folder
    before = {file: file.read_bytes() for file in folder.iterdir()}
    everything = kept(folder)
    write(revocations, [line(kind, value)])
    assert len(kept(folder)) == left
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    write(revocations, [line(kind, value), line(kind, value, "reinstate")])
    assert kept(folder) == everything


def test_a_picture_is_revoked_by_its_digest_wherever_it_lies(make_dataset: MakeDataset, revocations: Path) -> None:
    dataset = make_dataset()
    record = dataset.record(7)
    for digest in (record.sha256, record.sample_sha256()):
        write(revocations, [line("picture", digest)])
        assert kept(dataset.folder) == {one.key for one in dataset.records} - {record.key}


def test_what_was_found_when_it_was_revoked_spares_reading_the_records(
    make_dataset: MakeDataset, revocations: Path
) -> None:
    dataset = make_dataset()
    held = {dataset.card.version: {"collections": ["dots"], "keys": ["tiles__dot-3"]}}
    write(revocations, [line("creator", "A. Drawer"), line("creator", "A. Drawer", "found", held=held)])
    mask = load_revocations().rows(dataset.index, version=dataset.card.version)
    assert mask.sum() == 13
    with pytest.raises(RevocationError, match="was not searched for creator"):
        load_revocations().rows(dataset.index, version="another")


def test_covers_agrees_with_the_rows_of_a_dataset(make_dataset: MakeDataset, revocations: Path) -> None:
    dataset = make_dataset()
    lines = [
        line("key", "dots__dot-3"),
        line("source", "pkg:npm/%40iconify-json/tiles@1.0.0#dot-9"),
        line("picture", dataset.record(2).sha256),
    ]
    for one in lines:
        write(revocations, [one])
        listed = load_revocations()
        covered = [listed.covers(record) is not None for record in dataset.records]
        rows = listed.rows(dataset.index, version=dataset.card.version, records=dataset.each_record)
        assert covered == rows.tolist() and sum(covered) == 1
    write(revocations, lines)
    found = load_revocations().covers(dataset.records[dataset.index.keys().to_pylist().index("dots__dot-3")])
    assert found is not None and found.told() == "key dots__dot-3 (revoked 2026-11-22 by me: asked)"


def test_a_revoked_work_is_not_admitted_again(make_dataset: MakeDataset, revocations: Path) -> None:
    everything = {record.key for record in make_dataset().records}
    write(revocations, [line("key", "dots__dot-3"), line("source", "pkg:npm/%40iconify-json/tiles@1.0.0#dot-9")])
    anew = make_dataset("anew")
    assert {record.key for record in anew.records} == everything - {"dots__dot-3", "tiles__dot-9"}
    assert anew.card.refused["revoked"] == 2
    refusals = [json.loads(text) for text in (anew.folder / "refusals.jsonl").read_text().splitlines()]
    details = {refusal["key"]: refusal["detail"] for refusal in refusals if refusal["reason"] == "revoked"}
    assert details["dots__dot-3"] == "key dots__dot-3 (revoked 2026-11-22 by me: asked)"


def test_no_list_revokes_nothing(revocations: Path, make_dataset: MakeDataset) -> None:
    assert len(load_revocations()) == 0 and not load_revocations().changed()
    assert len(make_dataset().rows()) == 24


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "line 2 is cut short": lambda content: content[:-20],
    "line 3 is cut short": lambda content: content + b'{"action"',
    "line 3 is not JSON": lambda content: content + b"so be it\n",
    "line 2 was removed, 2 were written": lambda content: content[: content.index(b"\n") + 1],
    "line 1 was removed, 2 were written": lambda content: b"",
    "line 1 does not follow": lambda content: content[content.index(b"\n") + 1 :],
    "line 2 does not follow": lambda content: content.replace(b"dot-3", b"dot-4", 1),
    "line 2 was changed": lambda content: content.replace(b"dot-5", b"dot-6", 1),
    "line 1 is no revocation": lambda content: content.replace(b'"revoke"', b'"rewoke"', 1),
}


@pytest.mark.parametrize("told", SPOILED)
def test_a_list_that_cannot_be_trusted_stops_every_loader_in_one_line(
    make_dataset: MakeDataset, revocations: Path, told: str
) -> None:
    folder = make_dataset().folder
    write(revocations, [line("key", "dots__dot-3"), line("key", "dots__dot-5")])
    revocations.write_bytes(SPOILED[told](revocations.read_bytes()))
    with pytest.raises(RevocationError) as refusal:
        open_dataset(folder).rows()
    assert told in str(refusal.value) and "\n" not in str(refusal.value)
    assert "nothing may be learnt until the list is restored" in str(refusal.value)


def test_a_list_that_vanished_stops_every_loader(revocations: Path) -> None:
    write(revocations, [line("key", "dots__dot-3")])
    revocations.unlink()
    with pytest.raises(RevocationError, match="line 1 was removed, 1 were written"):
        load_revocations()


def test_a_revocation_is_in_force_as_soon_as_it_is_declared(revocations: Path) -> None:
    write(revocations, [line("key", "a")])
    intent = revocations.with_name(revocations.name + ".intent")
    before = load_revocations()
    intent.write_text(json.dumps(line("key", "b") | {"sequence": 2}))
    assert before.changed()
    assert [one.value for one in before.refreshed().in_force] == ["a", "b"]
    with revocations.open("ab") as stream:  # its line is being written
        stream.write(b'{"action":"revo')
    assert [one.value for one in load_revocations().in_force] == ["a", "b"]


def test_an_earlier_state_of_the_list_can_be_asked_for(revocations: Path) -> None:
    write(revocations, [line("key", "a"), line("key", "b"), line("key", "a", "reinstate")])
    listed = load_revocations()
    assert listed.through == 3
    states = [[one.value for one in listed.until(through).in_force] for through in range(4)]
    assert states == [[], ["a"], ["a", "b"], ["b"]]


def test_a_source_ends_where_a_part_of_its_address_ends() -> None:
    parts = set(leading_parts("https://example.org/a/b?c=1#d"))
    assert {"https://example.org", "https://example.org/", "https://example.org/a", "https://example.org/a/"} <= parts
    assert not {"https://example.or", "https://example.org/a/b?c=", "example.org"} & parts


# -- running orders ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(2, 40),
    seed=st.integers(0, 9),
    position=st.integers(0, 200),
    batch=st.integers(1, 30),
    data=st.data(),
)
def test_a_revoked_place_gives_the_next_sound_one_whatever_the_batch(
    count: int, seed: int, position: int, batch: int, data: st.DataObject
) -> None:
    revoked = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    revoked[data.draw(st.integers(0, count - 1))] = False
    order = SampleOrder(range(count), seed=seed)
    rows = unrevoked(order, position, batch, revoked)
    ahead = order.at(position, batch + 2 * count)
    for place, row in enumerate(rows):
        following = ahead[place:]
        assert row == following[~revoked[following]][0]
    single = [int(unrevoked(order, place, 1, revoked)[0]) for place in range(position, position + batch)]
    assert rows.tolist() == single


def test_a_run_whose_every_row_is_revoked_stops_in_one_line() -> None:
    with pytest.raises(DataError, match="every row to learn from is revoked"):
        unrevoked(SampleOrder(range(5), seed=0), 3, 2, np.ones(5, dtype=np.bool_))


def test_a_running_order_follows_the_list_from_the_next_batch_on(make_dataset: MakeDataset, revocations: Path) -> None:
    dataset = make_dataset()
    rows = dataset.rows(split="train")
    plain = SampleOrder(range(len(rows)), seed=3)
    told: list[tuple[int, int, list[int]]] = []
    order = UnrevokedOrder(
        plain, dataset, rows, on_change=lambda at, listed, places: told.append((at, listed.through, places.tolist()))
    )
    assert order.at(0, 4).tolist() == plain.at(0, 4).tolist()
    gone = int(plain.at(5, 1)[0])
    write(revocations, [line("key", dataset.index[rows[gone]].key)])
    after = order.at(4, 4)
    assert gone not in after
    assert after[1] == plain.at(6, 1)[0]
    assert np.delete(after, 1).tolist() == np.delete(plain.at(4, 4), 1).tolist()
    assert told == [(0, 0, []), (4, 1, [gone])]
    revocations.write_bytes(b"rubbish\n")
    with pytest.raises(RevocationError, match="line 1"):
        order.at(8, 4)
