"""Builds a dataset: source → admission → drawing in parts → decision → shards.

Drawing is the long work: it runs on every core and is kept part by part, so that a run that was killed goes on where
it stopped (``data.draw``, ``data.parts``). What is written, and in which order, is decided once all is drawn
(``data.decide``); packing copies bytes (``data.pack``). docs/adr/0010-near-copies.md, docs/adr/0012-parts.md.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from data.checks import DEFAULT_CHECKS, FileChecks
from data.dataset import CARD_FILE, Dataset, open_dataset
from data.decide import decide
from data.draw import draw_parts
from data.duplicates import DEFAULT_DUPLICATES, Duplicates
from data.errors import DataError, DatasetError, SourceError
from data.pack import pack
from data.partial import WHOLE, partial_folder
from data.parts import Parts, finished_parts
from data.policy import Policy
from data.record import Drawing, Origin, Refused, canonical_json
from data.workers import Engine, LocalEngine
from data.writer import SAMPLES_PER_SHARD, DatasetWriter, Provenance

RECIPE = 3  # raised whenever the same inputs would give other samples
MIN_PICTURE_PX, MAX_PICTURE_PX = 16, 1024
PARTS = "parts"
# Whose versions decide a drawn picture's bytes: another one must not go on with what this one drew.
DRAWING_PACKAGES = ("pillow", "resvg-py", "imagehash", "numpy")

Progress = Callable[[Iterable[Any], int | None], Iterable[Any]]


class Source(Protocol):
    """Where drawings come from. Both may be asked more than once, and give the same each time.

    A source that can tell roughly how many it offers has ``__length_hint__``, for the progress bar.
    """

    def origins(self) -> list[Origin]:
        """Return the places read, each with the digest that pins its content."""

    def drawings(self) -> Iterable[Drawing | Refused]:
        """Yield each drawing, or why it is left out, without holding them all."""


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How a dataset is written. ``workers`` and ``part_drawings`` never alter a byte of the result.

    Args:
        name: the dataset's.
        picture_px: side of a sample's square, or its longest side.
        samples_per_shard: at most.
        workers: of this machine, every core if None; unused where an engine is given.
        part_drawings: how many drawings are kept, or lost in a kill, together.

    Raises:
        DataError: a value is out of its range.
    """

    name: str
    picture_px: int = 128
    samples_per_shard: int = SAMPLES_PER_SHARD
    workers: int | None = None
    part_drawings: int = 2000

    def __post_init__(self) -> None:
        if not MIN_PICTURE_PX <= self.picture_px <= MAX_PICTURE_PX:
            raise DataError(f"picture_px is {self.picture_px}; it must be {MIN_PICTURE_PX} to {MAX_PICTURE_PX}")
        for name, value in (("samples_per_shard", self.samples_per_shard), ("part_drawings", self.part_drawings)):
            if value < 1:
                raise DataError(f"{name} is {value}; it must be 1 or more")
        LocalEngine(workers=self.workers)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What decides which drawings become samples, beside the policy."""

    checks: FileChecks = DEFAULT_CHECKS
    duplicates: Duplicates = DEFAULT_DUPLICATES


DEFAULT_RULES = Rules()


def build_dataset(
    source: Source,
    policy: Policy,
    out: Path,
    settings: BuildSettings,
    *,
    rules: Rules = DEFAULT_RULES,
    engine: Engine | None = None,
    replace: bool = False,
    progress: Progress = lambda items, total: items,
) -> Dataset:
    """Write the source's admitted drawings as a dataset at ``out``; if it is already there, return it.

    With ``replace``, a dataset made from other inputs gives way once the new one is whole.

    Raises:
        SourceError: nothing could be read, or nothing was admitted.
        DatasetError: ``out`` exists and is something else, another process is making it, or the disk is full.
        KeyboardInterrupt: when interrupted; says how much is kept.
    """
    inputs = inputs_sha256(source, policy, settings, rules)
    work = _work_sha256(inputs, settings, policy)
    if (existing := finished(out, inputs, replace=replace)) is not None:
        return existing
    with _told(out), partial_folder(out, work, replace=replace) as folder:
        parts = folder / PARTS
        with _kept(parts):
            parts.mkdir(exist_ok=True)
            _draw(source, policy, parts, settings, rules, engine or LocalEngine(workers=settings.workers), progress)
            drawn = Parts(parts)
            plan = decide(drawn, rules.duplicates, folder)
            if not len(plan.order):
                raise SourceError(_nothing_admitted(drawn))
            origins = source.origins()
            with DatasetWriter(folder / WHOLE, settings.samples_per_shard, origins) as writer:
                pack(drawn, plan, writer)
                writer.finish(_provenance(policy, settings, origins, inputs))
    return open_dataset(out)


def _draw(
    source: Source,
    policy: Policy,
    parts: Path,
    settings: BuildSettings,
    rules: Rules,
    engine: Engine,
    progress: Progress,
) -> None:
    expected = operator.length_hint(source, 0) - len(finished_parts(parts)) * settings.part_drawings
    drawn = draw_parts(
        source.drawings(),
        policy,
        parts,
        engine,
        picture_px=settings.picture_px,
        checks=rules.checks,
        part_drawings=settings.part_drawings,
    )
    for _ in progress(drawn, expected if expected > 0 else None):
        pass


def _provenance(policy: Policy, settings: BuildSettings, origins: list[Origin], inputs: str) -> Provenance:
    return Provenance(
        name=settings.name,
        policy=policy.name,
        picture_px=settings.picture_px,
        origins=origins,
        inputs_sha256=inputs,
    )


def inputs_sha256(source: Source, policy: Policy, settings: BuildSettings, rules: Rules = DEFAULT_RULES) -> str:
    """Return the digest of all that decides a dataset's bytes."""
    origins = [asdict(origin) for origin in source.origins()]
    shape = [RECIPE, settings.name, settings.picture_px, settings.samples_per_shard]
    described = [policy.describe(), rules.checks.describe(), rules.duplicates.describe()]
    return hashlib.sha256(canonical_json([origins, *described, shape])).hexdigest()


def _work_sha256(inputs: str, settings: BuildSettings, policy: Policy) -> str:
    """Return the digest of what parts can be gone on with: the inputs, their size, what draws them, what is revoked."""
    versions = [importlib.metadata.version(package) for package in DRAWING_PACKAGES]
    drawn = [settings.part_drawings, versions, policy.revocations.through]
    return hashlib.sha256(canonical_json([inputs, *drawn])).hexdigest()


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


@contextmanager
def _kept(parts: Path) -> Iterator[None]:
    """Say of an interruption how much of the work it leaves."""
    try:
        yield
    except KeyboardInterrupt:
        count = len(finished_parts(parts))
        raise KeyboardInterrupt(f"{count} finished parts are kept" if count else "") from None


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """Turn a full disk into a word on what to do; what is finished is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = out.absolute().parent
        raise DatasetError(
            f"no space is left in {where}: free some, then run the same command again to go on"
        ) from error


def _nothing_admitted(drawn: Parts) -> str:
    refused = [item for part in range(len(drawn.folders)) for item in drawn.refused(part)]
    reasons = Counter(item.reason for item in refused).most_common()
    listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons)
    example = next((item.detail for item in refused if item.detail), "")
    return f"no picture was admitted ({listed or 'the source is empty'}){'; ' + example if example else ''}"
