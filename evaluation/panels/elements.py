"""Words and the logo: the panel ``elements``."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.drawing import check_range
from evaluation.elements.critical import MOST_TOLERANCE
from evaluation.elements.logo import read_logo
from evaluation.elements.rules import BrandRules
from evaluation.elements.text import Reader
from evaluation.measurement import Column, Section
from evaluation.panels.kit import columns_of, rules_of
from evaluation.panels.logo import (
    LogoRule,
    logo_figures,
    logo_grid,
    logo_histogram,
    logo_table,
    logo_values,
    sightings_of,
)
from evaluation.panels.text import read_words, text_figures, text_findings, text_grid, text_table, text_values
from evaluation.scene import Scene

TITLE = "Words and logo"
NOTE = (
    "Words are read by a network in pictures enlarged to 256 px; the same is done to real drawings, which hold words of"
    " their own. The logo is looked for upright, its longer side between an eighth and a half of the picture's."
)
NO_LOGO = "The brand's kit names no logo, so none was looked for: add logo: FILE to it."


@dataclass(frozen=True, kw_only=True)
class ElementsPanel:
    """Words that nobody asked for, words that somebody did, and the brand's logo.

    ``logo_wanted`` says whether every picture should hold the logo, as where it is set into them; a model alone is not
    to draw any.  ``logo_tolerance`` is the ΔE2000 up to which its colours are right.  ``kit`` is a kit's file; None is
    the kit on the model's card.
    """

    text: bool = True
    logo_wanted: bool = False
    logo_tolerance: float = 5.0
    kit: str | None = None

    def __post_init__(self) -> None:
        check_range("panel elements: logo_tolerance", self.logo_tolerance, 0.1, MOST_TOLERANCE)

    def measure(self, scene: Scene) -> Section:
        """Return the shares of pictures with unasked words, with the wanted ones, and with the logo."""
        rules = rules_of(scene, self.kit)
        columns = columns_of(scene)
        parts = [self._words(scene, rules, columns)] if self.text else []
        if rules.logo is not None:
            parts.append(self._logo(scene, rules, columns))
        if not parts:
            return Section(name="elements", title=TITLE, note=NOTE, missing=NO_LOGO)
        return Section(
            name="elements",
            title=TITLE,
            note=NOTE if rules.logo else f"{NOTE} {NO_LOGO}",
            figures=tuple(figure for part in parts for figure in part.figures),
            findings=tuple(finding for part in parts for finding in part.findings),
            histograms=tuple(histogram for part in parts for histogram in part.histograms),
            tables=tuple(table for part in parts for table in part.tables),
            grids=tuple(grid for part in parts for grid in part.grids),
            per_picture=tuple(each for part in parts for each in part.per_picture),
        )

    def _words(self, scene: Scene, rules: BrandRules, columns: dict[str, Column]) -> Section:
        reader = Reader()
        words = read_words(scene, columns, reader, rules.allowed_text)
        figures, grid = text_figures(scene, words, reader), text_grid(scene, words, columns)
        return Section(
            name="words",
            title=TITLE,
            note=NOTE,
            figures=tuple(figures),
            findings=tuple(text_findings(scene, figures)),
            tables=(text_table(words, columns),),
            grids=(grid,) if grid else (),
            per_picture=tuple(text_values(scene, words, figures)),
        )

    def _logo(self, scene: Scene, rules: BrandRules, columns: dict[str, Column]) -> Section:
        assert rules.logo is not None
        rule = LogoRule(
            logo=read_logo(rules.logo),
            tolerance=self.logo_tolerance,
            clear_space=rules.clear_space,
            wanted=self.logo_wanted,
        )
        sightings = sightings_of(scene, columns, rule)
        figures = logo_figures(scene, sightings, rule)
        grid = logo_grid(scene, sightings, columns, rule)
        return Section(
            name="logo",
            title=TITLE,
            note=NOTE,
            figures=tuple(figures),
            histograms=(logo_histogram(scene, sightings),),
            tables=(logo_table(sightings, columns, rule),),
            grids=(grid,) if grid else (),
            per_picture=tuple(logo_values(scene, sightings, rule, figures)),
        )
