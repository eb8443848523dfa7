"""The index: what is written is read, little memory is held, and no damaged byte leads a reader astray."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier import PROJECT_ROOT
from data import index as index_module
from data.errors import DatasetError
from data.index import SCHEMA, IndexLine, IndexWriter, open_index, subject_hash


def line(number: int, **values: object) -> IndexLine:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    told = {
        "key": f"key-{number}",
        "shard": number // 7,
        "offset": number % 7 * 512,
        "length": 512 + number,
        "sha256": digest,
        "licence": "MIT" if number % 2 else "CC0-1.0",
        "collection": f"set-{number // 40}",
        "style": "flat",
        "split": "train" if number % 5 else "heldout_pair",
        "monochrome": number % 3 == 0,
        "caption_sha256": digest[::-1],
        "subject_hash": subject_hash(str(number)),
        "width_px": 0,
        "height_px": number % 65_536,
        "source": "npm:set",
    }
    return IndexLine(**told | values)  # type: ignore[arg-type]


def write(file: Path, lines: list[IndexLine]) -> str:
    writer = IndexWriter(file)
    for one in lines:
        writer.add(one)
    writer.close()
    return writer.sha256


@given(numbers=st.lists(st.integers(0, 300), max_size=70), batch=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_read(numbers: list[int], batch: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("index") / "index.arrow"
    lines = [line(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:  # words that come late are new to later batches alone
        patch.setattr(index_module, "ROWS_PER_BATCH", batch)
        sha256 = write(file, lines)
    index = open_index(file)
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(index) == lines == [index[row] for row in range(len(index))]
    assert index.keys().to_pylist() == [one.key for one in lines]
    assert index.column("offset").tolist() == [one.offset for one in lines]
    assert index.column("monochrome").tolist() == [one.monochrome for one in lines]
    assert [digest.tobytes().hex() for digest in index.column("sha256")] == [one.sha256 for one in lines]
    assert [index.words("split")[code] for code in index.column("split")] == [one.split for one in lines]
    assert index.equals("collection", "set-1").tolist() == [one.collection == "set-1" for one in lines]
    assert not index.equals("collection", "nowhere").any()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    lines = [line(number) for number in range(90)]
    assert write(tmp_path / "one", lines) == write(tmp_path / "two", lines)


def test_a_subject_hash_is_the_head_of_its_digest() -> None:
    assert f"{subject_hash('dog'):016x}" == hashlib.sha256(b"dog").hexdigest()[:16]


def test_a_row_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "index.arrow", [line(1)])
    with pytest.raises(IndexError, match="row 1 of an index of 1 rows"):
        open_index(tmp_path / "index.arrow")[1]


def test_no_damaged_byte_leads_a_reader_astray(tmp_path: Path) -> None:
    """Each is found to be damaged or reads as other values: no crash, no traceback of another library."""
    file = tmp_path / "index.arrow"
    lines = [line(number) for number in range(60)]
    write(file, lines)
    sound = file.read_bytes()
    chance = np.random.default_rng(0)
    refused = 0
    for offset in range(0, len(sound), 11):
        damaged = bytearray(sound)
        damaged[offset] ^= int(chance.integers(1, 256))
        file.write_bytes(damaged)
        try:
            assert len(list(open_index(file))) == 60
        except DatasetError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused
    for length in (0, 1, 8, len(sound) // 2, len(sound) - 1):
        file.write_bytes(sound[:length])
        with pytest.raises(DatasetError, match=r"index\.arrow is broken \(.*\): copy it again"):
            open_index(file)


def test_an_index_of_200_000_rows_opens_in_little_memory(tmp_path: Path) -> None:
    """The benchmark has ten million; this holds the bound per row, loosely."""
    script = PROJECT_ROOT / "tests" / "benchmarks" / "bench_index.py"
    done = subprocess.run(
        [sys.executable, str(script), "--rows", "200000", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == told["train_rows"] + told["heldout_rows"] == 200_000
    # Ten million rows in less than a gigabyte is 100 bytes a row.
    assert told["opened_bytes"] < 100 * 200_000 + 30_000_000
    assert {"key", "sha256", "offset"} <= set(SCHEMA.names)
