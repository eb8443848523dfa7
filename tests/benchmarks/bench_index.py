"""How fast does an index of ten million samples open, and how much memory does the dataset then hold?

Writes a synthetic index, opens its folder in a fresh process, chooses the rows of split train, and prints seconds and
resident memory; the last line is JSON.  Run with: python tests/benchmarks/bench_index.py [--rows N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from data.dataset import DatasetCard, open_dataset  # noqa: E402
from data.index import INDEX_FILE, ROWS_PER_BATCH, SCHEMA  # noqa: E402
from data.order import SampleOrder  # noqa: E402
from data.shards import ShardCard  # noqa: E402

SPLITS, COLLECTIONS = ["train", "heldout_subject"], [f"set-{number}" for number in range(500)]
SAMPLE_BYTES = 6_144


def resident_bytes() -> int:
    """Memory of this process that is in RAM, mapped files' pages included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def write_index(file: Path, rows: int) -> None:
    """Columns as ``IndexWriter`` writes them, made at once instead of line by line."""
    chance = np.random.default_rng(0)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for begin in range(0, rows, ROWS_PER_BATCH):
            writer.write_batch(batch(np.arange(begin, min(begin + ROWS_PER_BATCH, rows)), chance))


def batch(numbers: Any, chance: np.random.Generator) -> Any:
    """One batch of the index."""
    count = len(numbers)

    def words(known: list[str]) -> Any:
        codes = chance.integers(0, len(known), count, dtype=np.int32)
        return pa.DictionaryArray.from_arrays(codes, pa.array(known))

    def digests() -> Any:
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(32), count, [None, pa.py_buffer(chance.bytes(32 * count))]
        )

    columns = {
        "key": pa.array([f"set-of-some-drawings__drawing-{number:09d}" for number in numbers]),
        "shard": pa.array(np.zeros(count, np.int32)),
        "offset": pa.array(numbers * SAMPLE_BYTES),
        "length": pa.array(np.full(count, SAMPLE_BYTES, np.int32)),
        "licence": words(["MIT", "Apache-2.0", "CC-BY-4.0"]),
        "collection": words(COLLECTIONS),
        "style": words(COLLECTIONS),
        "split": words(SPLITS),
        "monochrome": pa.array(chance.random(count) < 0.5),
        "subject_hash": pa.array(chance.integers(0, 2**63, count, dtype=np.uint64)),
        "width_px": pa.array(np.zeros(count, np.uint16)),
        "height_px": pa.array(np.zeros(count, np.uint16)),
        "source": words(COLLECTIONS),
        "sha256": digests(),
        "caption_sha256": digests(),
    }
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def write_folder(folder: Path, rows: int) -> None:
    """A dataset folder whose one shard is a hole: nothing is read from it here."""
    write_index(folder / INDEX_FILE, rows)
    shard_bytes = rows * SAMPLE_BYTES
    with (folder / "shard-000000.tar").open("wb") as shard:
        shard.truncate(shard_bytes)
    shard_card = ShardCard(file="shard-000000.tar", sha256="0" * 64, bytes=shard_bytes, samples=rows)
    counts: dict[str, Any] = {name: {} for name in ("licences", "collections", "splits", "refused")}
    told: dict[str, Any] = {"name": "synthetic", "version": "0" * 64, "policy": "research", "picture_px": 64}
    card = DatasetCard(**told, **counts, count=rows, shards=[shard_card], sources=[])
    (folder / "dataset.json").write_text(card.to_json())


def measure(folder: Path) -> dict[str, Any]:
    """In a fresh process: open, choose the rows to learn from, find a batch in the middle of an epoch."""
    before = resident_bytes()
    begin = time.perf_counter()
    dataset = open_dataset(folder)
    opened = time.perf_counter()
    opened_bytes = resident_bytes() - before
    train, heldout = dataset.select(split="train"), dataset.select(split="heldout_subject")
    chosen = time.perf_counter()
    rows = SampleOrder(train, seed=0).at(len(train) // 2, 512)
    spans = [dataset.index.column(name)[rows] for name in ("shard", "offset", "length")]
    assert all(len(span) == 512 for span in spans)
    return {
        "rows": len(dataset),
        "train_rows": len(train),
        "heldout_rows": len(heldout),
        "open_seconds": round(opened - begin, 3),
        "choose_seconds": round(chosen - opened, 3),
        "batch_seconds": round(time.perf_counter() - chosen, 3),
        "opened_bytes": opened_bytes,
        "resident_bytes": resident_bytes(),
    }


def main() -> None:
    """Write, then measure in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", action="store_true", help="of a folder that was written before")
    told = parser.parse_args()
    if told.measure:
        print(json.dumps(measure(told.folder)))
        return
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        write_folder(Path(folder), told.rows)
        index_bytes = (Path(folder) / INDEX_FILE).stat().st_size
        again = [sys.executable, __file__, "--measure", "--folder", folder]
        done = subprocess.run(again, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    print(f"{told.rows:,} rows, index of {index_bytes / 1e6:,.0f} MB")
    print(f"open {figures['open_seconds']} s, rows of two splits {figures['choose_seconds']} s")
    print(f"a batch of 512 from the middle of an epoch {figures['batch_seconds']} s, the columns' first use included")
    print(
        f"memory: {figures['opened_bytes'] / 1e6:,.0f} MB more once open, {figures['resident_bytes'] / 1e6:,.0f} MB all"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
