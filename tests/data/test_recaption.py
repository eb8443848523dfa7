"""Captions leave a dataset as a table, and come back: what is edited differs, and nothing else."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.cache import Cache, content_key
from data.dataset import Dataset, open_dataset
from data.errors import DataError, DatasetError, SourceError
from data.recaption import COLUMNS, hand_out, read_edits, take_in
from data.sheet import write_sheet
from data.tabular import table_rows
from data.verify import verify

ATELIER = Path(sys.executable).with_name("atelier")


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, icons: int = ...) -> Dataset: ...


def rows_of(table: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in table_rows(table, ["key"], COLUMNS) if isinstance(row, dict)]


def write_rows(table: Path, rows: list[dict[str, Any]]) -> None:
    with table.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def samples(dataset: Dataset) -> dict[str, tuple[bytes, bytes]]:
    return {record.key: pair for record, pair in zip(dataset.records, dataset.samples(), strict=True)}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_an_unedited_table_changes_nothing(suffix: str, make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    table = tmp_path / f"captions{suffix}"
    assert hand_out(dataset, table) == len(dataset)
    assert [row["key"] for row in rows_of(table)] == [record.key for record in dataset.records]
    assert not read_edits(dataset, table).captions
    assert f"0 of {len(dataset)} samples" in take_in(dataset, table, tmp_path / "new")
    assert open_dataset(tmp_path / "new").card.version == dataset.card.version


def test_edited_samples_alone_differ_and_say_that_a_person_did_it(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    table = tmp_path / "captions.csv"
    hand_out(dataset, table)
    rows = rows_of(table)
    first, second = rows[0], rows[1]
    first["caption_1"], first["caption_2"] = "a small  grey tile", first["caption_1"]
    second["caption_3"] = "tile of the kitchen"
    write_rows(table, [first, second])  # rows that are left out stay as they are
    told = take_in(dataset, table, tmp_path / "new")
    assert f"2 of {len(dataset)} samples have other captions" in told
    new = verify(tmp_path / "new")
    before, after = samples(dataset), samples(new)
    assert {key for key in before if before[key] != after[key]} == {first["key"], second["key"]}
    assert all(before[key][1] == after[key][1] for key in before), "no picture is drawn again"
    edited = {record.key: record for record in new.records}
    one, two = edited[first["key"]], edited[second["key"]]
    old = next(record for record in dataset.records if record.key == first["key"])
    assert one.captions == ("a small grey tile", old.caption) and one.caption == one.captions[0]
    assert one.caption_sources == ("person", "name")
    assert two.caption_sources[-1] == "person" and two.caption_sources[0] == "name"
    assert (one.subject, one.split, one.licence, one.sha256) == (old.subject, old.split, old.licence, old.sha256)
    assert new.card.refused == dataset.card.refused and new.card.sources == dataset.card.sources
    assert take_in(dataset, table, tmp_path / "new") == told, "a second time finds it done"


def test_edited_captions_alone_are_encoded_anew(make_dataset: MakeDataset, tmp_path: Path) -> None:
    encoded: list[str] = []

    def encode_all(dataset: Dataset) -> None:
        captions = [caption for record in dataset.records for caption in record.captions]

        def encode(places: Sequence[int]) -> list[Tensor]:
            encoded.extend(captions[place] for place in places)
            return [torch.zeros(1) for _ in places]

        keys = [content_key(caption.encode()) for caption in captions]
        list(Cache(tmp_path / "cache", kind="text", encoder_sha256="e" * 64).entries(keys, encode))

    dataset = make_dataset()
    encode_all(dataset)
    assert len(encoded) > 1
    encoded.clear()
    table = tmp_path / "captions.csv"
    hand_out(dataset, table)
    row = rows_of(table)[0]
    write_rows(table, [row | {"caption_2": "quite another caption"}])
    take_in(dataset, table, tmp_path / "new")
    encode_all(open_dataset(tmp_path / "new"))
    assert encoded == ["quite another caption"]


def unknown(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row | {"key": "nobody"}]


def twice(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row, row]


def emptied(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row | {"caption_1": " "}]


def all_emptied(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row | {f"caption_{number}": "" for number in range(1, 5)}]


def fallen_behind(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row | {"caption_1": "mine", "exported": "captions-0123456789abcdef"}]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (unknown, r"row 1: there is no sample 'nobody'"),
        (twice, r"row 2: sample \S+ is listed twice"),
        (emptied, r"row 1 \(\S+\): caption_1 is empty"),
        (all_emptied, r"row 1 \(\S+\): caption_1 is empty"),
        (fallen_behind, r"row 1 \(\S+\): the dataset's captions are not those that were exported"),
    ],
)
def test_a_mistake_names_its_row(
    mistake: Callable[[dict[str, Any]], list[dict[str, Any]]], message: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset()
    table = tmp_path / "captions.csv"
    hand_out(dataset, table)
    write_rows(table, mistake(rows_of(table)[0]))
    with pytest.raises(DataError, match=message) as told:
        take_in(dataset, table, tmp_path / "new")
    assert "\n" not in str(told.value) and not (tmp_path / "new").exists()


def test_tables_and_folders_that_do_not_fit(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    table = tmp_path / "captions.csv"
    table.write_text("key,words\na,b\n")
    with pytest.raises(SourceError, match="lacks the column 'caption_1'; it has key, words"):
        take_in(dataset, table, tmp_path / "new")
    with pytest.raises(SourceError, match="is no table: name a"):
        hand_out(dataset, tmp_path / "captions.xlsx")
    hand_out(dataset, table)
    table.write_text(table.read_text(encoding="utf-8-sig") + "a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"is broken: 2 cells under 10 columns"):
        take_in(dataset, table, tmp_path / "new")
    hand_out(dataset, table)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DatasetError, match="exists and is not a dataset"):
        take_in(dataset, table, tmp_path / "mine")


def test_a_caption_may_not_name_a_held_out_subject(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(icons=21)
    held = next(record for record in dataset.records if record.split == "heldout_subject")
    shown = next(record for record in dataset.records if record.split == "train")
    table = tmp_path / "captions.csv"
    hand_out(dataset, table)
    row = next(row for row in rows_of(table) if row["key"] == shown.key)
    write_rows(table, [row | {"caption_2": f"A {held.caption}"}])
    with pytest.raises(DataError, match="is the name of a subject held out of training"):
        take_in(dataset, table, tmp_path / "new")


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_the_table(texts: list[str], tmp_path: Path) -> None:
    from data.recaption import _guarded, _unguarded, _write_text

    row = dict.fromkeys(COLUMNS, "") | {f"caption_{number}": text for number, text in enumerate(texts, start=1)}
    _write_text(tmp_path / "t.csv", [row], ",")
    (back,) = rows_of(tmp_path / "t.csv")
    assert [_unguarded(back[f"caption_{number}"]) for number in range(1, len(texts) + 1)] == texts
    assert not any(_guarded(text).startswith(("=", "+", "-", "@")) for text in texts)


def test_the_sheet_shows_pictures_and_escapes_what_is_said(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset()
    write_sheet(dataset, tmp_path / "sheet.html", most=5)
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<figure>") == 5 and f"5 of {len(dataset)} samples" in page
    assert dataset.records[0].key in page and "data:image/webp;base64," in page


def test_the_command_exports_and_imports(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset().folder

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [ATELIER, "captions", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "the captions of" in run(f"dir={folder}", "out=captions.csv", "sheet=my sheet.html")
    assert (tmp_path / "my sheet.html").is_file()
    text = (tmp_path / "captions.csv").read_text(encoding="utf-8")
    (tmp_path / "captions.csv").write_text(text.replace("dot 3,", "three points,", 1), encoding="utf-8")
    assert "new: 1 of " in run(f"dir={folder}", "from=captions.csv", "out=new")
    assert not list(tmp_path.glob(".*partial*"))
    wrong = subprocess.run([ATELIER, "captions", str(folder)], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "") and "out is not given" in wrong.stderr
