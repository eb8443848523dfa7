"""Are the colours the brand's: the panel ``palette``.

Shapes: pictures uint8 [N,3,H,W], steps ΔE2000 float64 [P] a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.dataset import on_ground
from evaluation.drawing import check_count, to_tensor
from evaluation.elements.colour import Colours, srgb_of_hex
from evaluation.elements.estimates import NOT_NEGATIVE, SHARE, hashed, mean_of, of_left_out
from evaluation.elements.palette import (
    Palette,
    figure_of,
    flats_of,
    nearest_in,
    palette_distance,
    palette_of,
    pooled,
    shares_of,
)
from evaluation.elements.rules import BrandRules
from evaluation.extractors.pictures import WHITE
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import Estimate, Interval, combine
from evaluation.measurement import Chart, Column, Finding, Grid, PerPicture, Row, Section, Table, Tile
from evaluation.panels.critical import critical_colours
from evaluation.panels.kit import columns_of, rules_of
from evaluation.scene import Scene
from evaluation.wording import interval_text, value_text

TITLE = "Colours of the brand"
NOTE = (
    "The palette of each picture is the centres of k-means in OKLab, by area, without the white ground around the"
    " drawing. Blends along edges count as colours, which is why the brand's own drawings, at this size, do not reach"
    " all of their palette either: read each figure beside theirs."
)
NOTES = {
    "palette_distance": "How far colour must move, in ΔE2000, to turn a picture's palette into the brand's: the mean"
    " over pictures. One drawing never uses all of the brand's colours, so even its own do not come near 0.",
    "palette_set_distance": "The same for all pictures poured together: the brand's colours, in the brand's"
    " proportions.",
    "palette_coverage": "Share of what is drawn that lies within ΔE2000 5 of a colour of the brand.",
}
TITLES = {
    "palette_distance": "Palette distance, picture by picture",
    "palette_set_distance": "Palette distance, all together",
    "palette_coverage": "Drawn in the brand's colours",
}
BETTER: Mapping[str, Better] = {
    "palette_distance": "lower",
    "palette_set_distance": "lower",
    "palette_coverage": "higher",
}
COVERED_STEP = 5.0
WORST = 8
MOST_LEARNT = 200


@dataclass(frozen=True)
class Seen:
    """One column against the brand's palette: distances [N], coverage [N], shares [N,K] of the brand's colours."""

    palettes: tuple[Palette, ...]
    distances: NDArray[np.float64]
    coverage: NDArray[np.float64]
    shares: NDArray[np.float64]
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class PalettePanel:
    """Palettes of the made pictures, of the unadapted backbone's and of the brand's own, against the brand's palette.

    ``clusters`` is the k of a picture's palette, ``brand_colours`` that of a palette measured from learnt drawings,
    where the kit names none.  ``kit`` is a kit's file; None is the kit on the model's card.
    """

    clusters: int = 8
    brand_colours: int = 16
    kit: str | None = None

    def __post_init__(self) -> None:
        check_count("panel palette: clusters", self.clusters, 1, 64)
        check_count("panel palette: brand_colours", self.brand_colours, 1, 64)

    def measure(self, scene: Scene) -> Section:
        """Return distances and coverage of each set, what the adapter gains over equal orders, critical colours."""
        rules = rules_of(scene, self.kit)
        if not rules.palette and (scene.learn is None or scene.kind == "backbone"):
            missing = "no brand's palette is known: add palette to the brand's kit, or pass suite.learn=DIR"
            return Section(name="palette", title=TITLE, note=NOTE, missing=missing)
        ground = None if rules.ground_in_palette else np.array(WHITE) / 255
        brand, origin = self._brand_palette(scene, rules, ground)
        columns = columns_of(scene)
        seen = {suffix: self._seen(column.pictures, brand, ground) for suffix, column in columns.items()}
        label = f"palette-k{self.clusters}@{_digest(brand)}"
        figures = {suffix: _figures(scene, suffix, each, label) for suffix, each in seen.items()}
        gained = _gained(scene, seen)
        gains = _gains(scene, gained, label)
        critical = critical_colours(scene, rules.critical_colours, brand, columns, ground)
        return Section(
            name="palette",
            title=TITLE,
            note=f"{NOTE} {origin}",
            figures=(*(figure for each in figures.values() for figure in each.values()), *gains, *critical[0]),
            findings=tuple(_finding(gain) for gain in gains if gain.name == "palette_coverage_gain"),
            charts=_charts(columns, figures),
            tables=(_palette_table(columns, seen, brand), *critical[1]),
            grids=(_worst(scene, columns, seen),),
            per_picture=_per_picture(figures[scene.suffix], seen[scene.suffix]),
            estimates={f"{name}_{suffix}": each for suffix, one in seen.items() for name, each in one.estimates.items()}
            | {f"{name}_gain": each for name, each in gained.items()},
        )

    def _brand_palette(self, scene: Scene, rules: BrandRules, ground: Colours | None) -> tuple[Palette, str]:
        """Return the brand's palette and where it comes from; its weights are what the learnt drawings use."""
        learnt = _learnt_pictures(scene)
        if rules.palette:
            colours = np.stack([srgb_of_hex(name) for name in rules.palette])
            origin = "The brand's palette is its kit's"
        else:
            flats = [flats_of(picture, ground) for picture in learnt]
            kept = np.concatenate([each for each in flats if len(each)] or [figure_of(each, ground) for each in learnt])
            colours = palette_of(kept, self.brand_colours).colours
            origin = (
                "The brand's kit names no palette, so it is measured: k-means over the flat colours of"
                f" {len(learnt)} learnt drawings"
            )
        if not learnt:
            return Palette(colours, np.full(len(colours), 1 / len(colours))), f"{origin}, each colour in equal parts."
        pixels = [figure_of(picture, ground) for picture in (scene.learnt.pictures if scene.learnt else learnt)]
        shares = np.mean([shares_of(nearest_in(each, colours)[0], len(colours)) for each in pixels], axis=0)
        return Palette(colours, shares), f"{origin}, in the proportions of the learnt drawings."

    def _seen(self, pictures: Tensor, brand: Palette, ground: Colours | None) -> Seen:
        drawn = [figure_of(picture, ground) for picture in pictures]
        palettes = tuple(palette_of(pixels, self.clusters) for pixels in drawn)
        nearest = [nearest_in(pixels, brand.colours) for pixels in drawn]
        distances = np.array([palette_distance(each, brand) for each in palettes])
        coverage = np.array([float((steps <= COVERED_STEP).mean()) for _, steps in nearest])

        def together(rows: Sequence[int]) -> float:
            return palette_distance(pooled(palettes[row] for row in rows), brand)

        estimates = {
            "palette_distance": mean_of(distances, NOT_NEGATIVE),
            "palette_set_distance": of_left_out(together, len(palettes), NOT_NEGATIVE),
            "palette_coverage": mean_of(coverage, SHARE),
        }
        shares = np.stack([shares_of(each, len(brand.colours)) for each, _ in nearest])
        return Seen(palettes, distances, coverage, shares, estimates)


