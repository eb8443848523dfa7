"""A takedown: the work leaves every loader, and everything that saw it is found, counted and kept from promotion."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from atelier import main
from data.dataset import Dataset, open_dataset
from data.order import SampleOrder
from data.revocations import Revocation, load_revocations
from registry.ancestry import ancestry, draw
from registry.artifacts import digest_folder, read_card, write_card
from registry.known import folders_with, known_models
from registry.policies import no_revoked_work, revoked_work_told
from registry.promotion import hold_against_gate
from registry.resolve import resolve_model
from registry.revocations import revocation_lines, sightings, write_revocation
from registry.settings import RegistrySettings
from training.balance import balanced
from training.exposure import counted, expected
from training.lists import read_seen
from training.sighted import described
from training.steps import DiffusionTraining
from training.train import train

Compose = Callable[..., DictConfig]
Say = Callable[..., str]
SEED, SHARE = 5, 0.6


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrySettings:
    """Return a registry in an empty current directory; its list of revocations is the one that loaders read."""
    monkeypatch.delenv("ATELIER_REVOCATIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    return RegistrySettings()


def revoke_key(registry: RegistrySettings, key: str, action: str = "revoke") -> None:
    write_revocation(registry, {"action": action, "kind": "key", "value": key, "reason": "asked", "held": {}}, who="me")


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return where every training step of this test leaves the places that it learnt from."""
    steps: list[list[int]] = []
    plain = DiffusionTraining.training_step

    def recorded(self: DiffusionTraining, rows: torch.Tensor, index: int) -> torch.Tensor:
        steps.append(rows.tolist())
        return plain(self, rows, index)

    monkeypatch.setattr(DiffusionTraining, "training_step", recorded)
    return steps


def order_of(dataset: Dataset) -> SampleOrder:
    return SampleOrder(balanced(dataset, dataset.rows(split="train"), SHARE), seed=0)


def test_a_running_job_leaves_a_work_out_and_its_card_counts_every_showing(
    smoke: Compose, dataset: Dataset, registry: RegistrySettings, learnt: list[list[int]], monkeypatch: Any
) -> None:
    rows, order = dataset.rows(split="train"), order_of(dataset)
    gone = int(order.at(33, 1)[0])  # of the fifth step
    plain = DiffusionTraining.on_train_batch_end

    def revoking(self: DiffusionTraining, *arguments: Any) -> None:
        plain(self, *arguments)
        if len(learnt) == 2:
            revoke_key(registry, dataset.index[rows[gone]].key)

    monkeypatch.setattr(DiffusionTraining, "on_train_batch_end", revoking)
    card = read_card(train(smoke()))
    said = card["datasets"][0]["order"]
    assert [one["through"] for one in said["lists"]] == [0, 1] and said["pictures"] == 48
    noticed = said["lists"][1]["position"]
    assert 16 <= noticed <= 32
    flat = [place for step in learnt for place in step]
    assert gone not in flat[noticed:]
    assert [new for new, old in zip(flat, order.at(0, 48), strict=True) if old != gone] == [
        int(place) for place in order.at(0, 48) if place != gone
    ]
    shown = Counter(rows[place] for place in flat)
    now = open_dataset(dataset.folder)
    for row in range(len(dataset)):
        found = counted(said, now, [row])
        assert found is not None and found.is_exact and found.times == shown[row]
    together = counted(said, now, rows)
    assert together is not None and together.times == 48
    assert read_seen(Path(smoke().out) / "seen.json")["order"] == said


def test_a_resumed_job_leaves_a_work_out_and_keeps_the_rest_of_its_order(
    smoke: Compose, dataset: Dataset, registry: RegistrySettings, learnt: list[list[int]]
) -> None:
    rows, order = dataset.rows(split="train"), order_of(dataset)
    gone = int(order.at(33, 1)[0])
    train(smoke("max_steps=3"))
    revoke_key(registry, dataset.index[rows[gone]].key)
    card = read_card(train(smoke()))
    flat = [place for step in learnt for place in step]
    whole = order.at(0, 48).tolist()
    assert flat[:24] == whole[:24]
    assert gone not in flat[24:] and [n for n, o in zip(flat, whole, strict=True) if o != gone] == [
        place for place in whole if place != gone
    ]
    said = card["datasets"][0]["order"]
    assert said["lists"] == [{"through": 0, "position": 0}, {"through": 1, "position": 24}]
    found = counted(said, open_dataset(dataset.folder), [rows[gone]])
    assert found is not None and found.times == whole[:24].count(gone)


