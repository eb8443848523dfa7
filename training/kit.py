"""A brand kit: what a brand says of itself beside its pictures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from training.errors import TrainingError

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True)
class BrandKit:
    """``title`` to show, ``palette`` and ``background`` as #rrggbb; kept in the adapter's card."""

    title: str
    palette: tuple[str, ...] = ()
    background: str = "#ffffff"

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not self.title:
            raise TrainingError(f"brand kit: title {self.title!r} must be a text")
        for colour in (*self.palette, self.background):
            if not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
                raise TrainingError(f"brand kit: colour {colour!r} must be written like #1e50a0")

    def to_card(self) -> dict[str, Any]:
        """Plain values for the card."""
        return asdict(self) | {"palette": list(self.palette)}


def read_kit(file: Path | None, brand: str) -> BrandKit:
    """Read a kit from YAML; a brand without one is named after itself.

    Raises:
        TrainingError: the file is missing, is no YAML mapping, or has a key or colour that a kit cannot have.
    """
    if file is None:
        return BrandKit(title=brand)
    if not file.is_file():
        raise TrainingError(f"brand kit {file} does not exist: pass kit=FILE.yaml, or leave kit out")
    try:
        values = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f"brand kit {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise TrainingError(f"brand kit {file} must hold keys and values: title, palette, background")
    _refuse_unknown(values, file)
    palette = values.get("palette") or ()
    if not isinstance(palette, list | tuple):
        raise TrainingError(f"brand kit {file}: palette {palette!r} must be a list of colours like ['#1e50a0']")
    return BrandKit(**{"title": brand} | dict(values) | {"palette": tuple(palette)})


def _refuse_unknown(values: Mapping[str, Any], file: Path) -> None:
    known = [field.name for field in fields(BrandKit)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(known)}"
            raise TrainingError(f"brand kit {file}: unknown key {key!r}; {hint}")
