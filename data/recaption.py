"""The verb ``captions``: hands a dataset's captions out as a table for people to edit, and takes it in again.

    atelier captions dir=DIR out=captions.csv sheet=captions.html
    atelier captions dir=DIR from=captions.csv out=NEW

A row a sample: its key, up to four captions, and the digest of the captions that it was exported with, by which a
table that has fallen behind its dataset is known. What comes in again is a dataset of its own: edited records differ,
every other sample is the same byte for byte, so that no picture is drawn again and no other caption is encoded again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.build import finished
from data.dataset import Dataset, open_dataset
from data.errors import DataError, DatasetError, SourceError
from data.notes import Unreadable, clean, subject_of
from data.partial import WHOLE, partial_file, partial_folder
from data.record import MAX_CAPTIONS, Record, Refused
from data.settings import require
from data.sheet import write_sheet
from data.tabular import DELIMITERS, Row, table_rows
from data.writer import NEAR_COPIES_FILE, REFUSALS_FILE, DatasetWriter, Provenance

CAPTION_COLUMNS = tuple(f"caption_{number}" for number in range(1, MAX_CAPTIONS + 1))
COLUMNS = ("key", *CAPTION_COLUMNS, "sources", "subject", "collection", "split", "exported")
PERSON, UNSTATED = "person", "unstated"
ROWS_PER_GROUP = 4096
_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would run what starts so


class Edits(NamedTuple):
    """The captions of each edited sample by its key, and the digest that tells these edits from others."""

    captions: Mapping[str, tuple[str, ...]]
    sha256: str


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="captions")
def main(config: DictConfig) -> None:
    """Export or import, as the command line says."""
    require(config, "dir", "the folder of the dataset")
    require(config, "out", "the table to write, or with from=TABLE the folder of the new dataset")
    dataset, out = open_dataset(config.dir), Path(config.out)
    if config["from"] is not None:
        print(take_in(dataset, Path(config["from"]), out))
        return
    count = hand_out(dataset, out)
    print(f"{out}: the captions of {count:,} samples; edit them and run: atelier captions dir={config.dir} from={out}")
    if config.sheet is not None:
        write_sheet(dataset, Path(config.sheet), most=config.sheet_pictures)
        print(f"{config.sheet}: the pictures with their captions")


def hand_out(dataset: Dataset, out: Path) -> int:
    """Write every sample's captions as a table, a row each; returns how many.

    Raises:
        SourceError: ``out`` is neither .csv, .tsv nor .parquet.
    """
    rows = _shown(_row_of(record) for record in dataset.each_record())
    with partial_file(out) as partial:
        if out.suffix == ".parquet":
            _write_parquet(partial, rows)
        elif out.suffix in DELIMITERS:
            _write_text(partial, rows, DELIMITERS[out.suffix])
        else:
            raise SourceError(
                f"out={out} is no table: name a .csv, .tsv or .parquet file, or give from=TABLE to import"
            )
    return len(dataset)


def take_in(dataset: Dataset, table: Path, out: Path) -> str:
    """Write the dataset with the table's captions at ``out``; returns what was edited, in one line.

    Raises:
        DataError: the table does not fit the dataset, or a caption cannot be used; names the row.
        DatasetError: ``out`` is something else already.
    """
    edits = read_edits(dataset, table)
    inputs = hashlib.sha256(f"captions {dataset.card.version} {edits.sha256}".encode()).hexdigest()
    if finished(out, inputs) is None:
        with partial_folder(out, inputs) as folder:
            _write(dataset, edits.captions, folder / WHOLE, inputs)
    told = f"{out}: {len(edits.captions):,} of {len(dataset):,} samples have other captions"
    return f"{told}; all others, and their embeddings, stay as they are (version {open_dataset(out).card.version[:12]})"


def read_edits(dataset: Dataset, table: Path) -> Edits:
    """Return the captions of the samples whose captions a table changes.

    Raises:
        DataError: a row is broken, names no sample or one twice, has no caption, was exported from other captions,
            or would teach a held-out subject by its name.
    """
    known = {line.key: line.caption_sha256 for line in dataset.index}
    named: set[str] = set()
    captions: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(table_rows(table, ["key", CAPTION_COLUMNS[0], "exported"], CAPTION_COLUMNS), start=1):
        where = f"{table} row {number}"
        key, texts = _read_row(row, where)
        if key not in known:
            raise DataError(f"{where}: there is no sample {key!r} in {dataset.folder}")
        if key in named:
            raise DataError(f"{where}: sample {key} is listed twice")
        named.add(key)
        if _digest(texts) != known[key]:
            captions[key] = _checked(row, texts, known[key], f"{where} ({key})")
    _check_subjects(dataset, captions, table)
    return Edits(captions, hashlib.sha256(json.dumps(sorted(captions.items())).encode()).hexdigest())


def edited(record: Record, captions: tuple[str, ...]) -> Record:
    """Return a record with other captions; those that are new are a person's."""
    sources = dict(zip(record.captions, record.caption_sources or [UNSTATED] * len(record.captions), strict=True))
    told = tuple(sources.get(caption, PERSON) for caption in captions)
    return replace(record, caption=captions[0], captions=captions, caption_sources=told)


