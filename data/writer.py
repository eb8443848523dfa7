"""Writes a dataset folder: shards, index, card, refusals, Croissant and attribution. Whole or not there at all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data.attribution import attribution
from data.croissant import croissant
from data.dataset import CARD_FILE, DatasetCard
from data.merkle import merkle_root
from data.record import SPLITS, Origin, Record, Refused
from data.shards import ShardWriter

SAMPLES_PER_SHARD = 4000


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the card says beyond the samples: name and policy, picture side, origins, what was refused, the inputs."""

    name: str
    policy: str
    picture_px: int
    origins: Sequence[Origin]
    refused: Sequence[Refused]
    inputs_sha256: str


class DatasetWriter:
    """Takes samples one by one, then the provenance; use it inside ``partial_folder``."""

    def __init__(self, folder: Path, samples_per_shard: int = SAMPLES_PER_SHARD) -> None:
        self.records: list[Record] = []
        self._folder = folder
        self._leaves: list[tuple[str, str]] = []
        self.shards = ShardWriter(folder, samples_per_shard)

    def add(self, record: Record, picture: bytes) -> None:
        """Append one sample."""
        line = self.shards.write(record, picture)
        self._leaves.append((line.sha256, line.licence))
        self.records.append(record)

    def finish(self, provenance: Provenance) -> DatasetCard:
        """Close the shards and write every other file; returns the card."""
        self.shards.close()
        card = self._card(provenance)
        refusals = b"".join(item.to_json() + b"\n" for item in sorted(provenance.refused, key=lambda item: item.key))
        (self._folder / "refusals.jsonl").write_bytes(refusals)
        (self._folder / "croissant.json").write_text(croissant(card), encoding="utf-8")
        (self._folder / "ATTRIBUTION.md").write_text(attribution(card), encoding="utf-8")
        (self._folder / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
        return card

    def _card(self, provenance: Provenance) -> DatasetCard:
        splits = Counter(record.split for record in self.records)
        collections = counted(record.collection for record in self.records)
        return DatasetCard(
            name=provenance.name,
            version=merkle_root(self._leaves),
            policy=provenance.policy,
            picture_px=provenance.picture_px,
            count=len(self.records),
            licences=counted(record.licence for record in self.records),
            collections=collections,
            splits={split: splits[split] for split in SPLITS},
            refused=counted(item.reason for item in provenance.refused),
            shards=self.shards.cards,
            sources=[origin for origin in provenance.origins if origin.collection in collections],
            inputs_sha256=provenance.inputs_sha256,
        )


def counted(values: Iterator[str]) -> dict[str, int]:
    """Return how often each value occurs, by name."""
    return dict(sorted(Counter(values).items()))


@contextmanager
def partial_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a fresh sibling folder that becomes ``out`` on success and is removed on any failure or interruption.

    With ``replace``, what was at ``out`` stays until the new folder is whole.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    folder = out.parent / f".{out.name}.partial-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        if out.is_dir():
            shutil.rmtree(out) if replace else out.rmdir()  # unasked, only an empty folder may be in the way
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(out: Path) -> None:
    """Remove what a killed process left, known by its number; one that still runs keeps its folder."""
    for folder in out.parent.glob(f".{out.name}.partial-*"):
        number = folder.name.rsplit("-", 1)[-1]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
