"""How far apart two crowds of pictures are: the panel ``distribution``.

Shapes: features [N,D].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.figures import Figure, check_comparable
from evaluation.intervals import Estimate, combine, ratio_interval
from evaluation.measurement import Chart, Column, Curve, Line, Section
from evaluation.metrics.catalogue import DEFAULT, METRICS, checked_metrics, measured
from evaluation.metrics.checked import same_count
from evaluation.metrics.infinity import Extrapolation
from evaluation.scene import Scene

NOTE = "Crowds of pictures are compared, not single ones."
THOUSAND = 1000


@dataclass(frozen=True)
class Distances:
    """What one set of pictures is apart from the judging drawings, as estimates that know which drawings they share.

    ``estimates`` and ``figures`` map keys of the catalogue; ``line`` is what stands behind ``frechet_infinity``.
    """

    title: str
    estimates: Mapping[str, Estimate]
    figures: Mapping[str, Figure]
    line: Extrapolation | None


@dataclass(frozen=True, kw_only=True)
class DistributionPanel:
    """Distances of the made pictures, of the unadapted backbone's and of the floor's from the judging drawings.

    ``metrics`` are keys of the catalogue; the default ones say something at 128 pictures and take seconds.  More:
    ``cmmd`` (meant for CLIP's features), ``cmmd_biased`` (as published code has it), ``frechet_infinity`` (4 pictures a
    dimension).  Raises EvaluationError for a metric that is unknown or named twice, and for none at all.
    """

    metrics: Sequence[str] = DEFAULT

    def __post_init__(self) -> None:
        checked_metrics(self.metrics)

    def measure(self, scene: Scene) -> Section:
        """Return each metric of each set; the gap that an adapter closes; a backbone's ratio to the floor.

        Raises EvaluationError where the sets differ in size or are too small for a metric.
        """
        made, floor = self._distances(scene, scene.suffix, scene.made), self._distances(scene, "floor", scene.floor)
        plain = None if scene.plain is None else self._distances(scene, "unadapted", scene.plain)
        sets = [each for each in (made, plain, floor) if each is not None]
        figures = [figure for each in sets for figure in each.figures.values()]
        if "frechet" in made.figures:
            figures += [] if plain is None else [gap_closed(scene, made, plain, floor)]
            if scene.kind == "backbone":
                figures.append(ratio_to_floor(scene, f"frechet_ratio_{scene.suffix}", made, floor))
        family = scene.studio.extractor.family
        return Section(
            name="distribution",
            title="Distance from the real drawings",
            note=NOTE,
            figures=tuple(figures),
            charts=charts_of(sets, family),
            curves=curves_of(sets, family),
            estimates={each.figures[key].name: estimate for each in sets for key, estimate in each.estimates.items()},
        )

    def _distances(self, scene: Scene, suffix: str, column: Column) -> Distances:
        same_count(scene.real.features, column.features, f"the panel, for '{column.title}',")
        found = measured(scene.real.features, column.features, self.metrics, ("judge", suffix))
        figures = {key: figure_of(scene, key, suffix, estimate) for key, estimate in found.estimates.items()}
        return Distances("Floor" if suffix == "floor" else column.title, found.estimates, figures, found.line)


def figure_of(scene: Scene, key: str, suffix: str, estimate: Estimate) -> Figure:
    """Return the figure of a metric, e.g. ``coverage_brand``."""
    metric = METRICS[key]
    return Figure.of(
        f"{metric.stem}_{suffix}",
        estimate.interval(),
        count=scene.count,
        identity=scene.identity(metric.identity(scene.count)),
        better=metric.better,
        unit=metric.unit,
    )


def gap_closed(scene: Scene, made: Distances, unadapted: Distances, floor: Distances) -> Figure:
    """Return (unadapted - made) / (unadapted - floor), Fréchet: 0 is of no use, 1 as close as real ones."""
    check_comparable(*(each.figures["frechet"] for each in (made, unadapted, floor)))
    estimate = combine(_gap, *(each.estimates["frechet"] for each in (made, unadapted, floor)))
    interval, identity = estimate.interval(), scene.identity("gap-closed")
    return Figure.of("gap_closed", interval, count=scene.count, identity=identity, better="higher", unit="share")


def ratio_to_floor(scene: Scene, name: str, made: Distances, floor: Distances) -> Figure:
    """Return made / floor of the Fréchet distances: 1 is as close as real drawings; it leans less on N."""
    check_comparable(made.figures["frechet"], floor.figures["frechet"])
    interval = ratio_interval(made.estimates["frechet"], floor.estimates["frechet"])
    return Figure.of(name, interval, count=scene.count, identity=scene.identity("frechet-ratio"), better="lower")


def charts_of(sets: Sequence[Distances], family: str) -> tuple[Chart, ...]:
    """Return one chart a metric, with a labelled bar for each set; ``family`` of the features decides its name."""
    return tuple(
        Chart(
            title=METRICS[key].title_with(family),
            note=METRICS[key].note,
            bars=tuple((each.title, each.figures[key]) for each in sets),
        )
        for key in sets[0].figures
    )


def curves_of(sets: Sequence[Distances], family: str) -> tuple[Curve, ...]:
    """Return the lines behind the distances of infinitely many pictures, each with its R²; none without that metric."""
    lines = [(each, each.line) for each in sets if each.line is not None]
    if not lines:
        return ()
    fits = "; ".join(f"{each.title}: R² = {line.r_squared:.4f}" for each, line in lines)
    curve = Curve(
        title=METRICS["frechet_infinity"].title_with(family),
        note=f"Each line is fitted through 15 sizes and meets infinity at the left edge. {fits}.",
        x_label="1,000 over the number of pictures a side",
        y_label=METRICS["frechet"].title_with(family),
        lines=tuple(_line(each, line) for each, line in lines),
    )
    return (curve,)


def _line(distances: Distances, line: Extrapolation) -> Line:
    points = ((0.0, line.estimate.value), *((THOUSAND / size, value) for size, value in line.points))
    return Line(label=distances.title, points=points)


def _gap(made: Tensor, unadapted: Tensor, floor: Tensor) -> Tensor:
    return torch.as_tensor((unadapted - made) / (unadapted - floor))
