"""Where a brand's logo stands in pictures: the part of the panel ``elements`` for the logo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from evaluation.elements.estimates import hashed
from evaluation.elements.logo import clear_space, logo_step, png_of
from evaluation.elements.logo_search import Placed, find_logo
from evaluation.figures import Better, Figure
from evaluation.intervals import Interval, share_interval, tail_threshold
from evaluation.measurement import Column, Grid, Histogram, PerPicture, Row, Table, Tile
from evaluation.panels.kit import per_picture_of
from evaluation.scene import Scene

CONTROL_SHARE = 0.01
LEAST_SCORE = 0.15
WORST = 8


@dataclass(frozen=True, kw_only=True)
class LogoRule:
    """The logo and what is asked of it: ``tolerance`` in ΔE2000, ``clear_space`` in heights, None for any."""

    logo: Image.Image
    tolerance: float
    clear_space: float | None
    wanted: bool

    @property
    def identity(self) -> str:
        """The rule as it stands in a figure's identity."""
        return f"logo@{hashed([png_of(self.logo).hex(), f'{self.tolerance}', f'{self.clear_space}'])}"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One picture: where the logo fits best, whether that is the logo, its ΔE2000 and clear space if so."""

    place: Placed
    found: bool
    step: float
    space: float

    def right(self, rule: LogoRule) -> bool:
        """Whether the logo is there, in its colours, with its room."""
        return self.found and self.step <= rule.tolerance and self.roomy(rule)

    def roomy(self, rule: LogoRule) -> bool:
        """Whether the room is kept, to the pixel."""
        return rule.clear_space is None or self.space + 1 / self.place.height >= rule.clear_space


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """What was found in each column, above the ``threshold`` that all but 1 % of real drawings stay below."""

    columns: Mapping[str, Sequence[Sighting]]
    control: Sequence[float]
    threshold: float


def sightings_of(scene: Scene, columns: Mapping[str, Column], rule: LogoRule) -> Sightings:
    """Look for the logo in every picture.

    How well a logo fits by chance depends on its shape: a disc fits many drawings.  So the threshold comes from the
    real drawings, of which all but 1 % stay below, and is never under 0.15.
    """
    places = {suffix: find_logo(column.pictures, rule.logo) for suffix, column in columns.items()}
    others = find_logo(scene.floor.pictures, rule.logo)
    control = [place.score for place in (*places["real"], *others)]
    threshold = max(LEAST_SCORE, tail_threshold(torch.tensor(control), CONTROL_SHARE))
    looked = {
        suffix: [
            _sighting(picture, place, rule, threshold)
            for picture, place in zip(columns[suffix].pictures, found, strict=True)
        ]
        for suffix, found in places.items()
    }
    return Sightings(columns=looked, control=control, threshold=threshold)


def logo_figures(scene: Scene, sightings: Sightings, rule: LogoRule) -> list[Figure]:
    """Return for each column how often the logo is there; where it is wanted, how often it is right as well."""
    better: Better = "higher" if rule.wanted else "lower"
    figures = []
    for suffix, column in sightings.columns.items():
        found = share_interval(sum(each.found for each in column), len(column))
        figures.append(_figure(scene, f"logo_found_{suffix}", found, "logo-found", rule, better))
        if rule.wanted:
            right = share_interval(sum(each.right(rule) for each in column), len(column))
            figures.append(_figure(scene, f"logo_right_{suffix}", right, "logo-right", rule, "higher"))
    return figures


def logo_values(scene: Scene, sightings: Sightings, rule: LogoRule, figures: Sequence[Figure]) -> list[PerPicture]:
    """Return 0 or 1 for each made picture: whether the logo is there, and right where it is wanted."""
    made = sightings.columns[scene.suffix]
    named = {figure.name: figure for figure in figures}
    values = {
        f"logo_found_{scene.suffix}": [float(each.found) for each in made],
        f"logo_right_{scene.suffix}": [float(each.right(rule)) for each in made],
    }
    return [per_picture_of(named[name], each) for name, each in values.items() if name in named]


def logo_table(sightings: Sightings, columns: Mapping[str, Column], rule: LogoRule) -> Table:
    """Return what is found, how far its colours are off and how much room it has."""
    rows = []
    for suffix, each in sightings.columns.items():
        found = [one for one in each if one.found]
        steps = f"{np.median([one.step for one in found]):.1f}" if found else "–"
        spaces = f"{np.median([one.space for one in found]):.2f}" if found else "–"
        coloured = f"{sum(one.step <= rule.tolerance for one in found)} of {len(found)}"
        roomy = f"{sum(one.roomy(rule) for one in found)} of {len(found)}"
        rows.append((columns[suffix].title, f"{len(found)} of {len(each)}", steps, coloured, spaces, roomy))
    room = "any will do" if rule.clear_space is None else f"{rule.clear_space:g} is asked for"
    return Table(
        title="The logo",
        note=f"Colours are right within ΔE2000 {rule.tolerance:g}. Clear space is in heights of the logo: {room}.",
        headings=("pictures", "found", "median ΔE2000", "colours right", "median clear space", "space kept"),
        rows=tuple(rows),
    )


def logo_histogram(scene: Scene, sightings: Sightings) -> Histogram:
    """Return how well the logo fits made and real pictures."""
    made = torch.tensor([each.place.score for each in sightings.columns[scene.suffix]])
    return Histogram(
        title="How well the logo fits",
        note="Above the mark it counts as found: all but 1 % of real drawings lie below.",
        x_label="explained share of the place's variance, times the fourth root of its share of the picture",
        values=(("made", made), ("real drawings", torch.tensor(sightings.control))),
        marks=((sightings.threshold, f"{sightings.threshold:.2f}"),),
    )


def logo_grid(scene: Scene, sightings: Sightings, columns: Mapping[str, Column], rule: LogoRule) -> Grid | None:
    """Return pictures with the logo that break a rule, and such as hold one that is not wanted."""
    made = sightings.columns[scene.suffix]
    wrong = [row for row, each in enumerate(made) if not each.right(rule) and (each.found or rule.wanted)]
    strange = [] if rule.wanted else [row for row, each in enumerate(made) if each.found]
    rows = []
    for row in sorted({*wrong, *strange}, key=lambda row: -made[row].place.score)[:WORST]:
        each = made[row]
        remark = f"ΔE2000 {each.step:.1f}, clear space {each.space:.2f}" if each.found else "no logo found"
        tiles = tuple(Tile(label=column.short, picture=column.pictures[row]) for column in columns.values())
        rows.append(Row(tiles=tiles, caption=scene.captions[row], remark=remark))
    return Grid(title="The logo", note="Wrong, missing or unwanted.", rows=tuple(rows)) if rows else None


def _sighting(picture: torch.Tensor, place: Placed, rule: LogoRule, threshold: float) -> Sighting:
    if place.score <= threshold:
        return Sighting(place=place, found=False, step=float("nan"), space=float("nan"))
    step, space = logo_step(picture, rule.logo, place), clear_space(picture, place)
    return Sighting(place=place, found=True, step=step, space=space)


def _figure(scene: Scene, name: str, interval: Interval, metric: str, rule: LogoRule, better: Better) -> Figure:
    identity = scene.identity(metric, rule.identity)
    return Figure.of(name, interval, count=scene.count, identity=identity, better=better, unit="share")
