"""Tasks that keep to something taken from a picture: its lines, its relief or its colours.

The control is made from the true drawing as in training, given as a person would give it, and measured by what the
drawn picture keeps of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluation.elements.palette import figure_of, palette_distance, palette_of
from evaluation.figures import Better, Unit
from evaluation.measurement import Column
from evaluation.tasks.bench import Bench, numbers_of, with_pictures
from evaluation.tasks.edges import STEEPEST, edge_f1, edges_of
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import FeatureDistance, Score
from evaluation.tasks.trial import Rival, Trial
from synthesis.control import Shading
from synthesis.tasks import task_named


@dataclass(frozen=True, kw_only=True)
class EdgeAgreement:
    """F1 of the edges, within a tolerance."""

    tolerance_px: int = 1
    name: str = "edge_f1"
    title: str = "Edge F1"
    better: Better = "higher"
    unit: Unit = "number"
    network: str = ""

    @property
    def metric(self) -> str:
        """The metric with its settings."""
        return f"edge-f1:sobel{STEEPEST}:within-{self.tolerance_px}px"

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        return edge_f1(edges_of(made.pictures), edges_of(truth.pictures), self.tolerance_px)


@dataclass(frozen=True, kw_only=True)
class PaletteDistance:
    """How far colour must move, in ΔE2000, from one drawing's palette to the other's.

    The ground counts, as it does in the mosaic that is asked for: 64 colours of the drawing, of which chance alone
    makes a palette about 2.7 from the drawing's own.
    """

    name: str = "palette_distance"
    title: str = "Palette distance, ΔE2000"
    better: Better = "lower"
    unit: Unit = "number"
    metric: str = "palette-emd-de2000:kmeans8-oklab:with-ground"
    network: str = ""

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        palettes = [[palette_of(figure_of(each, None)) for each in column.pictures] for column in (made, truth)]
        distances = [palette_distance(one, other) for one, other in zip(*palettes, strict=True)]
        return torch.tensor(distances, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class ReliefAgreement:
    """Correlation of the reliefs that both pictures have: 1 where one is the other, brighter or darker."""

    name: str = "relief_correlation"
    title: str = "Relief correlation"
    better: Better = "higher"
    unit: Unit = "number"
    metric: str = "relief-pearson"
    network: str = ""

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]; a picture that is all ground correlates with nothing, and gets 0."""
        reliefs = [Shading().map_of(numbers_of(column.pictures))[:, 0].flatten(1).double() for column in (made, truth)]
        one, other = (relief - relief.mean(dim=1, keepdim=True) for relief in reliefs)
        return torch.nn.functional.cosine_similarity(one, other, dim=1)


@dataclass(frozen=True, kw_only=True)
class ControlMeasure:
    """What is drawn under control, held against the drawing that gave it; the baseline is text alone."""

    task: str
    title: str
    score: Score

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        rows = bench.rows()
        truth = bench.truth(rows)
        source, _ = bench.condition(task_named(self.task), rows, numbers_of(truth.pictures))
        orders = with_pictures(bench.orders(rows, self.task), source)
        text = bench.drawn(bench.orders(rows, "text_to_image"))
        rivals = [Rival(key="text_alone", column=replace(text, title="Text alone", short="text alone"))]
        rivals += [Rival(key=key, column=column, role="model") for key, column in bench.unadapted(orders)]
        trial = Trial(
            name=self.task,
            title=self.title,
            note="What the drawn picture keeps of the drawing that gave the control.",
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=bench.shown("The control", "control", source),
            truth=truth,
            made=bench.drawn(orders),
            rivals=rivals,
            scores=(self.score, FeatureDistance(network=bench.studio.extractor_identity)),
        )
        return [trial.measure(bench)]
