"""Takes a brand's pictures as they are handed over, and gives a dataset."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from data.build import BuildSettings, Progress, admit, build_dataset, finished, inputs_sha256
from data.dataset import CARD_FILE, Dataset, open_dataset
from data.errors import SourceError
from data.pictures import FolderSource
from data.policy import Policy, load_policy
from data.record import Refused
from data.render import Unusable, render

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
    settings = BuildSettings(name=source.collection)
    if (existing := finished(out, inputs_sha256(source, rules, settings), replace=True)) is not None:
        return existing
    _refuse_unusable(source, rules)
    return build_dataset(source, rules, out, settings, replace=True, progress=progress)


def _refuse_unusable(source: FolderSource, policy: Policy) -> None:
    """Refuse a folder in which any picture cannot be used; names the first few by what is wrong."""
    drawings, refused = admit(source.drawings(), policy)
    picture_px = BuildSettings(name=source.collection).picture_px
    for drawing in drawings:
        drawn = render(drawing.content, monochrome=False, picture_px=picture_px)
        if isinstance(drawn, Unusable):
            detail = drawn.detail or drawn.reason
            refused.append(Refused(key=drawing.key, collection=drawing.collection, reason=drawn.reason, detail=detail))
    if refused:
        raise SourceError(_told(source, refused))


def _told(source: FolderSource, refused: list[Refused]) -> str:
    names = {source.key(file): file.relative_to(source.path).as_posix() for file in source.files}
    files: defaultdict[str, list[str]] = defaultdict(list)
    for item in refused:
        files[f"{item.reason} ({item.detail})"].append(names[item.key])
    causes = [f"{_listed(names)}: {cause}" for cause, names in files.items()]
    return f"{len(refused)} pictures in {source.path} cannot be used: {'; '.join(causes[:LISTED_CAUSES])}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_FILES} more" if len(names) > LISTED_FILES else ""
    return ", ".join(sorted(names)[:LISTED_FILES]) + more
