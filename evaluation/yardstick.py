"""One set of judging drawings, against which a suite holds every other set: so that its figures compare.

Shapes: features [N,D].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.dataset import Dataset
from evaluation.distances import frechet_distance, kernel_distance, nearest_cosine
from evaluation.figures import Better, Figure, check_comparable
from evaluation.intervals import Estimate, Interval, combine, share_above
from evaluation.measurement import Chart, Column, Likeness

VERSION_CHARACTERS = 12
CONTROL_SHARE = 0.01
METRICS = {"frechet": frechet_distance, "kernel": kernel_distance}
NOTES = {
    "frechet": "How far apart two crowds of pictures are, in their centre and in their spread. It depends on the number"
    " of pictures: read it beside its floor, never alone.",
    "kernel": "A second opinion that does not depend on the number of pictures: 0 means no difference.",
}
TITLES = {"frechet": "Fréchet distance", "kernel": "Kernel distance"}


@dataclass(frozen=True)
class Distances:
    """Both distances of one set to the judging drawings, as estimates that know which drawings they share."""

    suffix: str
    estimates: Mapping[str, Estimate]
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """The judging drawings with the names that every figure bears: extractor, dataset version, picture size, N."""

    real: Column
    judge: str
    extractor: str

    @property
    def count(self) -> int:
        """N, the number of pictures a side."""
        return len(self.real.pictures)

    def identity(self, metric: str) -> str:
        """Return what a figure must share with another to be compared with it."""
        px = self.real.pictures.shape[-1]
        return f"{metric}/{self.extractor}/{px}px/{self.judge}/N={self.count}"

    def distances(self, suffix: str, column: Column) -> Distances:
        """Return the figures ``frechet_distance_SUFFIX`` and ``kernel_distance_SUFFIX`` of a column."""
        names = ("judge", suffix)
        estimates = {key: metric(self.real.features, column.features, names) for key, metric in METRICS.items()}
        figures = {
            key: self._figure(f"{key}_distance_{suffix}", estimate, key, "lower", len(column.features))
            for key, estimate in estimates.items()
        }
        return Distances(suffix, estimates, figures)

    def gap_closed(self, made: Distances, unadapted: Distances, floor: Distances) -> Figure:
        """Return (unadapted - made) / (unadapted - floor), Fréchet: 0 is of no use, 1 as close as real ones."""
        check_comparable(*(each.figures["frechet"] for each in (made, unadapted, floor)))
        estimate = combine(_gap, *(each.estimates["frechet"] for each in (made, unadapted, floor)))
        return self._figure("gap_closed", estimate, "gap-closed", "higher", self.count)

    def ratio_to_floor(self, name: str, made: Distances, floor: Distances) -> Figure:
        """Return made / floor of the Fréchet distances: 1 is as close as real drawings; it leans less on N.

        Its interval is taken of the logarithm, because a ratio spreads further upwards than downwards.
        """
        check_comparable(made.figures["frechet"], floor.figures["frechet"])
        ratio = combine(_log_ratio, made.estimates["frechet"], floor.estimates["frechet"]).interval()
        interval = Interval(math.exp(ratio.value), math.exp(ratio.low), math.exp(ratio.high))
        return Figure.of(name, interval, count=self.count, identity=self.identity("frechet-ratio"), better="lower")

    def memorisation_excess(self, likeness: Likeness, learn: str) -> Figure:
        """Return the share of made pictures that come closer to a learning drawing than real ones do, less 1 %.

        "Closer than real ones do" means: than all but 1 % of real drawings that nobody learnt.
        """
        interval = share_above(likeness.made, likeness.control, CONTROL_SHARE)
        identity = f"{self.identity('memorisation')}/{learn}/control={len(likeness.control)}"
        return Figure.of("memorisation_excess", interval, count=self.count, identity=identity, better="lower")

    def _figure(self, name: str, estimate: Estimate, metric: str, better: Better, count: int) -> Figure:
        return Figure.of(name, estimate.interval(), count=count, identity=self.identity(metric), better=better)


def label_of(dataset: Dataset, seed: int | None = None) -> str:
    """Return NAME@VERSION, with the seed that chose the judging drawings from it."""
    label = f"{dataset.card.name}@{dataset.card.version[:VERSION_CHARACTERS]}"
    return label if seed is None else f"{label}:seed{seed}"


def charts_of(bars: Mapping[str, Distances]) -> tuple[Chart, ...]:
    """Return one chart a metric, with a labelled bar for each set of pictures."""
    return tuple(
        Chart(
            title=TITLES[metric],
            note=NOTES[metric],
            bars=tuple((label, distances.figures[metric]) for label, distances in bars.items()),
        )
        for metric in METRICS
    )


def likeness_of(made: Column, control: Sequence[Column], learnt: Column, captions: tuple[str, ...]) -> Likeness:
    """Return how close the made pictures, and the control's real ones, come to the learnt drawings."""
    similarity, nearest = nearest_cosine(made.features, learnt.features)
    usual, _ = nearest_cosine(torch.cat([column.features for column in control]), learnt.features)
    return Likeness(
        made=similarity, control=usual, nearest=nearest, learning=learnt.pictures, learning_captions=captions
    )


def _log_ratio(made: Tensor, floor: Tensor) -> Tensor:
    return made.log() - floor.log()


def _gap(made: Tensor, unadapted: Tensor, floor: Tensor) -> Tensor:
    return torch.as_tensor((unadapted - made) / (unadapted - floor))
