"""Every metric of two sets of features by its key, with what it is called; the one place that decides printed names.

Shapes: features [N,D].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors.protocol import INCEPTION_FID
from evaluation.figures import Better, Unit
from evaluation.intervals import Estimate
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.infinity import SIZES, Extrapolation, extrapolated, frechet_infinity
from evaluation.metrics.kernel import SIGMA, cmmd, cmmd_biased, gaussian_estimates, kernel_distance, parts_of
from evaluation.metrics.manifold import (
    COVERAGE_NEIGHBOURS,
    MANIFOLD_NEIGHBOURS,
    coverage,
    density,
    neighbour_estimates,
    precision,
    recall,
)
from evaluation.metrics.sliced import DIRECTIONS, mind

Function = Callable[[Tensor, Tensor, tuple[str, str]], Estimate]
NEIGHBOURS = ("precision", "recall", "density", "coverage")
DEFAULT = ("frechet", "kernel", "mind", *NEIGHBOURS)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with its names.

    ``stem`` begins the names of its figures, ``settings`` is its part of their identity.  ``published`` maps a family
    of features to the name under which the metric is published with these, and with these only; with all others it is
    called ``title``.  ``in_parts`` marks a mean over parts of large sets, whose number then is part of the identity.
    """

    function: Function
    stem: str
    settings: str
    title: str
    note: str
    better: Better = "lower"
    unit: Unit = "number"
    published: Mapping[str, str] = field(default_factory=dict)
    in_parts: bool = False

    def title_with(self, family: str) -> str:
        """Return what the metric is called with features of this family: FID with Inception's, and not otherwise."""
        return self.published.get(family, self.title)

    def identity(self, count: int) -> str:
        """Return the metric with all that its value depends on besides the features; ``count`` is N."""
        parts = parts_of(count) if self.in_parts else 1
        return self.settings + (f":{parts}parts" if parts > 1 else "")


_WIDE = f"k={COVERAGE_NEIGHBOURS}"
_NEAR = f"k={MANIFOLD_NEIGHBOURS}"

METRICS: Mapping[str, Metric] = {
    "frechet": Metric(
        function=frechet_distance,
        stem="frechet_distance",
        settings="frechet",
        title="Fréchet distance",
        published={INCEPTION_FID: "FID"},
        note="How far apart two crowds of pictures are, in their centre and in their spread. It depends on the number"
        " of pictures: read it beside its floor, never alone.",
    ),
    "kernel": Metric(
        function=kernel_distance,
        stem="kernel_distance",
        settings="kernel",
        in_parts=True,
        title="Kernel distance",
        published={INCEPTION_FID: "KID"},
        note="A second opinion that does not depend on the number of pictures: 0 means no difference.",
    ),
    "mind": Metric(
        function=mind,
        stem="mind",
        settings=f"mind:{DIRECTIONS}@seed0",
        title="Sliced distance",
        published={INCEPTION_FID: "MIND"},
        note=f"How far the pictures of one crowd must be moved to become the other, along {DIRECTIONS:,} directions: it"
        " sees the whole shape of the crowds. It depends on the number of pictures: read it beside its floor.",
    ),
    "precision": Metric(
        function=precision,
        stem="precision",
        settings=f"precision:{_NEAR}",
        title="Precision",
        note=f"Share of the pictures that lie as close to a real drawing as its {MANIFOLD_NEIGHBOURS} nearest real"
        " neighbours do: do single pictures look real? It depends on the number of pictures.",
        better="higher",
        unit="share",
    ),
    "recall": Metric(
        function=recall,
        stem="recall",
        settings=f"recall:{_NEAR}",
        title="Recall",
        note="Precision seen from the other side: the share of the real drawings among the pictures. Is the whole"
        " variety there?",
        better="higher",
        unit="share",
    ),
    "density": Metric(
        function=density,
        stem="density",
        settings=f"density:{_WIDE}",
        title="Density",
        note=f"How many real drawings a picture lies close to, over {COVERAGE_NEIGHBOURS}: about 1 for crowds of one"
        " kind, and more where the pictures crowd where drawings are dense. Less moved by outliers than precision.",
        better="higher",
    ),
    "coverage": Metric(
        function=coverage,
        stem="coverage",
        settings=f"coverage:{_WIDE}",
        title="Coverage",
        note=f"Share of the real drawings that have a picture closer than their {COVERAGE_NEIGHBOURS}th nearest real"
        " neighbour: what kinds of drawing are missing? Less moved by outliers than recall.",
        better="higher",
        unit="share",
    ),
    "cmmd": Metric(
        function=cmmd,
        stem="cmmd",
        settings=f"cmmd:sigma={SIGMA:g},unit,unbiased",
        in_parts=True,
        title="Gaussian kernel distance",
        published={"clip": "CMMD"},
        note="A kernel distance of directions, times 1,000: 0 means no difference. Unbiased, so that it does not depend"
        " on the number of pictures.",
    ),
    "cmmd_biased": Metric(
        function=cmmd_biased,
        stem="cmmd_biased",
        settings=f"cmmd:sigma={SIGMA:g},unit,biased",
        in_parts=True,
        title="Gaussian kernel distance, biased",
        published={"clip": "CMMD, biased as in its reference"},
        note="The same as the published code of CMMD computes it: larger the fewer pictures there are.",
    ),
    "frechet_infinity": Metric(
        function=frechet_infinity,
        stem="frechet_infinity",
        settings=f"frechet-infinity:{SIZES}sizes,N/2..N,seed0",
        title="Fréchet distance of infinitely many pictures",
        published={INCEPTION_FID: "FID of infinitely many pictures"},
        note="Where a line through the distances of 15 smaller crowds meets infinity. 0 means no difference.",
    ),
}


def checked_metrics(keys: Iterable[str]) -> tuple[str, ...]:
    """Return keys in the order of the catalogue; EvaluationError for one that is unknown or stands twice, or none."""
    if isinstance(keys, str):
        raise EvaluationError(f"metrics must be a list of names, got {keys!r}: write [{keys}]")
    named = list(keys)
    known = ", ".join(METRICS)
    for key in named:
        if key not in METRICS:
            raise EvaluationError(f"there is no metric {key!r}: the metrics are {known}")
        if named.count(key) > 1:
            raise EvaluationError(f"metric {key!r} is named twice")
    if not named:
        raise EvaluationError(f"metrics is empty: name some of {known}")
    return tuple(key for key in METRICS if key in named)


@dataclass(frozen=True)
class Measured:
    """An estimate a metric, and the line behind ``frechet_infinity`` where that was asked for."""

    estimates: Mapping[str, Estimate]
    line: Extrapolation | None


def measured(
    real_ND: Tensor, made_ND: Tensor, keys: Iterable[str], names: tuple[str, str] = ("real", "made")
) -> Measured:
    """Return an estimate a metric; those that share their work are taken together.

    Raises EvaluationError for an unknown metric or features that cannot be measured.
    """
    keys, found, line = checked_metrics(keys), dict[str, Estimate](), None
    if "frechet_infinity" in keys:
        line = extrapolated(real_ND, made_ND, names)
        found["frechet_infinity"] = line.estimate
        found["frechet"] = line.whole
    if set(keys) & set(NEIGHBOURS):
        found |= neighbour_estimates(real_ND, made_ND, names)
    if {"cmmd", "cmmd_biased"} <= set(keys):
        found |= gaussian_estimates(real_ND, made_ND, names)
    estimates = {key: found[key] if key in found else METRICS[key].function(real_ND, made_ND, names) for key in keys}
    return Measured(estimates, line)