def test_a_new_job_has_the_work_neither_among_its_rows_nor_among_its_partners(
    smoke: Compose, dataset: Dataset, registry: RegistrySettings, learnt: list[list[int]]
) -> None:
    revoke_key(registry, dataset.index[dataset.rows(split="train")[0]].key)
    card = read_card(train(smoke("max_steps=3")))
    (entry,) = card["datasets"]
    assert entry["pictures"] == len(dataset.rows(split="train")) - 1
    assert entry["order"]["lists"] == [{"through": 1, "position": 0}]
    found = counted(entry["order"], open_dataset(dataset.folder), [dataset.rows(split="train")[0]])
    assert found is not None and (found.times, found.is_exact) == (0, True)


def test_a_forgotten_picture_is_nobodys_partner(dataset: Dataset) -> None:
    from data.bank import PictureBank

    bank = PictureBank.of(dataset, dataset.rows(split="train"))
    paired = int((bank.partners >= 0).sum(1).argmax())
    partners = bank.partners[paired].clone()
    bank.forget(partners[:1])
    left = bank.partners[paired]
    assert not torch.isin(bank.partners, partners[:1]).any()
    assert left[left >= 0].tolist() == partners[partners >= 0].tolist()[1:]
    assert (left[: int((left >= 0).sum())] >= 0).all()


# -- what saw it -------------------------------------------------------------------------------------------------------


def made_card(kind: str, name: str, dataset: Dataset, pictures: int, **fields: Any) -> dict[str, Any]:
    order = {"recipe": "balanced", "seed": SEED, "colour_share": SHARE, "pictures": pictures}
    drawn = SampleOrder(balanced(dataset, dataset.rows(split="train"), SHARE), seed=SEED)
    entry = {
        "name": dataset.card.name,
        "version": dataset.card.version,
        "policy": "commercial",
        "licences": dict(dataset.card.licences),
        "pictures": len(dataset),
        "exposure_pictures": pictures,
        "attribution": [],
        "order": order | {"sha256": drawn.digest(), "lists": [{"through": 0, "position": 0}]},
    }
    card = {"kind": kind, "name": name, "datasets": [entry], "licence": "Apache-2.0", "obligations": ["name them"]}
    run = {"images_seen": pictures, "seconds": 1.0, "hardware": "CPU"}
    config = {"dataset": {"folder": str(dataset.folder), "colour_share": SHARE}, "name": "smoke"}
    return card | {"seed": SEED, "code_commit": "abc", "config": config, "run": run, "created": "now"} | fields


def artifact(folder: Path, card: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_text(json.dumps(card))
    write_card(folder, card)
    return folder


@pytest.fixture
def shelf(registry: RegistrySettings, dataset: Dataset, tmp_path: Path) -> RegistrySettings:
    """Return a registry: two backbones, of which the second, champion, learnt from the dataset; an adapter on it."""
    nothing = made_card("backbone", "first", dataset, 100, datasets=[])
    first = artifact(tmp_path / "models/first", nothing)
    second = artifact(tmp_path / "models/second", made_card("backbone", "second", dataset, 100))
    base = {"name": "second", "digest": digest_folder(second), "source": str(second)}
    card = made_card("adapter", "brand-x", dataset, 100, datasets=[], base=base, brand="x", config={"images": "drawn"})
    for name, folder in (("backbone", first), ("backbone", second)):
        registry.store.register(name, folder)
    registry.store.register("brand-x", artifact(tmp_path / "models/adapter", card))
    registry.store.set_alias("backbone", "champion", 2)
    return registry


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dataset: Dataset) -> Say:
    """Return a function that runs ``atelier revoke`` in this process and returns what it says, or its mistake."""

    def run(*words: str, mistake: bool = False) -> str:
        monkeypatch.delitem(ConfigStore.instance().repo, "registry", raising=False)
        monkeypatch.setattr(sys, "argv", [])
        where = [f"datasets=['{dataset.folder}']", "models=[models]", "manifests=[manifests]"]
        if not mistake:
            main(["revoke", *where, *words])
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as leaving:
            main(["revoke", *where, *words])
        said = capsys.readouterr()
        assert (leaving.value.code, said.out) == (2, "")
        (told,) = said.err.splitlines()
        return told

    return run


def coloured_key(dataset: Dataset) -> tuple[int, str]:
    rows = dataset.rows(split="train")
    row = next(row for row in rows if not dataset.records[row].monochrome)
    return row, dataset.records[row].key


