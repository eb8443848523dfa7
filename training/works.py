"""Finds a work in the datasets that the project knows: what a person may mean by a word, and what holds it."""

from __future__ import annotations

import difflib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.dataset import CARD_FILE, Dataset, open_dataset
from data.errors import DatasetError
from data.record import Record
from data.revocation_list import KINDS
from data.revocations import Held, Revocation, Revocations, leading_parts
from registry.known import folders_with
from training.errors import TrainingError

_DIGEST = re.compile(r"[0-9a-f]{64}")
SUGGESTED = 4


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A dataset version and its rows that a work takes up."""

    dataset: Dataset
    rows: tuple[int, ...]


def known_datasets(roots: Sequence[Path], cards: Iterable[Mapping[str, Any]]) -> list[Dataset]:
    """Return every dataset at or below ``roots`` or where a model's card says that it learnt from, each version once.

    A folder that cannot be opened is told on the error stream and left out.
    """
    folders = folders_with(CARD_FILE, roots)
    named = {folder for card in cards for folder in _named(card) if (folder / CARD_FILE).is_file()}
    found: dict[str, Dataset] = {}
    for folder in sorted(folders | named):
        try:
            dataset = open_dataset(folder)
        except DatasetError as error:
            print(f"warning: not searched: {error}", file=sys.stderr)
            continue
        found.setdefault(dataset.card.version, dataset)
    return list(found.values())


def _named(card: Mapping[str, Any]) -> list[Path]:
    config = card.get("config") or {}
    places = [(config.get("dataset") or {}).get("folder"), config.get("images")]
    places += [f"{config['out']}/{config['brand']}/pictures"] if config.get("brand") and config.get("out") else []
    return [Path(str(place)) for place in places if place]


def readings(what: str, datasets: Sequence[Dataset], kind: str | None = None) -> dict[str, dict[str, Held]]:
    """Return what ``what`` may be, by kind, and for each what every searched version holds of it.

    With ``kind`` it is that and nothing else, found or not.
    """
    found: defaultdict[str, dict[str, Held]] = defaultdict(dict)
    for dataset in tqdm(datasets, desc="searching", unit=" datasets", file=sys.stderr, delay=1):
        keys: defaultdict[str, list[Record]] = defaultdict(list)
        for record in dataset.each_record():
            for one in _kinds(what, record) if kind is None else (_kinds(what, record) & {kind}):
                keys[one].append(record)
        for one, records in keys.items():
            found[one][dataset.card.version] = _held(one, records, dataset.card.collections)
    for one in [kind] if kind else list(found):
        for dataset in datasets:
            found[one].setdefault(dataset.card.version, Held())
    return dict(found)


def _kinds(what: str, record: Record) -> set[str]:
    kinds = {kind for kind in ("key", "collection", "creator") if getattr(record, kind) == what}
    if record.source_uri.startswith(what) and what in leading_parts(record.source_uri):
        kinds.add("source")
    if _DIGEST.fullmatch(what) and what in (record.sha256, record.sample_sha256()):
        kinds.add("picture")
    return kinds


def _held(kind: str, records: list[Record], collections: Mapping[str, int]) -> Held:
    """Return samples of one work as whole collections where all of one are there, and keys for the rest."""
    if kind in ("key", "picture"):
        return Held(keys=tuple(sorted(record.key for record in records)))
    counts = Counter(record.collection for record in records)
    whole = {name for name, count in counts.items() if count == collections.get(name)}
    rest = sorted(record.key for record in records if record.collection not in whole)
    return Held(collections=tuple(sorted(whole)), keys=tuple(rest))


def meant(what: str, found: Mapping[str, Mapping[str, Held]], datasets: Sequence[Dataset]) -> str:
    """Return the one kind that a word has.

    Raises:
        TrainingError: it has none, or several; says what would be right.
    """
    if len(found) == 1:
        return next(iter(found))
    if found:
        kinds = [kind for kind in KINDS if kind in found]
        ways = " or ".join(f"kind={kind}" for kind in kinds)
        raise TrainingError(f"'{what}' may be a {' or a '.join(kinds)}: pass {ways}")
    searched = f"{len(datasets)} known datasets" if datasets else "no dataset: none is known"
    near = _near(what, datasets)
    hint = f"did you mean {', '.join(near)}?" if near else "pass datasets=[DIR] to search others"
    raise TrainingError(
        f"nothing is called '{what}' in {searched}: {hint} (to forbid what is in none yet, pass kind=source or another)"
    )


def _near(what: str, datasets: Sequence[Dataset]) -> list[str]:
    keys = [str(key) for dataset in datasets for key in dataset.index.keys().slice(0, 100_000).to_pylist()]
    collections = [name for dataset in datasets for name in dataset.card.collections]
    creators = [origin.creator for dataset in datasets for origin in dataset.card.sources]
    ending = [key for key in keys if key.endswith(f"__{what}")]
    close = difflib.get_close_matches(what, {*collections, *creators}, n=SUGGESTED)
    # Comparing every key is slow: those that begin alike are enough.
    alike = [key for key in keys if key[:3] == what[:3]][:10_000]
    return list(dict.fromkeys([*ending, *close, *difflib.get_close_matches(what, alike, n=SUGGESTED)]))[:SUGGESTED]


def holdings(one: Revocation, datasets: Sequence[Dataset]) -> dict[str, Holding]:
    """Return the versions that hold a work, with its rows."""
    found = {}
    for dataset in datasets:
        held = one.held.get(dataset.card.version, Held())
        line = {"action": "revoke", "kind": one.kind, "value": one.value, "held": {dataset.card.version: vars(held)}}
        alone = Revocations([line | {"time": one.time, "who": one.who, "reason": one.reason}])
        rows = np.flatnonzero(alone.rows(dataset.index, version=dataset.card.version, records=dataset.each_record))
        if len(rows):
            found[dataset.card.version] = Holding(dataset=dataset, rows=tuple(rows.tolist()))
    return found
