"""The drawings that the style descriptor learns from and is judged by, with their statistics.

Shapes: pictures uint8 [N,3,H,W], statistics [N,D].
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from data.dataset import Dataset
from data.record import Record
from evaluation.drawings import real_pictures
from evaluation.extractors.store import FeatureStore
from evaluation.style.telling import Seen

PX = (64, 128)
PART = 512


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Drawings as a network saw them at one size or, in a lesson, at either; ``features`` [N,D]."""

    records: tuple[Record, ...]
    features: Tensor

    def seen(self, kind: str | None = None) -> Seen:
        """Return them as ``tell`` takes them; ``kind`` names all of them, None tells colour from one-colour."""
        return Seen(
            descriptors=self.features,
            sets=tuple(record.style for record in self.records),
            collections=tuple(record.collection for record in self.records),
            kinds=tuple(kind or ("one-colour" if record.monochrome else "colour") for record in self.records),
            subjects=tuple(record.subject for record in self.records),
        )


def chosen(dataset: Dataset, splits: Sequence[str], a_set: int, seed: int) -> dict[str, list[int]]:
    """Return at most ``a_set`` rows of each set, none revoked, in an order that the seed and the keys decide."""
    by_set = defaultdict(list)
    revoked = dataset.revoked
    for row, record in enumerate(dataset.each_record()):
        if record.split in splits and not revoked[row]:
            lot = hashlib.sha256(f"{seed}/{record.key}".encode()).hexdigest()
            by_set[record.style].append((lot, row))
    return {name: [row for _, row in sorted(rows)[:a_set]] for name, rows in sorted(by_set.items())}


def halves(rows_of: dict[str, list[int]]) -> dict[int, list[int]]:
    """Return the rows to be seen at each size: every other one of a set at 64 px, the rest at 128 px."""
    return {px: [row for rows in rows_of.values() for row in rows[place :: len(PX)]] for place, px in enumerate(PX)}


def shown(dataset: Dataset, rows: Sequence[int], store: FeatureStore, side_px: int) -> Shown:
    """Return drawings on white at one size with their features, from the cache where they are."""
    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn())
    label = f"{store.extractor.name}: {dataset.card.name} at {side_px} px"
    features = []
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=len(rows))
        for begin in range(0, len(rows), PART):  # pictures are not all held at once
            part = rows[begin : begin + PART]
            features.append(store(real_pictures(dataset, part, side_px), lambda count: progress.advance(task, count)))
    return Shown(records=tuple(dataset.record(row) for row in rows), features=torch.cat(features))


def joined(parts: Sequence[Shown]) -> Shown:
    """Return several as one."""
    return Shown(
        records=tuple(record for part in parts for record in part.records),
        features=torch.cat([part.features for part in parts]),
    )


def joined_seen(parts: Sequence[Seen]) -> Seen:
    """Return several as one."""
    return Seen(
        descriptors=torch.cat([part.descriptors for part in parts]),
        sets=tuple(name for part in parts for name in part.sets),
        collections=tuple(name for part in parts for name in part.collections),
        kinds=tuple(name for part in parts for name in part.kinds),
        subjects=tuple(name for part in parts for name in part.subjects),
    )