def test_everything_that_saw_a_work_is_found_with_how_often(
    shelf: RegistrySettings, dataset: Dataset, say: Say
) -> None:
    row, key = coloured_key(dataset)
    drawn = SampleOrder(balanced(dataset, dataset.rows(split="train"), SHARE), seed=SEED).at(0, 100)
    times = int((drawn == dataset.rows(split="train").index(row)).sum())
    assert times > 0
    answer = json.loads(say(key, "--reason", "the author's wish", "json=true"))
    assert answer["revocation"]["reason"] == "the author's wish"
    assert [(it["version"], it["rows"]) for it in answer["datasets"]] == [(dataset.card.version, 1)]
    backbone, adapter = answer["models"]
    assert (backbone["reference"], backbone["times"], backbone["exact"]) == ("models:/backbone/2", times, True)
    assert backbone["aliases"] == ["backbone@champion"] and len(backbone["runs"]) == 1
    assert (adapter["reference"], adapter["times"], adapter["own_times"]) == ("models:/brand-x/1", times, 0)
    assert adapter["inherited_from"] == "models:/backbone/2"
    assert row not in open_dataset(dataset.folder).rows()

    told = say(key)  # it stands already: the answer again, and no line more
    assert f"key {key} (revoked 20" in told and f"{times} times" in told
    assert "champion" in told and "what to do next:" in told
    assert "atelier train experiment=smoke" in told and "atelier onboard brand=x images=drawn" in told
    assert [line["action"] for line in revocation_lines(shelf)] == ["revoke", "found"]
    assert f"key {key}" in say()

    assert "may be learnt from again (line 3 of" in say(key, "undo=true", "--reason=it was a mistake")
    assert row in open_dataset(dataset.folder).rows()
    assert say() == "nothing is revoked\n"


def test_lineage_and_gate_tell_a_revoked_work_until_it_is_reinstated(
    shelf: RegistrySettings, dataset: Dataset, say: Say
) -> None:
    key = coloured_key(dataset)[1]
    say(key, "reason=asked", "who=me")
    adapter = resolve_model("models:/brand-x/1", shelf.store)
    tree = "\n".join(draw(ancestry(adapter, shelf)))
    assert f"saw revoked key {key} (line 1: asked), shown " in tree
    model, verdict = hold_against_gate(shelf, "backbone", 2)
    check = next(check for check in verdict.checks if check.check == "no_revoked_work")
    assert not check.passed and check.sentence.startswith(f"it saw revoked key {key} (line 1: asked), shown ")
    assert revoked_work_told(model, []).passed and "warning" in revoked_work_told(model, []).sentence
    model, _ = hold_against_gate(shelf, "brand-x", 1)
    assert "its base saw revoked key" in no_revoked_work(model, []).sentence
    assert no_revoked_work(hold_against_gate(shelf, "backbone", 1)[0], []).passed
    say(key, "undo=true", "reason=asked")
    assert no_revoked_work(hold_against_gate(shelf, "backbone", 2)[0], []).passed


def test_a_model_made_after_the_revocation_is_free_of_it(
    shelf: RegistrySettings, dataset: Dataset, say: Say, tmp_path: Path
) -> None:
    say(coloured_key(dataset)[1], "reason=asked")
    card = made_card("backbone", "third", dataset, 100)
    late = resolve_model(artifact(tmp_path / "late", card))
    assert [sighting.times for sighting in sightings(late, revocation_lines(shelf))] == [None]
    card["datasets"][0]["order"]["lists"] = [{"through": 2, "position": 0}]
    clean = resolve_model(artifact(tmp_path / "clean", card))
    assert sightings(clean, revocation_lines(shelf)) == []


def test_a_model_that_tells_no_order_gets_an_expected_number(dataset: Dataset) -> None:
    row, _ = coloured_key(dataset)
    card = made_card("backbone", "old", dataset, 1000)
    del card["datasets"][0]["order"]
    found = expected(card, card["datasets"][0], dataset, [row])
    places = balanced(dataset, dataset.rows(split="train"), SHARE)
    assert not found.is_exact
    assert found.times == pytest.approx(1000 * places.count(dataset.rows(split="train").index(row)) / len(places))
    everything = expected(card, card["datasets"][0], dataset, range(len(dataset)))
    assert everything.times == pytest.approx(1000)
    heldout = dataset.rows(split="heldout_pair")[:1]
    assert expected(card, card["datasets"][0], dataset, heldout).times == 0


def test_an_order_that_comes_out_otherwise_is_not_called_exact(dataset: Dataset) -> None:
    card = made_card("backbone", "other", dataset, 1000)
    order = card["datasets"][0]["order"]
    assert counted(order, dataset, [0]) is not None
    assert counted(order | {"sha256": "0" * 64}, dataset, [0]) is None
    assert counted(order | {"recipe": "another"}, dataset, [0]) is None


