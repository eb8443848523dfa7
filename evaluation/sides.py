"""Finding the two sides of a comparison: evaluations on disk, evaluations of registered models, folders of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from atelier import CONF_FOLDER
from evaluation.drawings import is_picture_folder, pictures_of
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evidence import FIGURES_FILE, Evidence, read_evidence
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.studio import Studio
from evaluation.suites.pictures import PicturesSuite
from registry.artifacts import CARD_FILE, digest_folder
from registry.mlflow import ModelStore
from registry.resolve import parse_reference

Sides = tuple[Evidence, Evidence]


def find_sides(
    before: str,
    after: str,
    *,
    store: ModelStore,
    suite: str | None,
    folders: PicturesSuite,
    studio: Callable[[], Studio],
) -> Sides:
    """Return both sides; ``studio`` is asked for only where pictures must be looked at.

    Raises EvaluationError when one of them is nothing that can be compared, or they are of two kinds.
    """
    pictures = [not name.startswith("models:/") and is_picture_folder(Path(name)) for name in (before, after)]
    if all(pictures):
        return _measured(before, after, folders, studio)
    if any(pictures):
        which, other = (before, after) if pictures[0] else (after, before)
        if not Path(other).is_dir():
            _evaluations(other, store)  # tells better where there is nothing at all
        raise EvaluationError(f"{which} is a folder of pictures and {other} is not: pass two of one kind")
    places = [_evaluations(name, store) for name in (before, after)]
    chosen = _suite_of_both(before, after, places, suite)
    return read_evidence(places[0][chosen], before), read_evidence(places[1][chosen], after)


def _evaluations(name: str, store: ModelStore) -> Mapping[str, Path]:
    """Return the evaluations that a name stands for, by their suites; "" for one that lies on disk."""
    if name.startswith("models:/"):
        return _logged(name, *parse_reference(name, store), store)
    folder = Path(name)
    if (folder / FIGURES_FILE).is_file():
        return {"": folder}
    if (folder / CARD_FILE).is_file():
        versions = store.with_digest(digest_folder(folder)) if store.exists() else []
        if not versions:
            raise EvaluationError(
                f"{name} is not registered, so nothing is logged for it: pass its evaluation's folder"
            )
        return _logged(name, versions[-1].name, versions[-1].version, store)
    what = "no folder" if not folder.is_dir() else "neither an evaluation, nor a model, nor pictures"
    raise EvaluationError(
        f"{what} at {name}: pass a folder that atelier evaluate wrote, a model, or a folder of pictures"
    )


def _logged(name: str, model: str, version: int, store: ModelStore) -> Mapping[str, Path]:
    found = store.evaluation_folders(model, version)
    if not found:
        raise EvaluationError(f"{name} has no logged evaluation: run atelier evaluate model={name}")
    return found


def _suite_of_both(before: str, after: str, places: list[Mapping[str, Path]], suite: str | None) -> str:
    """Return the suite to compare by; raises EvaluationError when there is none that both have, or several."""
    if any("" in found for found in places):
        if not all("" in found for found in places):
            raise EvaluationError(f"{before} and {after} are an evaluation's folder and a model: pass two of one kind")
        return ""
    shared = [name for name in places[0] if name in places[1]]
    if suite is not None and suite in shared:
        return suite
    has = "; ".join(f"{name} has {', '.join(found)}" for name, found in zip((before, after), places, strict=True))
    if suite is not None or not shared:
        raise EvaluationError(f"not both were evaluated by {suite or 'one suite'}: {has}")
    if len(shared) > 1:
        both = f"both were evaluated by {' and '.join(shared)}"
        raise EvaluationError(f"{both}: pass {_setting_of(shared[0])}, for example")
    return shared[0]


def _measured(before: str, after: str, suite: PicturesSuite, studio: Callable[[], Studio]) -> Sides:
    """Measure the pictures whose names both folders have."""
    files = [{file.stem: file for file in pictures_of(Path(name))} for name in (before, after)]
    shared = sorted(files[0].keys() & files[1].keys())
    if len(shared) < LEAST_PICTURES:
        raise TooFewPicturesError(
            f"{before} and {after} hold {len(shared)} pictures of equal names, at least {LEAST_PICTURES} are compared"
        )
    fewer = replace(suite, pictures=min(len(shared), suite.pictures))
    chosen = [[each[name] for name in shared[: fewer.pictures]] for each in files]
    eyes = studio()
    with eyes.watched():
        one, other = (fewer.measure_files(*side, eyes) for side in zip(chosen, (before, after), strict=True))
    return Evidence.of(one), Evidence.of(other)


def _setting_of(suite: str) -> str:
    """Return how a suite is chosen: one that was logged under a name of its own has no file in conf/suite."""
    return f"suite={suite}" if (CONF_FOLDER / "suite" / f"{suite}.yaml").is_file() else f"+suite.name={suite}"
