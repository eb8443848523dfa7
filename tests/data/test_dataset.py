"""Reading a dataset, by our reader and by webdataset's, and finding what is damaged."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from data.dataset import Dataset, on_ground, open_dataset
from data.errors import DatasetError
from data.index import open_index
from data.record import canonical_json
from data.shards import ShardWriter
from data.verify import verify

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample"


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, icons: int = ...) -> Dataset: ...


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset()


def test_rows_records_and_pictures_agree(dataset: Dataset) -> None:
    assert len(dataset) == len(dataset.records) == dataset.card.count == 24
    assert len(dataset.card.shards) == 5
    for row, record in enumerate(dataset.records):
        assert dataset.index[row].key == record.key
        assert dataset.picture(row).mode == "RGBA"
        assert dataset.picture(row).size == (32, 32)
    assert len(dataset.rows(collection="dots")) == 12
    assert sum(len(dataset.rows(split=split)) for split in dataset.card.splits) == 24
    assert {dataset.records[row].monochrome for row in dataset.rows(collection="tiles", split="train")} == {False}


# It leaves a shard's file to the garbage collector, once it is read.
@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(dataset: Dataset) -> None:
    shards = [str(dataset.folder / shard.file) for shard in dataset.card.shards]
    theirs = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    gc.collect()
    assert [sample["__key__"] for sample in theirs] == [record.key for record in dataset.records]
    for row, sample in enumerate(theirs):
        assert sample["webp"] == dataset.picture_bytes(row)
        assert sample["json"] == dataset.records[row].to_json()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_hugging_face_datasets_streams_the_same_samples(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    shards = [str(dataset.folder / shard.file) for shard in dataset.card.shards]
    theirs = datasets.load_dataset("webdataset", data_files={"train": shards}, split="train", streaming=True)
    count = 0
    for row, sample in enumerate(theirs):
        record = dataset.records[row]
        assert sample["__key__"] == record.key and sample["json"]["caption"] == record.caption
        assert sample["json"]["licence"] == record.licence
        assert sample["webp"].convert("RGBA").tobytes() == dataset.picture(row).tobytes()
        count += 1
    assert count == len(dataset)


def test_a_dataset_can_be_sent_to_another_process(dataset: Dataset) -> None:
    sent = pickle.dumps(dataset)
    assert pickle.loads(sent).picture_bytes(3) == dataset.picture_bytes(3)
    assert len(sent) < 6000, "what is sent is where the rows lie, not the rows"


def test_ground_shows_where_a_picture_is_clear() -> None:
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((0, 0), (10, 20, 30, 255))
    assert [on_ground(half, "#ff0000").getpixel((x, 0)) for x in range(2)] == [(10, 20, 30), (255, 0, 0)]
    assert on_ground(half).getpixel((1, 0)) == (255, 255, 255)


def test_a_sound_dataset_verifies(dataset: Dataset) -> None:
    assert verify(dataset.folder).card == dataset.card


def test_one_flipped_byte_is_found_wherever_it_lies(dataset: Dataset) -> None:
    shard = dataset.folder / "shard-000000.tar"
    sound = shard.read_bytes()
    first = dataset.index[0]
    for offset in (*range(0, first.length, 97), len(sound) - 1):
        damaged = bytearray(sound)
        damaged[offset] ^= 0x10
        shard.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"shard-000000\.tar") as failure:
            verify(dataset.folder)
        inside = sound[offset] != 0 and offset < first.length
        assert first.key in str(failure.value) or not inside or "between its samples" in str(failure.value)
    shard.write_bytes(sound)
    verify(dataset.folder)


def test_a_flipped_byte_of_a_picture_names_its_sample(dataset: Dataset) -> None:
    row = 7
    line = dataset.index[row]
    shard = dataset.folder / dataset.card.shards[line.shard].file
    content = bytearray(shard.read_bytes())
    content[content.index(dataset.picture_bytes(row), line.offset) + 30] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{shard.name}: sample {line.key} is damaged"):
        verify(dataset.folder)


def test_a_flipped_byte_of_the_index_is_found_and_one_of_a_row_names_its_sample(dataset: Dataset) -> None:
    file = dataset.folder / "index.arrow"
    sound = file.read_bytes()
    digest = sound.index(bytes.fromhex(dataset.index[9].sha256))
    for offset in (digest, digest + 31):
        file.write_bytes(flipped(sound, offset))
        with pytest.raises(DatasetError, match=rf"index\.arrow disagrees: .*sample {dataset.index[9].key} is damaged"):
            verify(dataset.folder)
    for offset in range(0, len(sound), 211):  # headers, padding and words as well
        file.write_bytes(flipped(sound, offset))
        edit(dataset.folder / "dataset.json", index_sha256=hashlib.sha256(sound).hexdigest())
        with pytest.raises(DatasetError, match=r"index\.arrow|index rows"):
            verify(dataset.folder)


def flipped(content: bytes, offset: int) -> bytes:
    damaged = bytearray(content)
    damaged[offset] ^= 0x10
    return bytes(damaged)


def edit(file: Path, **changes: Any) -> None:
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | changes))


def damage_missing_shard(folder: Path) -> None:
    (folder / "shard-000001.tar").unlink()


def damage_cut_shard(folder: Path) -> None:
    shard = folder / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])


def damage_index(folder: Path) -> None:
    (folder / "index.arrow").write_bytes((folder / "index.arrow").read_bytes().replace(b"MIT", b"ISC"))


def damage_cut_index(folder: Path) -> None:
    (folder / "index.arrow").write_bytes((folder / "index.arrow").read_bytes()[:-100])


def damage_missing_index(folder: Path) -> None:
    (folder / "index.arrow").unlink()


def damage_foreign_index(folder: Path) -> None:
    table = pa.table({"key": ["one"]})
    with pa.OSFile(str(folder / "index.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def damage_version(folder: Path) -> None:
    edit(folder / "dataset.json", version="0" * 64)


def damage_count(folder: Path) -> None:
    edit(folder / "dataset.json", licences={"MIT": 23})


def damage_attribution(folder: Path) -> None:
    (folder / "ATTRIBUTION.md").write_text("mine")


def damage_refusals(folder: Path) -> None:
    (folder / "refusals.jsonl").write_text("?\n")


def damage_card(folder: Path) -> None:
    (folder / "dataset.json").write_text("{}")


def damage_no_card(folder: Path) -> None:
    (folder / "dataset.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing_shard, r"lacks shard-000001\.tar"),
        (damage_cut_shard, r"shard-000001\.tar has .* bytes, not"),
        (damage_index, r"index\.arrow disagrees"),
        (damage_cut_index, r"index\.arrow is broken \(.*\): copy it again"),
        (damage_missing_index, r"lacks index\.arrow, which dataset\.json needs"),
        (damage_foreign_index, r"index\.arrow has other columns"),
        (damage_version, "not the Merkle root"),
        (damage_count, "miscounts its licences"),
        (damage_attribution, r"ATTRIBUTION\.md is missing or not"),
        (damage_refusals, r"refusals\.jsonl"),
        (damage_card, r"dataset\.json is broken"),
        (damage_no_card, r"is not a dataset: it has no dataset\.json"),
    ],
)
def test_other_damage_is_named(damage: Any, message: str, dataset: Dataset) -> None:
    damage(dataset.folder)
    with pytest.raises(DatasetError, match=message):
        verify(dataset.folder)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is not a dataset"):
        open_dataset(tmp_path)


@pytest.fixture
def old(dataset: Dataset) -> Path:
    """Return a dataset with the index of the first format in place of its own."""
    lines = []
    for line in dataset.index:
        values = {name: getattr(line, name) for name in ("key", "offset", "length", "sha256", "licence")}
        values |= {"caption_sha256": line.caption_sha256, "shard": dataset.card.shards[line.shard].file}
        lines.append(canonical_json(values) + b"\n")
    (dataset.folder / "index.jsonl").write_bytes(b"".join(lines))
    (dataset.folder / "index.arrow").unlink()
    edit(dataset.folder / "dataset.json", index_sha256="", format="atelier-dataset-1")
    return dataset.folder


@pytest.mark.parametrize(
    ("sound", "broken", "message"),
    [
        (b'"MIT"', b'"ISC"', r"index\.jsonl disagrees: .* is damaged"),
        (b"{", b"{{", r"index\.jsonl line 1 is broken"),
        (b"shard-000000", b"shard-000009", r"index\.jsonl names shard-000009\.tar, which dataset\.json does not list"),
        (b'"length":', b'"length":-', r"index\.jsonl line 1 is broken: -\d+ is no place in a shard"),
    ],
)
def test_damage_to_an_index_of_the_first_format_is_named(sound: bytes, broken: bytes, message: str, old: Path) -> None:
    index = old / "index.jsonl"
    assert len(verify(old)) == 24
    index.write_bytes(index.read_bytes().replace(sound, broken, 1))
    with pytest.raises(DatasetError, match=message):
        verify(old)


def test_a_dataset_of_the_first_format_answers_as_one_of_the_second(old: Path, tmp_path: Path) -> None:
    first = open_dataset(old)
    writer = ShardWriter(tmp_path, 4000)
    for row, record in enumerate(first.records):
        writer.write(record, first.picture_bytes(row))
    writer.close()
    second = open_index(tmp_path / "index.arrow")
    one, two = ([replace(line, shard=0, offset=0, source="") for line in index] for index in (first.index, second))
    assert one == two
    for split in first.card.splits:
        assert first.rows(split=split) == np.flatnonzero(second.equals("split", split)).tolist()


def test_the_croissant_file_lists_each_shard(dataset: Dataset) -> None:
    document = json.loads((dataset.folder / "croissant.json").read_text())
    shards = {item["@id"]: item["sha256"] for item in document["distribution"] if item["@type"] == "cr:FileObject"}
    assert shards == {shard.file: shard.sha256 for shard in dataset.card.shards}
    assert document["license"] == ["https://spdx.org/licenses/MIT"]


@pytest.mark.parametrize(("name", "count"), [("base", 1516), ("openmoji-learn", 60), ("openmoji-judge", 300)])
def test_the_shipped_samples_verify(name: str, count: int) -> None:
    assert len(verify(SAMPLE / name)) == count


def test_the_shipped_brand_is_judged_by_other_subjects_than_it_is_learnt_from() -> None:
    learn, judge = open_dataset(SAMPLE / "openmoji-learn"), open_dataset(SAMPLE / "openmoji-judge")
    learnt, judged = ({record.subject for record in dataset.records} for dataset in (learn, judge))
    assert not learnt & judged
    assert {record.split for record in learn.records} == {"train"}
    assert judge.card.splits["heldout_subject"] == 100
    assert learn.card.licences == {"CC-BY-SA-4.0": 60}
    assert Image.open(io.BytesIO(learn.picture_bytes(0))).size == (128, 128)
