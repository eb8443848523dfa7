"""The real drawings that models are judged against: which ones, at which size, and that none was learnt.

Shapes: pictures uint8 [N,3,H,W].
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from torch import Tensor

from data.dataset import CARD_FILE, Dataset, DatasetCard
from data.record import SPLITS
from evaluation.drawing import to_tensor
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evidence import FIGURES_FILE
from evaluation.extractors.pictures import fitted
from evaluation.metrics.checked import LEAST_PICTURES
from registry.artifacts import CARD_FILE as MODEL_CARD_FILE
from registry.artifacts import Card

MODEL_FILES = (MODEL_CARD_FILE, "model_index.json", "adapter_config.json")
PICTURE_SUFFIXES = frozenset({".png", ".webp", ".jpg", ".jpeg", ".bmp", ".gif"})


def in_drawn_order(dataset: Dataset, rows: Sequence[int], seed: int) -> list[int]:
    """Return rows in an order that only the seed and their keys decide: a longer choice begins with the shorter."""

    def lot(row: int) -> str:
        return hashlib.sha256(f"{seed}/{dataset.records[row].key}".encode()).hexdigest()

    return sorted(rows, key=lot)


def colour_rows(dataset: Dataset, splits: Sequence[str] = SPLITS) -> list[int]:
    """Return the rows of some splits that are drawn in colour: one-colour drawings are an ink without a colour."""
    return [row for row, record in enumerate(dataset.records) if record.split in splits and not record.monochrome]


def matched_by_style(dataset: Dataset, rows: Sequence[int], candidates: Sequence[int], seed: int) -> list[int]:
    """Return as many candidates as rows, of the same styles as far as there are any, then of others.

    Raises TooFewPicturesError when there are fewer candidates than rows.
    """
    if len(candidates) < len(rows):
        raise TooFewPicturesError(
            f"{dataset.folder} has {len(candidates)} further colour drawings for the floor, {len(rows)} are needed:"
            f" pass suite.pictures={len(candidates)} or less"
        )
    left = in_drawn_order(dataset, candidates, seed)
    wanted = Counter(dataset.records[row].style for row in rows)
    matched = []
    for row in left:
        style = dataset.records[row].style
        if wanted[style] > 0:
            wanted[style] -= 1
            matched.append(row)
    taken = set(matched)
    rest = [row for row in left if row not in taken]
    return matched + rest[: len(rows) - len(matched)]


def two_halves(dataset: Dataset, count: int, seed: int) -> tuple[list[int], list[int]]:
    """Return two disjoint choices of ``count`` colour drawings: the judging ones, and others for the floor.

    Raises TooFewPicturesError when the dataset does not hold twice as many.
    """
    rows = colour_rows(dataset)
    if len(rows) < 2 * count:
        raise TooFewPicturesError(
            f"{dataset.folder} has {len(rows)} colour drawings, and {count} judging ones with as many others for the"
            f" floor need {2 * count}: pass suite.pictures={len(rows) // 2} or less"
        )
    chosen = in_drawn_order(dataset, rows, seed)
    return chosen[:count], chosen[count : 2 * count]


def real_pictures(dataset: Dataset, rows: Sequence[int], side_px: int) -> Tensor:
    """Return drawings on white at the size that the network draws, by the resampling that it learnt with."""

    def drawn(row: int) -> Image.Image:
        return fitted(dataset.picture(row), side_px)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="drawings") as pool:
        return to_tensor(list(pool.map(drawn, rows, chunksize=16)))


def picture_files(folder: Path, count: int) -> list[Path]:
    """Return the first ``count`` picture files of a folder by name.

    What is transparent will be seen on white, and what is not square inside a white square.
    Raises EvaluationError when it is no folder, TooFewPicturesError when it holds fewer.
    """
    if not folder.is_dir():
        raise EvaluationError(f"no folder of pictures at {folder}")
    files = pictures_of(folder)
    if not files:
        within = "; its folders are not looked into" if any(file.is_dir() for file in folder.iterdir()) else ""
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise TooFewPicturesError(f"{folder} holds no picture ({kinds}){within}")
    if len(files) < count:
        right = f"add more; suite.pictures= goes down to {LEAST_PICTURES}"
        if len(files) >= LEAST_PICTURES:
            right = f"pass suite.pictures={len(files)} or less"
        raise TooFewPicturesError(f"{folder} holds {len(files)} pictures, {count} are measured: {right}")
    return files[:count]


def pictures_of(folder: Path) -> list[Path]:
    """Return the picture files of a folder by name; hidden files and other kinds are no pictures."""
    return sorted(file for file in folder.iterdir() if _is_picture(file))


def is_picture_folder(folder: Path) -> bool:
    """Return whether a reference is a folder of pictures that holds neither a model nor an evaluation."""
    return is_plain_folder(folder) and any(_is_picture(file) for file in folder.iterdir())


def is_plain_folder(folder: Path) -> bool:
    """Return whether a folder holds no file of a model and none of an evaluation, whatever else it holds."""
    return folder.is_dir() and not any((folder / name).exists() for name in (*MODEL_FILES, FIGURES_FILE))


def dataset_versions(card: Card) -> set[str]:
    """Return the versions of the datasets that a model's card names."""
    return {str(dataset.get("version")) for dataset in card.get("datasets") or []}


def learnt_folder(card: Card) -> Path:
    """Return the folder of the dataset that an adapter learnt, as its card's configuration tells.

    Raises EvaluationError when none of the places that onboarding uses holds a dataset of the card's version.
    """
    config = card.get("config") or {}
    places = [
        Path(str(config.get("images") or "(no folder named)")),
        Path(str(config.get("out") or "var/brands")) / str(card.get("brand")) / "pictures",
    ]
    for place in places:
        if (place / CARD_FILE).is_file() and DatasetCard.read(place).version in dataset_versions(card):
            return place
    raise EvaluationError(
        f"the drawings that {card['name']} learnt are not where its card says"
        f" ({', '.join(map(str, places))}): pass suite.learn=DIR, the dataset that it learnt"
    )


def refuse_learnt(judge: Dataset, rows: Sequence[int], learn: Dataset) -> None:
    """Raise EvaluationError when a judging drawing is among the learnt ones: it would flatter every figure."""
    learnt = {record.sha256 for record in learn.records}
    shared = [judge.records[row].key for row in rows if judge.records[row].sha256 in learnt]
    if shared:
        raise EvaluationError(
            f"{len(shared)} judging drawings of {judge.folder} were learnt from {learn.folder}"
            f" ({shared[0]}): judge by drawings that no adapter saw"
        )


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".") and file.is_file()