def test_a_whole_collection_a_creator_and_an_absent_dataset(
    shelf: RegistrySettings, dataset: Dataset, say: Say, tmp_path: Path
) -> None:
    record = dataset.records[dataset.rows(split="train")[0]]
    absent = made_card("backbone", "elsewhere", dataset, 1000)
    absent["datasets"][0] |= {"version": "ab" * 32}
    artifact(tmp_path / "models/elsewhere", absent)
    answer = json.loads(say(record.collection, "kind=collection", "reason=asked", "json=true"))
    assert answer["datasets"][0]["rows"] == dataset.card.collections[record.collection]
    assert answer["unknown_versions"] == {"ab" * 32: ["models/elsewhere"]}
    (tmp_path / "manifests").mkdir()
    origin = next(origin for origin in dataset.card.sources if origin.collection == record.collection)
    splits = {record.collection: {"train": 1}, "more": {"train": 3}}
    described = {"version": "ab" * 32, "collection_splits": splits, "sources": [vars(origin)]}
    (tmp_path / "manifests/base.json").write_text(json.dumps(described))
    answer = json.loads(say(record.creator, "kind=creator", "reason=asked", "json=true"))
    assert answer["unknown_versions"] == {}
    found = next(model for model in answer["models"] if model["reference"] == "models/elsewhere")
    assert (found["times"], found["exact"]) == (250, False)
    left = {it.creator for it in (dataset.records[row] for row in open_dataset(dataset.folder).rows())}
    assert record.creator not in left


def test_a_revocation_whose_writer_was_killed_is_finished_by_the_next(registry: RegistrySettings) -> None:
    revoke_key(registry, "a__b")
    registry.revoked.declare({"action": "revoke", "kind": "key", "value": "c__d", "reason": "r", "held": {}} | WHO)
    with registry.revoked.path.open("ab") as stream:
        stream.write(b'{"action":"rev')
    assert [one.value for one in load_revocations().in_force] == ["a__b", "c__d"]
    assert [line["value"] for line in revocation_lines(registry)] == ["a__b", "c__d"]
    assert not registry.revoked.intent_path.exists()
    assert [one.value for one in load_revocations().in_force] == ["a__b", "c__d"]


WHO = {"time": "2026-11-22T10:00:00.000+00:00", "who": "me"}


def test_models_are_told_once_and_a_lost_one_by_its_tags(shelf: RegistrySettings, tmp_path: Path) -> None:
    import shutil

    models = known_models(shelf, [tmp_path / "models"])
    assert [(model.kind, len(model.versions)) for model in models] == [("backbone", 1), ("backbone", 1), ("adapter", 1)]
    shutil.rmtree(shelf.store.artifact_root)
    lost = known_models(shelf, [])
    assert [model.card["name"] for model in lost] == ["backbone", "backbone", "brand-x"]
    assert lost[1].card["datasets"][0]["version"] == models[1].card["datasets"][0]["version"]
    assert lost[2].card["base"]["digest"] == lost[1].digest


MISTAKES = {
    ("dog",): "no reason is given: pass --reason TEXT",
    ("nowhere__dog", "reason=x"): "nothing is called 'nowhere__dog' in 1 known datasets",
    ("notto", "reason=x"): "did you mean noto",
    ("x", "kind=thing", "reason=x"): "kind=thing must be one of key, picture, collection, source, creator",
    ("noto", "undo=true", "reason=x"): "'noto' is not revoked by itself: what is revoked is nothing",
    ("noto", "raeson=x"): "there is no setting 'raeson'; did you mean 'reason'?",
}


@pytest.mark.parametrize(("words", "told"), MISTAKES.items(), ids=[" ".join(words) for words in MISTAKES])
def test_a_mistake_is_one_line_and_writes_nothing(
    registry: RegistrySettings, say: Say, words: tuple[str, ...], told: str
) -> None:
    assert told in say(*words, mistake=True)
    assert not registry.revoked.path.exists()


def test_a_word_that_may_mean_two_things_is_asked_back(registry: RegistrySettings, tmp_path: Path, say: Say) -> None:
    from PIL import Image

    from data.brand import brand_dataset

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (80 * number, 90, 10)).save(pictures / f"p{number}.png")
        (pictures / f"p{number}.txt").write_text(f"field {number}\n")
    made = brand_dataset(pictures, tmp_path / "twin", licence="MIT", name="twin", creator="twin")
    assert made.records[0].creator == made.records[0].collection == "twin"
    where = f"datasets=['{tmp_path}/twin']"
    assert "'twin' may be a collection or a creator: pass kind=" in say("twin", "reason=x", where, mistake=True)


def test_below_a_hidden_folder_datasets_are_found_and_hidden_ones_below_the_root_are_not(tmp_path: Path) -> None:
    for name in (".home/data/one", ".home/data/.two.partial/whole"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dataset.json").touch()
    root = tmp_path / ".home" / "data"
    assert folders_with("dataset.json", [root, tmp_path / "nowhere"]) == {root / "one"}


def test_a_manifest_that_is_none_does_not_keep_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one, other) = (tmp_path / "one.json", tmp_path / "other.json")
    one.write_text('{"version":')
    other.write_text("[]")
    revocation = Revocation(sequence=1, time="", who="me", reason="asked", kind="collection", value="noto")
    assert described(revocation, [one, other]) == {}
    assert f"{one} is no JSON" in capsys.readouterr().err