def _learnt_pictures(scene: Scene) -> list[Tensor]:
    """Return learnt drawings on white at the size of their files, where edges blend less than at the network's."""
    if scene.learn is None:
        return []
    rows = scene.learn.rows()[:MOST_LEARNT]
    return [to_tensor([on_ground(scene.learn.picture(row), WHITE)])[0] for row in rows]


def _figures(scene: Scene, suffix: str, seen: Seen, label: str) -> dict[str, Figure]:
    figures = {}
    for name, estimate in seen.estimates.items():
        figures[name] = _figure(scene, f"{name}_{suffix}", estimate.interval(), name, label, BETTER[name])
    return figures


def _figure(scene: Scene, name: str, interval: Interval, metric: str, label: str, better: Better) -> Figure:
    unit: Unit = "share" if "coverage" in metric else "number"
    identity = scene.identity(metric.replace("_", "-"), label)
    return Figure.of(name, interval, count=scene.count, identity=identity, better=better, unit=unit)


def _gained(scene: Scene, seen: Mapping[str, Seen]) -> dict[str, Estimate]:
    """Return by how much the adapter is nearer to the brand than the backbone, paired by caption and seed."""
    if "unadapted" not in seen:
        return {}
    gained = {}
    for name, better in BETTER.items():
        made, plain = seen[scene.suffix].estimates[name], seen["unadapted"].estimates[name]
        pair = (plain, made) if better == "lower" else (made, plain)
        gained[name] = combine(lambda one, other: one - other, *pair)
    return gained


def _gains(scene: Scene, gained: Mapping[str, Estimate], label: str) -> list[Figure]:
    return [
        _figure(scene, f"{name}_gain", estimate.interval(), f"{name}_gain", label, "higher")
        for name, estimate in gained.items()
    ]


def _per_picture(figures: Mapping[str, Figure], seen: Seen) -> tuple[PerPicture, ...]:
    values = {"palette_distance": seen.distances, "palette_coverage": seen.coverage}
    return tuple(
        PerPicture(
            name=figures[name].name,
            title=TITLES[name],
            values=torch.from_numpy(each),
            identity=figures[name].identity,
            better=figures[name].better,
            unit=figures[name].unit,
        )
        for name, each in values.items()
    )


def _finding(gain: Figure) -> Finding:
    amount = f"{value_text(gain)} of what is drawn, 95 % interval {interval_text(gain)}"
    if gain.low > 0:
        return Finding(tone="good", sentence=f"More of it is drawn in the brand's colours than without it ({amount}).")
    if gain.high < 0:
        return Finding(tone="bad", sentence=f"Less of it is drawn in the brand's colours than without it ({amount}).")
    return Finding(tone="unsure", sentence=f"Its colours are as near to the brand's as without it ({amount}).")


def _charts(columns: Mapping[str, Column], figures: Mapping[str, Mapping[str, Figure]]) -> tuple[Chart, ...]:
    return tuple(
        Chart(
            title=TITLES[name],
            note=NOTES[name],
            bars=tuple((columns[suffix].title, each[name]) for suffix, each in figures.items()),
        )
        for name in TITLES
    )


def _palette_table(columns: Mapping[str, Column], seen: Mapping[str, Seen], brand: Palette) -> Table:
    rows = [
        (colour, _percent(brand.weights[place]), *(_percent(seen[key].shares[:, place].mean()) for key in columns))
        for place, colour in enumerate(brand.names)
    ]
    return Table(
        title="The brand's palette",
        note="Share of what is drawn that is nearest to each colour.",
        headings=("colour", "brand's proportion", *(column.title for column in columns.values())),
        rows=tuple(rows),
    )


def _worst(scene: Scene, columns: Mapping[str, Column], seen: Mapping[str, Seen]) -> Grid:
    coverage = seen[scene.suffix].coverage
    rows = []
    for row in np.argsort(coverage, kind="stable")[:WORST]:
        tiles = tuple(Tile(label=column.short, picture=column.pictures[int(row)]) for column in columns.values())
        remark = f"{_percent(coverage[row])} in the brand's colours"
        rows.append(Row(tiles=tiles, caption=scene.captions[int(row)], remark=remark))
    return Grid(title="Furthest from the brand's colours", note="The least coverage first.", rows=tuple(rows))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _digest(palette: Palette) -> str:
    return hashed([*palette.names, *(f"{weight:.6f}" for weight in palette.weights)])
