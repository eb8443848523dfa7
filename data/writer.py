"""Writes a dataset folder: shards, index, card, refusals, near copies and what is told of them in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data.dataset import CARD_FILE, DatasetCard
from data.exports import exports
from data.merkle import MerkleTree
from data.record import SPLITS, Origin, Record, Refused, canonical_json
from data.shards import ShardWriter

SAMPLES_PER_SHARD = 4000
REFUSALS_FILE, NEAR_COPIES_FILE = "refusals.jsonl", "near_copies.jsonl"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the card says beyond the samples: name and policy, picture side, origins, the digest of the inputs."""

    name: str
    policy: str
    picture_px: int
    origins: Sequence[Origin]
    inputs_sha256: str


class DatasetWriter:
    """Takes samples and refusals one by one, then the provenance; holds counts and digests, no records.

    Give it a folder of ``partial_folder``, so that the dataset is there whole or not at all.
    """

    def __init__(
        self, folder: Path, samples_per_shard: int = SAMPLES_PER_SHARD, origins: Sequence[Origin] = ()
    ) -> None:
        self.count = 0
        self._folder = folder
        self._tree = MerkleTree()
        self._licences: Counter[str] = Counter()
        self._collections: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._near_copies = 0
        sources = {origin.collection: origin.uri for origin in origins}
        self.shards = ShardWriter(folder, samples_per_shard, sources)
        self._refusals = (folder / REFUSALS_FILE).open("wb")
        self._copies = (folder / NEAR_COPIES_FILE).open("wb")

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.shards.abandon()
        for stream in (self._refusals, self._copies):
            with suppress(OSError):  # a full disk cannot take what is still buffered
                stream.close()

    def add(self, record: Record, picture: bytes) -> None:
        """Append one sample."""
        line = self.shards.write(record, picture)
        self._tree.add(line.sha256, line.licence)
        self.count += 1
        self._licences[record.licence] += 1
        self._collections[record.collection] += 1
        self._splits[record.split] += 1

    def refuse(self, item: Refused) -> None:
        """Append one line of what was turned away."""
        self._refusals.write(item.to_json() + b"\n")
        self._reasons[item.reason] += 1

    def list_copies(self, copies: Mapping[str, object]) -> None:
        """Append one line of two samples that are near copies and both kept."""
        self._copies.write(canonical_json(copies) + b"\n")
        self._near_copies += 1

    def finish(self, provenance: Provenance) -> DatasetCard:
        """Close the shards and write every other file; returns the card."""
        self.shards.close()
        self._refusals.close()
        self._copies.close()
        card = self._card(provenance)
        for name, text in exports(card).items():
            (self._folder / name).write_text(text, encoding="utf-8")
        (self._folder / CARD_FILE).write_text(card.to_json(), encoding="utf-8")
        return card

    def _card(self, provenance: Provenance) -> DatasetCard:
        return DatasetCard(
            name=provenance.name,
            version=self._tree.root(),
            policy=provenance.policy,
            picture_px=provenance.picture_px,
            count=self.count,
            licences=dict(sorted(self._licences.items())),
            collections=dict(sorted(self._collections.items())),
            splits={split: self._splits[split] for split in SPLITS},
            refused=dict(sorted(self._reasons.items())),
            near_copies=self._near_copies,
            shards=self.shards.cards,
            sources=[origin for origin in provenance.origins if origin.collection in self._collections],
            inputs_sha256=provenance.inputs_sha256,
            index_sha256=self.shards.index_sha256,
        )