def _read_row(row: Row, where: str) -> tuple[str, tuple[str, ...]]:
    if isinstance(row, Unreadable):
        raise DataError(f"{where} is broken: {row.detail}")
    cells = {name: row.get(name) or "" for name in ("key", *CAPTION_COLUMNS, "exported")}
    if wrong := next((name for name, cell in cells.items() if not isinstance(cell, str)), None):
        raise DataError(f"{where}: {wrong} is {cells[wrong]!r}, not text")
    return cells["key"], tuple(filter(None, (_unguarded(cells[name]) for name in CAPTION_COLUMNS)))


def _checked(row: Row, texts: tuple[str, ...], digest: str, where: str) -> tuple[str, ...]:
    assert not isinstance(row, Unreadable)
    if row["exported"] != _mark(digest):
        raise DataError(f"{where}: the dataset's captions are not those that were exported: export them again")
    if not clean(row[CAPTION_COLUMNS[0]] or ""):
        raise DataError(f"{where}: {CAPTION_COLUMNS[0]} is empty: every sample needs a caption")
    return tuple(dict.fromkeys(filter(None, map(clean, texts))))


def _check_subjects(dataset: Dataset, captions: Mapping[str, tuple[str, ...]], table: Path) -> None:
    """Refuse captions that would teach a held-out subject by its own name."""
    if not captions:
        return
    records = [record for record in dataset.each_record() if record.key in captions or record.split != "train"]
    held_out = {record.subject for record in records if record.split == "heldout_subject"}
    for record in records:
        for caption in captions.get(record.key, ()) if record.split == "train" else ():
            if subject_of(caption) in held_out and caption not in record.captions:
                raise DataError(
                    f"{table}: {record.key} is trained on, and {caption!r} is the name of a subject held out of "
                    "training: word it otherwise"
                )


def _write(dataset: Dataset, captions: Mapping[str, tuple[str, ...]], folder: Path, inputs: str) -> None:
    card = dataset.card
    provenance = Provenance(
        name=card.name, policy=card.policy, picture_px=card.picture_px, origins=card.sources, inputs_sha256=inputs
    )
    samples = tqdm(dataset.samples(), total=len(dataset), desc="writing", unit=" samples", delay=1, file=sys.stderr)
    with DatasetWriter(folder, max(shard.samples for shard in card.shards), card.sources) as writer:
        for text, picture in samples:
            record = Record.from_json(text)
            writer.add(edited(record, captions[record.key]) if record.key in captions else record, picture)
        for line in _lines(dataset.folder / REFUSALS_FILE):
            writer.refuse(Refused(**line))
        for line in _lines(dataset.folder / NEAR_COPIES_FILE):
            writer.list_copies(line)
        writer.finish(provenance)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DatasetError(f"{file} line {number} is broken: {error}") from None


def _row_of(record: Record) -> dict[str, str]:
    captions = dict(zip(CAPTION_COLUMNS, (*record.captions, *[""] * MAX_CAPTIONS), strict=False))
    rest = {"subject": record.subject, "collection": record.collection, "split": record.split}
    told = {"sources": ", ".join(record.caption_sources), "exported": _mark(record.caption_sha256())}
    return {"key": record.key} | captions | rest | told


def _write_text(file: Path, rows: Iterable[Mapping[str, str]], delimiter: str) -> None:
    # A byte-order mark: without it, spreadsheets take UTF-8 for the letters of their own country.
    with file.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows({name: _guarded(cell) for name, cell in row.items()} for row in rows)


def _write_parquet(file: Path, rows: Iterator[Mapping[str, str]]) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    with parquet.ParquetWriter(file, schema) as writer:
        group: list[Mapping[str, str]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _mark(digest: str) -> str:
    """Return a digest as a cell: with letters before it, lest a spreadsheet take it for a number."""
    return f"captions-{digest[:16]}"


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _shown(rows: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    yield from tqdm(rows, desc="exporting", unit=" samples", delay=1, file=sys.stderr)


def _digest(captions: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(captions).encode()).hexdigest()


if __name__ == "__main__":
    main()
