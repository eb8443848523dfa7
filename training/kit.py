"""A brand kit: what a brand says of itself beside its pictures.  docs/brand-kit.md says what each key means."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.elements.colour import srgb_of_hex
from evaluation.elements.logo import png_of, read_logo
from evaluation.elements.rules import BrandRules, read_values
from evaluation.errors import EvaluationError
from training.errors import TrainingError

LOGO_FILE = "logo.png"


@dataclass(frozen=True, kw_only=True)
class BrandKit:
    """``title`` to show, ``background`` as #rrggbb, and the rules that pictures are held against.

    ``logo_png`` is the logo as it travels with the adapter: in sRGB, cut to its content, 256 px at its longer side.
    """

    title: str
    background: str = "#ffffff"
    rules: BrandRules = field(default_factory=BrandRules)
    logo_png: bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not self.title:
            raise TrainingError(f"brand kit: title {self.title!r} must be a text")
        try:
            srgb_of_hex(self.background)
        except EvaluationError as error:
            raise TrainingError(f"brand kit: {error}") from None

    def to_card(self) -> dict[str, Any]:
        """Return plain values for the adapter's card; rules that the kit does not name are left out."""
        rules = self.rules
        critical = [{"colour": each.colour, "tolerance": each.tolerance} for each in rules.critical_colours]
        named: dict[str, Any] = {
            "critical_colours": critical,
            "ground_in_palette": rules.ground_in_palette,
            "allowed_text": list(rules.allowed_text),
        }
        if self.logo_png is not None:
            named |= {"logo": LOGO_FILE, "logo_sha256": hashlib.sha256(self.logo_png).hexdigest()}
        always = {"title": self.title, "palette": list(rules.palette), "background": self.background}
        clear_space = {} if rules.clear_space is None else {"clear_space": rules.clear_space}
        return always | {key: value for key, value in named.items() if value} | clear_space

    def write_logo(self, folder: Path) -> None:
        """Put the logo, where there is one, into an adapter's folder: its card names it."""
        if self.logo_png is not None:
            (folder / LOGO_FILE).write_bytes(self.logo_png)


def read_kit(file: Path | None, brand: str) -> BrandKit:
    """Read a kit from YAML; a brand without one is named after itself.

    Raises:
        TrainingError: the file is missing, is no YAML mapping, or has a key, colour, logo or range that a kit cannot
            have.
    """
    if file is None:
        return BrandKit(title=brand)
    try:
        values = read_values(file)
    except EvaluationError as error:
        raise TrainingError(str(error)) from None
    try:
        rules = BrandRules.of(values, file.parent)
        logo = png_of(read_logo(rules.logo)) if rules.logo else None
    except EvaluationError as error:
        raise TrainingError(f"brand kit {file}: {error}") from None
    return BrandKit(
        title=values.get("title", brand),
        background=values.get("background", "#ffffff"),
        rules=rules,
        logo_png=logo,
    )
