"""What a brand kit demands of pictures, as an adapter's card or a kit's YAML file says it.

The kit is checked when a brand is onboarded (``training/kit.py``) and again here: a card can be written by hand.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaluation.elements.colour import srgb_of_hex
from evaluation.elements.critical import CriticalColour
from evaluation.errors import EvaluationError

KEYS = (
    "title",
    "palette",
    "background",
    "critical_colours",
    "ground_in_palette",
    "logo",
    "clear_space",
    "allowed_text",
)
MOST_CLEAR_SPACE = 10.0


@dataclass(frozen=True, kw_only=True)
class BrandRules:
    """Colours as #rrggbb, the logo's file, its ``clear_space`` in heights of the logo, texts that may be written.

    ``ground_in_palette`` says that the white ground of drawings is a colour of the brand and counts as one.
    """

    palette: tuple[str, ...] = ()
    critical_colours: tuple[CriticalColour, ...] = ()
    ground_in_palette: bool = False
    logo: Path | None = None
    clear_space: float | None = None
    allowed_text: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for colour in self.palette:
            srgb_of_hex(colour)
        if not isinstance(self.ground_in_palette, bool):
            raise EvaluationError(f"ground_in_palette {self.ground_in_palette!r} must be true or false")
        space = self.clear_space
        if space is not None and not _between(space, 0, MOST_CLEAR_SPACE):
            limit = f"{MOST_CLEAR_SPACE:g}"
            raise EvaluationError(f"clear_space {space!r} must be 0 to {limit}, in heights of the logo")
        if space is not None and self.logo is None:
            raise EvaluationError("clear_space is the room around a logo: name the logo too, as logo: FILE")
        for text in self.allowed_text:
            if not isinstance(text, str) or not text.strip():
                raise EvaluationError(f"allowed_text {text!r} must be a text, in quotation marks where it is a number")

    @classmethod
    def of(cls, values: Mapping[str, Any], folder: Path) -> BrandRules:
        """Return the rules among a kit's values; a logo is looked for beside the kit or the card, in ``folder``.

        Raises EvaluationError for a value of the wrong form, or out of its range.
        """
        logo = values.get("logo")
        if logo is not None and (not isinstance(logo, str) or not logo):
            raise EvaluationError(f"logo {logo!r} must be the name of a file")
        return cls(
            palette=tuple(_listed(values, "palette", "colours like ['#1e50a0']")),
            critical_colours=tuple(_critical(each) for each in _listed(values, "critical_colours", _CRITICAL_FORM)),
            ground_in_palette=values.get("ground_in_palette", False),
            logo=None if logo is None else folder / logo,
            clear_space=values.get("clear_space"),
            allowed_text=tuple(_listed(values, "allowed_text", "texts like ['Acme']")),
        )


def read_values(file: Path) -> dict[str, Any]:
    """Return the keys and values of a kit's YAML file.

    Raises EvaluationError when it is missing, is no YAML mapping, or has a key that a kit cannot have.
    """
    if not file.is_file():
        raise EvaluationError(f"brand kit {file} does not exist: pass kit=FILE.yaml, or leave kit out")
    try:
        values = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EvaluationError(f"brand kit {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise EvaluationError(f"brand kit {file} must hold keys and values: {', '.join(KEYS)}")
    for key in values:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(KEYS)}"
            raise EvaluationError(f"brand kit {file}: unknown key {key!r}; {hint}")
    return dict(values)


_CRITICAL_FORM = "colours like ['#1e50a0'] or [{colour: '#1e50a0', tolerance: 2}]"


def _critical(value: object) -> CriticalColour:
    if isinstance(value, Mapping):
        if not {"colour"} <= set(value) <= {"colour", "tolerance"}:
            raise EvaluationError(f"critical colour {dict(value)!r} must be like {{colour: '#1e50a0', tolerance: 2}}")
        return CriticalColour(**value)
    return CriticalColour(colour=value)  # type: ignore[arg-type]  # another kind than a text is refused there


def _listed(values: Mapping[str, Any], key: str, form: str) -> list[Any]:
    value = values.get(key) or ()
    if not isinstance(value, list | tuple):
        raise EvaluationError(f"{key} {value!r} must be a list of {form}")
    return list(value)


def _between(value: object, lowest: float, highest: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and lowest <= value <= highest  # type: ignore[arg-type, operator]
