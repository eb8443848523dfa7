"""Builds a dataset: source → admission → rendering → shards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from data.dataset import CARD_FILE, Dataset, open_dataset
from data.errors import DataError, DatasetError, SourceError
from data.policy import Policy
from data.record import Drawing, Origin, Refused, canonical_json
from data.render import Rendered, Unusable
from data.splits import Splits
from data.workers import render_all
from data.writer import SAMPLES_PER_SHARD, DatasetWriter, Provenance, partial_folder

RECIPE = 1  # raised whenever the same inputs would give other samples
MIN_PICTURE_PX, MAX_PICTURE_PX = 16, 1024

Pictures = Iterable[Rendered | Unusable]
Progress = Callable[[Pictures, int], Pictures]


class Source(Protocol):
    """Where drawings come from."""

    def origins(self) -> list[Origin]:
        """Return the places read, each with the digest that pins its content."""

    def drawings(self) -> Iterable[Drawing | Refused]:
        """Yield each drawing, or why it is left out."""


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How a dataset is written. ``workers`` None takes every core; it never alters a byte of the result.

    Raises:
        DataError: a value is out of its range.
    """

    name: str
    picture_px: int = 128
    samples_per_shard: int = SAMPLES_PER_SHARD
    workers: int | None = None

    def __post_init__(self) -> None:
        if not MIN_PICTURE_PX <= self.picture_px <= MAX_PICTURE_PX:
            raise DataError(f"picture_px is {self.picture_px}; it must be {MIN_PICTURE_PX} to {MAX_PICTURE_PX}")
        if self.samples_per_shard < 1:
            raise DataError(f"samples_per_shard is {self.samples_per_shard}; it must be 1 or more")
        if self.workers is not None and self.workers < 1:
            raise DataError(f"workers is {self.workers}; it must be 1 or more, or null for every core")


def build_dataset(
    source: Source,
    policy: Policy,
    out: Path,
    settings: BuildSettings,
    *,
    replace: bool = False,
    progress: Progress = lambda items, total: items,
) -> Dataset:
    """Write the source's admitted drawings as a dataset at ``out``; if it is already there, return it.

    With ``replace``, a dataset made from other inputs gives way once the new one is whole.

    Raises:
        SourceError: nothing could be read, or nothing was admitted.
        DatasetError: ``out`` exists and is something else.
    """
    inputs = inputs_sha256(source, policy, settings)
    if (existing := finished(out, inputs, replace=replace)) is not None:
        return existing
    admitted, refused = admit(source.drawings(), policy)
    if not admitted:
        raise SourceError(_nothing_admitted(refused))
    rendering = render_all(admitted, picture_px=settings.picture_px, workers=settings.workers)
    with closing(rendering) as pictures, partial_folder(out, replace=replace) as folder:
        writer = DatasetWriter(folder, settings.samples_per_shard)
        refused += write_samples(writer, admitted, progress(pictures, len(admitted)))
        if not writer.records:
            raise SourceError(_nothing_admitted(refused))
        writer.finish(
            Provenance(
                name=settings.name,
                policy=policy.name,
                picture_px=settings.picture_px,
                origins=source.origins(),
                refused=refused,
                inputs_sha256=inputs,
            )
        )
    return open_dataset(out)


def inputs_sha256(source: Source, policy: Policy, settings: BuildSettings) -> str:
    """Return the digest of all that decides a dataset's bytes."""
    origins = [asdict(origin) for origin in source.origins()]
    shape = [RECIPE, settings.name, settings.picture_px, settings.samples_per_shard]
    return hashlib.sha256(canonical_json([origins, policy.describe(), shape])).hexdigest()


def finished(out: Path, inputs: str, *, replace: bool = False) -> Dataset | None:
    """Return the dataset at ``out`` if it was made from these inputs, None if the way is free.

    Raises:
        DatasetError: something else is there; with ``replace``, something that is no dataset at all.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / CARD_FILE).is_file():
        raise DatasetError(f"out={out} exists and is not a dataset: choose another folder")
    try:
        dataset = open_dataset(out)
    except DatasetError:
        if replace:
            return None
        raise
    if dataset.card.inputs_sha256 == inputs:
        return dataset
    if replace:
        return None
    raise DatasetError(f"out={out} holds dataset {dataset.card.name} made from other inputs: choose another folder")


def admit(offered: Iterable[Drawing | Refused], policy: Policy) -> tuple[list[Drawing], list[Refused]]:
    """Return what the policy admits, in an order mixed by the digest of the keys, and what was turned away."""
    admitted: list[Drawing] = []
    refused: list[Refused] = []
    for item in offered:
        verdict = item if isinstance(item, Refused) else policy.refusal(item)
        if verdict is not None:
            refused.append(verdict)
        elif isinstance(item, Drawing):
            admitted.append(item)
    admitted.sort(key=lambda drawing: hashlib.sha256(drawing.key.encode()).digest())
    return admitted, refused


def write_samples(writer: DatasetWriter, drawings: list[Drawing], pictures: Pictures) -> list[Refused]:
    """Write each drawing with its picture; returns those that could not be drawn or were drawn before."""
    splits = Splits(drawings)
    first_key: dict[str, str] = {}
    refused: list[Refused] = []
    for drawing, picture in zip(drawings, pictures, strict=True):
        if isinstance(picture, Unusable):
            refused.append(_refused(drawing, picture.reason, picture.detail))
            continue
        sha256 = hashlib.sha256(picture.picture).hexdigest()
        if first_key.setdefault(sha256, drawing.key) != drawing.key:
            refused.append(_refused(drawing, "exact duplicate", f"of {first_key[sha256]}"))
            continue
        writer.add(drawing.record(splits.split(drawing), sha256, marks=picture.marks), picture.picture)
    return refused


def _refused(drawing: Drawing, reason: str, detail: str) -> Refused:
    return Refused(key=drawing.key, collection=drawing.collection, reason=reason, detail=detail)


def _nothing_admitted(refused: list[Refused]) -> str:
    reasons = Counter(item.reason for item in refused).most_common()
    listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons)
    example = next((item.detail for item in refused if item.detail), "")
    return f"no picture was admitted ({listed or 'the source is empty'}){'; ' + example if example else ''}"
