"""Which rules of its brand a scene is held against, and which of its pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from evaluation.elements.rules import BrandRules, read_values
from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.measurement import Column, PerPicture
from evaluation.scene import Scene
from evaluation.wording import figure_label


def rules_of(scene: Scene, kit: str | None) -> BrandRules:
    """Return the rules of a kit's file, else of the kit on the model's card, else none.

    Raises EvaluationError when they cannot be rules.
    """
    if kit is not None:
        return _checked(f"brand kit {kit}", read_values(Path(kit)), Path(kit).parent)
    if scene.model is None:
        return BrandRules()
    values = scene.model.card.get("kit") or {}
    where = f"the kit on the card of {scene.model.reference}"
    if not isinstance(values, dict):
        raise EvaluationError(f"{where} must hold keys and values")
    logo = values.get("logo")
    if isinstance(logo, str) and Path(logo).name != logo:
        raise EvaluationError(f"{where}: logo {logo!r} must lie beside the card, without a folder")
    return _checked(where, values, scene.model.folder)


def columns_of(scene: Scene) -> dict[str, Column]:
    """Return the columns that are held against a kit: the made pictures, the unadapted ones, the real drawings."""
    plain = {} if scene.plain is None else {"unadapted": scene.plain}
    return {scene.suffix: scene.made} | plain | {"real": scene.real}


def per_picture_of(figure: Figure, values: Sequence[float]) -> PerPicture:
    """Return the numbers of single pictures, in the scene's order, whose mean a figure is; NaN where it counts none."""
    return PerPicture(
        name=figure.name,
        title=figure_label(figure.name),
        values=torch.tensor(values, dtype=torch.float64),
        identity=figure.identity,
        better=figure.better,
        unit=figure.unit,
    )


def _checked(where: str, values: dict[str, object], folder: Path) -> BrandRules:
    try:
        return BrandRules.of(values, folder)
    except EvaluationError as error:
        raise EvaluationError(f"{where}: {error}") from None
