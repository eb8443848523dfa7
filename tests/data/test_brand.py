"""A brand's pictures as they are handed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import pytest
from PIL import Image

from data.brand import brand_dataset
from data.build import BuildSettings, build_dataset
from data.dataset import Dataset
from data.errors import PolicyError, SourceError
from data.pictures import FolderSource
from data.policy import load_policy

OWN = "LicenseRef-Own-Work"


class MakeDataset(Protocol):
    def __call__(self, out: str = ...) -> Dataset: ...


def test_a_folder_becomes_a_dataset_once(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset = brand_dataset(pictures, out, licence=OWN)
    assert sorted(record.caption for record in dataset.records) == ["a blue field", "a green field", "a red field"]
    assert {record.subject for record in dataset.records} == {"blue-field", "green-field", "red-field"}
    assert dataset.card.licences == {OWN: 3}
    written = (out / "dataset.json").stat().st_mtime_ns
    assert brand_dataset(pictures, out, licence=OWN).card == dataset.card
    assert (out / "dataset.json").stat().st_mtime_ns == written


def test_new_pictures_replace_the_dataset(pictures: Path, tmp_path: Path) -> None:
    first = brand_dataset(pictures, tmp_path / "out", licence=OWN)
    Image.new("RGB", (64, 64), "black").save(pictures / "p9.webp")
    (pictures / "p9.json").write_text(json.dumps({"caption": "a black field", "licence": "CC-BY-4.0", "creator": "B"}))
    second = brand_dataset(pictures, tmp_path / "out", licence=OWN)
    assert len(second) == len(first) + 1
    assert second.card.licences == {"CC-BY-4.0": 1, OWN: 3}


def test_captions_from_a_table_and_licence_from_a_file(pictures: Path, tmp_path: Path) -> None:
    for note in pictures.glob("*.txt"):
        note.unlink()
    (pictures / "captions.csv").write_text("file,caption\np0.png,red\np0.png,scarlet\np1.png,green\np2.png,blue\n")
    (pictures / "LICENSE").write_text("All of these.\nSPDX-License-Identifier: CC-BY-4.0\n")
    dataset = brand_dataset(pictures, tmp_path / "out")
    assert next(record for record in dataset.records if record.caption == "red").captions == ("red", "scarlet")
    assert dataset.card.licences == {"CC-BY-4.0": 3}


def test_a_dataset_is_taken_as_it_is(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    assert brand_dataset(dataset.folder, tmp_path / "out").card == dataset.card
    assert not (tmp_path / "out").exists()


def test_a_dataset_must_meet_the_policy(tmp_path: Path) -> None:
    learn = Path(__file__).resolve().parents[2] / "assets" / "sample" / "openmoji-learn"
    assert len(brand_dataset(learn, tmp_path, policy="share_alike")) == 60
    with pytest.raises(PolicyError, match="CC-BY-SA-4"):
        brand_dataset(learn, tmp_path, policy="commercial")


def spoil_caption(folder: Path) -> None:
    (folder / "p1.txt").unlink()
    (folder / "p2.txt").write_text(" \n")


def spoil_picture(folder: Path) -> None:
    file = folder / "p1.png"
    file.write_bytes(file.read_bytes()[:60])


def spoil_size(folder: Path) -> None:
    Image.new("RGB", (16, 16)).save(folder / "p1.png")


def spoil_licence(folder: Path) -> None:
    (folder / "p1.json").write_text('{"caption": "a", "licence": "CC-BY-NC-4.0"}')


def spoil_json(folder: Path) -> None:
    (folder / "p1.json").write_text("[1]")


def spoil_text(folder: Path) -> None:
    (folder / "p1.txt").write_bytes(b"\xff\xfe\xff")


def spoil_table(folder: Path) -> None:
    (folder / "captions.csv").write_text("picture;words\n")


def spoil_table_name(folder: Path) -> None:
    (folder / "captions.csv").write_text("file,caption\np7.png,a\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_caption, r"2 pictures in .* cannot be used: p1\.png, p2\.png: caption missing"),
        (spoil_picture, r"p1\.png: broken picture"),
        (spoil_size, r"p1\.png: picture too small \(16x16"),
        (spoil_licence, r"p1\.png: licence not in policy \(licence CC-BY-NC-4\.0"),
        (spoil_json, r"p1\.json is not a JSON object"),
        (spoil_text, r"p1\.txt is not UTF-8"),
        (spoil_table, r"captions\.csv must start with the line file,caption"),
        (spoil_table_name, r"names 'p7\.png', which is not in"),
    ],
)
def test_unusable_files_are_named(spoil: object, message: str, pictures: Path, tmp_path: Path) -> None:
    assert callable(spoil)
    spoil(pictures)
    with pytest.raises(SourceError, match=message):
        brand_dataset(pictures, tmp_path / "out", licence=OWN)
    assert not (tmp_path / "out").exists()


def test_a_licence_must_be_stated(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="licence missing"):
        brand_dataset(pictures, tmp_path / "out")
    (pictures / "LICENSE").write_text("Permission is hereby granted,\nfree of charge\n")
    with pytest.raises(SourceError, match="names no SPDX licence"):
        brand_dataset(pictures, tmp_path / "out")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        brand_dataset(tmp_path, tmp_path / "out", licence=OWN)
    with pytest.raises(SourceError, match="is not a folder"):
        brand_dataset(tmp_path / "nowhere", tmp_path / "out", licence=OWN)


def test_ingest_counts_a_missing_caption_and_goes_on(pictures: Path, tmp_path: Path) -> None:
    spoil_caption(pictures)
    source = FolderSource(pictures, licence=OWN, creator="B. Owner")
    dataset = build_dataset(source, load_policy("commercial"), tmp_path / "out", BuildSettings(name="own", workers=1))
    assert len(dataset) == 1
    assert dataset.card.refused == {"caption missing": 2}
    assert dataset.records[0].creator == "B. Owner"
    assert dataset.records[0].source_uri == "folder:pictures/p0.png"


def test_keys_tell_apart_pictures_of_one_name(pictures: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(pictures / "p0.webp")
    (pictures / "more").mkdir()
    Image.new("RGB", (64, 64), "gray").save(pictures / "more" / "p0.png")
    (pictures / "more" / "p0.txt").write_text("a gray field")
    dataset = brand_dataset(pictures, tmp_path / "out", licence=OWN)
    assert len({record.key for record in dataset.records}) == len(dataset) == 5
