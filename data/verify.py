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
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.dataset import CARD_FILE, Dataset, DatasetCard, index_file, mapped_file, open_dataset
from data.errors import DataError, DatasetError
from data.exports import exports
from data.index import IndexLine
from data.merkle import merkle_root
from data.record import SPLITS, Record
from data.settings import require
from data.shards import unpack_sample
from data.tables import summary
from data.writer import NEAR_COPIES_FILE


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


@dataclass
class Seen:
    """What the sound samples say, counted."""

    samples: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    collections: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Count one more."""
        self.samples += 1
        self.licences[record.licence] += 1
        self.collections[record.collection] += 1
        self.splits[record.split] += 1


def _problems(dataset: Dataset) -> Iterator[str]:
    """Yield what is wrong, shard by shard: no more than one shard's pages are in memory."""
    cards, seen = dataset.card.shards, Seen()
    bar = tqdm(total=len(cards), desc="verifying", unit=" shards", file=sys.stderr, delay=1)
    for shard, lines in groupby(dataset.index, key=lambda line: line.shard):
        file = dataset.folder / cards[shard].file
        content = mapped_file(file)
        whole = hashlib.sha256(content).hexdigest() == cards[shard].sha256
        found = list(_damaged_samples(file, lines, content, dataset.card, seen))
        if not whole and not found:
            yield f"{file} is damaged between its samples (its SHA-256 is another)"
        # A sound shard that disagrees with the index means that the index is at fault.
        yield from (text if not whole else f"{index_file(dataset.folder)} disagrees: {text}" for text in found)
        bar.update()
    bar.close()
    yield from _damaged_index(dataset)
    yield from _disagreements(dataset, seen)


def _damaged_samples(
    file: Path, lines: Iterable[IndexLine], content: bytes, card: DatasetCard, seen: Seen
) -> Iterator[str]:
    """Yield what is wrong with the samples of one shard; counts the sound ones."""
    origins = {(origin.collection, origin.uri) for origin in card.sources}
    for line in lines:
        where = f"{file}: sample {line.key}"
        try:
            text, picture = unpack_sample(content[line.offset : line.offset + line.length])
            record = Record.from_json(text)
        except DataError as error:
            yield f"{where} is damaged ({error})"
            continue
        if hashlib.sha256(picture).hexdigest() != record.sha256:
            yield f"{where} is damaged (its picture's SHA-256 is another)"
        elif IndexLine.of(record, line.shard, line.offset, line.length, line.source) != line:
            yield f"{where} is damaged (its record's SHA-256 is another)"
        elif line.source and (record.collection, line.source) not in origins:
            yield f"{where} comes from {line.source}, which dataset.json does not list for {record.collection}"
        else:
            seen.add(record)


def _damaged_index(dataset: Dataset) -> Iterator[str]:
    """Yield whether the index has another digest than the card says: its padding, say, where every row is right."""
    told, file = dataset.card.index_sha256, index_file(dataset.folder)
    if told and hashlib.sha256(mapped_file(file)).hexdigest() != told:
        yield f"{file} is damaged (its SHA-256 is another)"


def _disagreements(dataset: Dataset, seen: Seen) -> Iterator[str]:
    """Yield where the card, and the files written from it, say something else than the samples."""
    card, folder = dataset.card, dataset.folder
    if merkle_root((line.sha256, line.licence) for line in dataset.index) != card.version:
        yield f"{folder / CARD_FILE} gives a version that is not the Merkle root over the samples"
    for title, counts, recounted in (
        ("licences", card.licences, seen.licences),
        ("collections", card.collections, seen.collections),
        ("splits", card.splits, {split: seen.splits[split] for split in SPLITS}),
    ):
        if seen.samples == card.count and dict(counts) != dict(recounted):
            yield f"{folder / CARD_FILE} miscounts its {title}"
    for name, text in exports(card).items():
        if _text(folder / name) != text and not _is_newer(name, card):
            yield f"{folder / name} is missing or not what dataset.json gives"
    if len((_text(folder / NEAR_COPIES_FILE) or "").splitlines()) != card.near_copies:
        yield f"{folder / NEAR_COPIES_FILE} is missing or does not list what dataset.json counts"
    if Counter(_reasons(folder / "refusals.jsonl")) != Counter(card.refused):
        yield f"{folder / 'refusals.jsonl'} is missing or does not list what dataset.json counts"


def _is_newer(name: str, card: DatasetCard) -> bool:
    """Return whether the file came with a later form of the dataset folder than the card's."""
    return name == "TRAINING_CONTENT.md" and card.format == "atelier-dataset-1"


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
