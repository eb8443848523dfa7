"""A folder of broken, oversized, mislabelled and malicious files: none crashes, none enters, each is told why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from data.build import BuildSettings, build_dataset
from data.checks import FileChecks
from data.dataset import Dataset
from data.pictures import FolderSource
from data.policy import load_policy
from data.render import Rendered, Unusable, render
from tests.data.hostile import FILES, ODD_FILES, ODD_NAMES, Hostile, neighbours

CHECKS = FileChecks()


def test_there_are_enough_kinds() -> None:
    kinds = [*FILES, *ODD_FILES, *ODD_NAMES]
    assert len({kind.name for kind in kinds}) == len(kinds) >= 100
    assert len({kind.reason for kind in kinds}) >= 15


@pytest.mark.parametrize("hostile", [*FILES, *ODD_FILES], ids=lambda hostile: str(hostile.name))
def test_a_hostile_file_is_refused_for_its_own_reason(hostile: Hostile, tmp_path: Path) -> None:
    result = render(hostile.write(tmp_path), monochrome=False, picture_px=32, checks=CHECKS)
    assert isinstance(result, Unusable), "it entered"
    assert hostile.detail in result.detail
    if hostile not in ODD_FILES:
        assert result.reason == hostile.reason
    assert result.reason in {"not a regular file", "unreadable file", hostile.reason}
    assert result.detail or result.reason == "empty picture"
    assert len(result.detail) <= 300 and result.detail.isprintable()


@pytest.mark.parametrize("name", neighbours())
def test_a_sound_neighbour_enters(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(neighbours()[name])
    assert isinstance(render(file, monochrome=False, picture_px=32, checks=CHECKS), Rendered)


@dataclass(frozen=True)
class Ingested:
    """What came of a folder of them all; ``expected`` is the reason by key."""

    dataset: Dataset
    expected: dict[str, str]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """The folder, ingested by two processes."""
    folder = tmp_path_factory.mktemp("pictures")
    files = {hostile.write(folder): hostile.reason for hostile in [*FILES, *ODD_FILES, *ODD_NAMES]}
    for name, content in neighbours().items():
        (folder / f"sound-{name}").write_bytes(content)
    for file in list(folder.iterdir()):
        if file.name.isprintable():
            file.with_suffix(".json").write_text(json.dumps({"caption": f"a {file.stem}"}))
    source = FolderSource(folder, licence="LicenseRef-Own-Work", collection="found")
    settings = BuildSettings(name="hostile", picture_px=64, workers=2, samples_per_shard=50)
    out = tmp_path_factory.mktemp("out") / "dataset"
    dataset = build_dataset(source, load_policy("commercial"), out, settings)
    return Ingested(dataset, {source.key(file): reason for file, reason in files.items()})


def test_none_enters_a_dataset_and_all_neighbours_do(ingested: Ingested) -> None:
    dataset = ingested.dataset
    names = {dataset.record(row).source_uri.rpartition("/")[2] for row in range(len(dataset))}
    assert names == {f"sound-{name}" for name in neighbours()}


def test_each_is_listed_with_its_reason_and_counted(ingested: Ingested) -> None:
    lines = (ingested.dataset.folder / "refusals.jsonl").read_text("utf-8").splitlines()
    told = {item["key"]: item["reason"] for item in map(json.loads, lines)}
    assert told == ingested.expected
    assert dict(ingested.dataset.card.refused) == dict(Counter(told.values()))
