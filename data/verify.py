"""The verb ``verify``: recomputes every digest of a dataset and prints its licences and counts.

Shard digests, each sample's digest, the index, the card's counts and the Merkle root are all computed again from the
bytes on disk, so that one flipped byte is found and the file and sample it lies in are named.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.attribution import attribution
from data.croissant import croissant
from data.dataset import Dataset, open_dataset
from data.errors import DataError, DatasetError
from data.merkle import merkle_root
from data.record import SPLITS, Record
from data.settings import require
from data.shards import IndexLine, unpack_sample
from data.tables import summary
from data.writer import counted


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="verify")
def main(config: DictConfig) -> None:
    """Verify one dataset and show what it holds."""
    require(config, "dir", "the folder of the dataset to verify")
    dataset = verify(Path(config.dir))
    print(summary(dataset.card))
    print(f"{config.dir}: every digest, count and the version are right")


def verify(folder: Path) -> Dataset:
    """Check a dataset folder against itself; returns it opened.

    Raises:
        DatasetError: something is damaged or missing; names the first thing, and how many more there are.
    """
    dataset = open_dataset(folder)
    problems = list(islice(_problems(dataset), 100))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DatasetError(f"{problems[0]}{more}: copy it again or make it anew")
    return dataset


def _problems(dataset: Dataset) -> Iterator[str]:
    digests = {shard.file: shard.sha256 for shard in dataset.card.shards}
    records: list[Record] = []
    by_shard = [(shard, list(lines)) for shard, lines in groupby(dataset.index, key=lambda line: line.shard)]
    for shard, lines in tqdm(by_shard, desc="verifying", unit=" shards", file=sys.stderr, delay=1):
        if shard not in digests:
            yield f"{dataset.folder / 'index.jsonl'} names {shard}, which dataset.json does not list"
            continue
        content = (dataset.folder / shard).read_bytes()
        whole = hashlib.sha256(content).hexdigest() == digests[shard]
        found = list(_damaged_samples(dataset.folder, lines, content, records))
        if not whole and not found:
            yield f"{dataset.folder / shard} is damaged between its samples (its SHA-256 is another)"
        # A sound shard that disagrees with the index means that the index is at fault.
        yield from (text if not whole else f"{dataset.folder / 'index.jsonl'} disagrees: {text}" for text in found)
    yield from _disagreements(dataset, records)


def _damaged_samples(folder: Path, lines: list[IndexLine], content: bytes, records: list[Record]) -> Iterator[str]:
    """Yield what is wrong with the samples of one shard; appends the sound ones' records."""
    for line in lines:
        where = f"{folder / line.shard}: sample {line.key}"
        try:
            text, picture = unpack_sample(content[line.offset : line.offset + line.length])
            record = Record.from_json(text)
        except DataError as error:
            yield f"{where} is damaged ({error})"
            continue
        if hashlib.sha256(picture).hexdigest() != record.sha256:
            yield f"{where} is damaged (its picture's SHA-256 is another)"
        elif IndexLine.of(record, line.shard, line.offset, line.length) != line:
            yield f"{where} is damaged (its record's SHA-256 is another)"
        else:
            records.append(record)


def _disagreements(dataset: Dataset, records: list[Record]) -> Iterator[str]:
    """Yield where the card, and the files written from it, say something else than the samples."""
    card, folder = dataset.card, dataset.folder
    if merkle_root((line.sha256, line.licence) for line in dataset.index) != card.version:
        yield f"{folder / 'dataset.json'} gives a version that is not the Merkle root over the samples"
    splits = Counter(record.split for record in records)
    for title, counts, recounted in (
        ("licences", card.licences, counted(record.licence for record in records)),
        ("collections", card.collections, counted(record.collection for record in records)),
        ("splits", card.splits, {split: splits[split] for split in SPLITS}),
    ):
        if len(records) == card.count and counts != recounted:
            yield f"{folder / 'dataset.json'} miscounts its {title}"
    for name, text in (("ATTRIBUTION.md", attribution(card)), ("croissant.json", croissant(card))):
        if _text(folder / name) != text:
            yield f"{folder / name} is missing or not what dataset.json gives"
    if Counter(_reasons(folder / "refusals.jsonl")) != Counter(card.refused):
        yield f"{folder / 'refusals.jsonl'} is missing or does not list what dataset.json counts"


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def _reasons(file: Path) -> Iterable[str]:
    for line in (_text(file) or "").splitlines():
        try:
            yield json.loads(line)["reason"]
        except (ValueError, KeyError, TypeError):
            yield "unreadable"


if __name__ == "__main__":
    main()
