"""Takes a brand's pictures as they are handed over, and gives a dataset."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from data.build import BuildSettings, Progress, build_dataset, finished, inputs_sha256
from data.dataset import CARD_FILE, Dataset, open_dataset
from data.draw import refused
from data.errors import SourceError
from data.pictures import FolderSource
from data.policy import Policy, load_policy
from data.record import Drawing, Refused
from data.render import Unusable, render

PICTURE_PX = 128
LISTED_FILES, LISTED_CAUSES = 8, 3


def brand_dataset(
    images: Path,
    out: Path,
    *,
    policy: str | Policy = "commercial",
    licence: str | None = None,
    name: str | None = None,
    creator: str = "",
    progress: Progress = lambda items, total: items,
) -> Dataset:
    """Return ``images`` as a dataset: itself if it is one, else ingested into ``out``.

    ``out`` is the caller's to own: a dataset there that was made from other pictures is replaced. Every picture must
    be sound, captioned and licensed; a brand owner should learn of one that is not, rather than lose it.

    Raises:
        PolicyError: no such policy, or the dataset holds a licence that it does not admit.
        SourceError: no pictures, or some cannot be used; names the files and what to do.
        DatasetError: ``images`` is a damaged dataset, or ``out`` holds something else.
    """
    rules = load_policy(policy) if isinstance(policy, str) else policy
    if (images / CARD_FILE).is_file():
        dataset = open_dataset(images)
        rules.check_licences(dataset.card.licences, str(images))
        return dataset
    source = FolderSource(images, licence=licence, collection=name, creator=creator)
    settings = BuildSettings(name=source.collection, picture_px=PICTURE_PX)
    if (existing := finished(out, inputs_sha256(source, rules, settings), replace=True)) is not None:
        return existing
    _refuse_unusable(source, rules)
    return build_dataset(source, rules, out, settings, replace=True, progress=progress)


def _refuse_unusable(source: FolderSource, policy: Policy) -> None:
    """Refuse a folder in which any picture cannot be used; names the first few by what is wrong."""
    unusable = [why for item in source.drawings() if (why := _refusal(item, policy)) is not None]
    if unusable:
        raise SourceError(_told(source, unusable))


def _refusal(item: Drawing | Refused, policy: Policy) -> Refused | None:
    if isinstance(item, Refused):
        return item
    if (verdict := policy.refusal(item)) is not None:
        return verdict
    outcome = render(item.content, monochrome=False, picture_px=PICTURE_PX)
    return refused(item, outcome) if isinstance(outcome, Unusable) else None


def _told(source: FolderSource, unusable: list[Refused]) -> str:
    names = {source.key(file): file.relative_to(source.path).as_posix() for file in source.files}
    files: defaultdict[str, list[str]] = defaultdict(list)
    for item in unusable:
        files[f"{item.reason} ({item.detail})" if item.detail else item.reason].append(names[item.key])
    causes = [f"{_listed(names)}: {cause}" for cause, names in files.items()]
    return f"{len(unusable)} pictures in {source.path} cannot be used: {'; '.join(causes[:LISTED_CAUSES])}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_FILES} more" if len(names) > LISTED_FILES else ""
    return ", ".join(sorted(names)[:LISTED_FILES]) + more
