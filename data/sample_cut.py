"""Cuts the drawings that ship from the base corpus and from openmoji: ``make sample``.

Three datasets: ``base`` for tests, ``openmoji-learn`` to learn a brand from, ``openmoji-judge`` to judge it by. Learn
holds subjects of the split train alone; judge holds other subjects, some known to the base corpus, some held out of
all training. Which drawings are cut depends on the corpus and the seed alone.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain, zip_longest
from pathlib import Path

import hydra
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from data.build import BuildSettings, build_dataset
from data.corpus import fetch
from data.dataset import Dataset, open_dataset
from data.errors import DatasetError
from data.iconify import IconifySource
from data.ingest import progress_bar
from data.partial import WHOLE, partial_folder
from data.record import Record
from data.settings import made
from data.tables import summary
from data.writer import DatasetWriter, Provenance

# Beyond this many sets a subject counts as recurring enough, and chance decides.
RECURRING_SETS = 5
# openmoji's own additions to Unicode, many of them marks of companies.
LEFT_OUT_CATEGORIES = re.compile(r"extras|component")
# Clock faces, keycaps and plain shapes are so alike that one learnt would give another judged away.
PLAIN = re.compile(r"(?:square|circle|o.?clock|thirty)$|^keycap-")
MARK = re.compile(r"(?:^|-)(?:brand|logos?)(?:-|$)")
MARK_CATEGORY = re.compile(r"\bbrand|\blogo")


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="sample")
def main(config: DictConfig) -> None:
    """Cut the three datasets and show them."""
    corpus, out, seed = open_dataset(config.corpus), Path(config.out), int(config.seed)
    openmoji = _openmoji(config)
    base = base_rows(corpus, dict(config.base), seed)
    learn, judge = brand_rows(openmoji, corpus, config.learn, config.judge.known, config.judge.heldout, seed)
    for name, source, rows in (
        ("base", corpus, base),
        ("openmoji-learn", openmoji, learn),
        ("openmoji-judge", openmoji, judge),
    ):
        print(summary(cut(source, rows, out / name).card), end="\n\n")


def cut(source: Dataset, rows: Iterable[int], out: Path) -> Dataset:
    """Write some rows of a dataset as a dataset of its own at ``out``, in order of row, replacing what is there."""
    card, chosen = source.card, sorted(rows)
    inputs = hashlib.sha256(f"{card.version} {chosen}".encode()).hexdigest()
    provenance = Provenance(
        name=out.name, policy=card.policy, picture_px=card.picture_px, origins=card.sources, inputs_sha256=inputs
    )
    with (
        partial_folder(out, inputs, replace=True) as folder,
        DatasetWriter(folder / WHOLE, origins=card.sources) as writer,
    ):
        for row in chosen:
            writer.add(source.record(row), source.picture_bytes(row))
        writer.finish(provenance)
    return open_dataset(out)


def base_rows(corpus: Dataset, quotas: Mapping[str, int], seed: int) -> list[int]:
    """Return the rows of each set's quota: subjects drawn in many sets first, the same ones in every set.

    Raises:
        DatasetError: the corpus lacks one of the sets.
    """
    missing = sorted(quotas.keys() - corpus.card.collections.keys())
    if missing:
        raise DatasetError(f"{corpus.folder} lacks {', '.join(missing)}: make it with make corpus")
    sets_of: defaultdict[str, set[str]] = defaultdict(set)
    for record in corpus.records:
        sets_of[record.subject].add(record.collection)

    def rank(row: int) -> tuple[int, str, str]:
        record = corpus.records[row]
        return -min(len(sets_of[record.subject]), RECURRING_SETS), _chance(seed, record.subject), record.key

    rows = {name: [row for row in corpus.rows(collection=name) if not _is_mark(corpus.records[row])] for name in quotas}
    return [row for name, quota in quotas.items() for row in sorted(rows[name], key=rank)[:quota]]


def brand_rows(
    brand: Dataset, corpus: Dataset, learn: int, known: int, heldout: int, seed: int
) -> tuple[list[int], list[int]]:
    """Return the rows to learn from and the rows to judge by, spread evenly over the brand's categories.

    Judge's ``known`` subjects are trained on in the corpus, in other sets; its ``heldout`` ones never.
    """
    trained = {record.subject for record in corpus.records if record.split == "train"}
    drawn = {record.subject for record in corpus.records}
    unicode_rows = _one_row_a_subject(brand, seed)
    records = brand.records
    spread = _spread(brand, [row for row in unicode_rows if records[row].subject in trained])
    never = _spread(brand, [row for row in unicode_rows if records[row].split == "heldout_subject"])
    never = [row for row in never if records[row].subject in drawn]
    spread = [row for row in spread if records[row].split == "train"]
    if len(spread) < learn + known or len(never) < heldout:
        raise DatasetError(
            f"{brand.folder} has {len(spread)} known and {len(never)} held-out subjects; "
            f"{learn + known} and {heldout} are asked for"
        )
    return spread[:learn], [*spread[learn : learn + known], *never[:heldout]]


def _one_row_a_subject(brand: Dataset, seed: int) -> list[int]:
    rows: dict[str, int] = {}
    for row in brand.rows():  # what was revoked is not among them
        record = brand.records[row]
        plain = PLAIN.search(record.subject) or LEFT_OUT_CATEGORIES.search(_category(record))
        if not plain and not _is_mark(record):
            rows.setdefault(record.subject, row)
    return sorted(rows.values(), key=lambda row: _chance(seed, brand.records[row].subject))


def _spread(brand: Dataset, rows: Iterable[int]) -> list[int]:
    """Return the rows taking one of each category in turn."""
    by_category: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_category[_category(brand.records[row])].append(row)
    turns = zip_longest(*(by_category[category] for category in sorted(by_category)))
    return [row for row in chain.from_iterable(turns) if row is not None]


def _category(record: Record) -> str:
    """Return the category that the icon set gives the drawing, or nothing."""
    told = (text for text, source in zip(record.captions, record.caption_sources, strict=False) if source == "category")
    return next(told, "").removeprefix(f"{record.caption}, ")


def _is_mark(record: Record) -> bool:
    return MARK.search(record.key.split("__")[-1]) is not None or MARK_CATEGORY.search(_category(record)) is not None


def _chance(seed: int, subject: str) -> str:
    return hashlib.sha256(f"{seed}:{subject}".encode()).hexdigest()


def _openmoji(config: DictConfig) -> Dataset:
    """Return the openmoji set as a dataset, fetched and ingested if it is not there yet."""
    brand, packages = config.openmoji, Path(config.packages)
    versions = {str(brand.name): str(brand.version)}
    fetch(packages, versions)
    policy = made(config.policy)
    settings = BuildSettings(name=brand.name)
    return build_dataset(
        IconifySource(packages, versions), policy, Path(brand.ingested), settings, replace=True, progress=progress_bar
    )


if __name__ == "__main__":
    main()
