"""Fetching the base sets, describing the corpus, and cutting a sample from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from atelier import CONF_FOLDER
from data.corpus import compare, fetch
from data.dataset import Dataset, open_dataset
from data.errors import DatasetError, SourceError
from data.sample_cut import base_rows, cut
from data.verify import verify

MANIFEST = Path(__file__).resolve().parents[2] / "assets" / "corpus" / "base.json"


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, icons: int = ...) -> Dataset: ...


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an npm first on the path that does as ``script`` says."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_only_missing_sets_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # npm pack PACKAGE --loglevel=error --pack-destination FOLDER
    fake_npm(tmp_path / "bin", f'echo "$2" >> {tmp_path}/calls; : > "$5/iconify-json-dots-1.0.0.tgz"', monkeypatch)
    for _ in range(2):
        fetch(tmp_path / "packages", {"dots": "1.0.0"})
    assert (tmp_path / "calls").read_text() == "@iconify-json/dots@1.0.0\n"
    assert [file.name for file in (tmp_path / "packages").iterdir()] == ["iconify-json-dots-1.0.0.tgz"]


def test_a_failing_npm_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", "echo no network >&2; exit 1", monkeypatch)
    with pytest.raises(SourceError, match=r"npm pack @iconify-json/dots@1\.0\.0 failed: no network"):
        fetch(tmp_path / "packages", {"dots": "1.0.0"})
    assert not list((tmp_path / "packages").iterdir())


def test_a_missing_npm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"npm is not installed and .* lacks 1 icon sets: install Node"):
        fetch(tmp_path / "packages", {"dots": "1.0.0"})


def test_the_manifest_describes_the_corpus(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset, manifest = make_dataset(), tmp_path / "manifest" / "base.json"
    assert "is not there" in compare(dataset, manifest, write=False)
    compare(dataset, manifest, write=True)
    assert "is the version" in compare(dataset, manifest, write=False)
    other = make_dataset("other")
    described = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(described | {"version": "0" * 64}))
    assert "describes version 000" in compare(other, manifest, write=False)
    assert sum(described["collection_splits"]["dots"].values()) == 12


def test_the_shipped_manifest_is_of_the_pinned_base_sets() -> None:
    described = json.loads(MANIFEST.read_bytes())
    pinned = yaml.safe_load((CONF_FOLDER / "source" / "base.yaml").read_text())["collections"]
    packages = {source["collection"]: source["uri"].rsplit("@", 1)[1] for source in described["sources"]}
    assert packages == pinned
    assert described["count"] == sum(described["collections"].values()) == sum(described["splits"].values())
    assert not packages.keys() & {"openmoji", "emojione", "streamline-ultimate-color", "logos", "simple-icons"}


def test_a_cut_keeps_records_and_pictures(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    rows = [9, 3, 17]
    part = cut(dataset, rows, tmp_path / "part")
    assert part.records == [dataset.records[row] for row in sorted(rows)]
    assert [part.picture_bytes(row) for row in range(3)] == [dataset.picture_bytes(row) for row in sorted(rows)]
    assert cut(dataset, rows, tmp_path / "part").card == part.card
    assert len(verify(tmp_path / "part")) == 3


def test_base_rows_take_the_same_subjects_of_every_set(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    rows = base_rows(dataset, {"dots": 4, "tiles": 4}, seed=0)
    subjects = {
        name: {dataset.records[row].subject for row in rows if dataset.records[row].collection == name}
        for name in ("dots", "tiles")
    }
    assert subjects["dots"] == subjects["tiles"]
    assert rows == base_rows(dataset, {"dots": 4, "tiles": 4}, seed=0)
    with pytest.raises(DatasetError, match="lacks noto"):
        base_rows(dataset, {"noto": 1}, seed=0)


def test_the_shipped_base_sample_is_a_part_of_the_described_corpus() -> None:
    sample = open_dataset(MANIFEST.parents[1] / "sample" / "base")
    described = json.loads(MANIFEST.read_bytes())
    assert {source.uri for source in sample.card.sources} <= {source["uri"] for source in described["sources"]}
    assert all(sample.card.splits.values())
