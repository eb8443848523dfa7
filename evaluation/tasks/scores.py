"""Scores: one number a picture, of what was drawn against what is true.

Shapes: pictures uint8 [N,3,H,W], masks [N,1,H,W], values float64 [N].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import cosine_similarity

from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.figures import Better, Unit
from evaluation.measurement import Column
from evaluation.studio import Studio
from evaluation.tasks.pixels import around_the_hole, peak_signal_to_noise, structural_similarity


class Score(Protocol):
    """How good one picture is, against the one that it should be."""

    @property
    def name(self) -> str:
        """Part of the figure's name."""

    @property
    def title(self) -> str:
        """What it is called."""

    @property
    def better(self) -> Better:
        """Which way is good."""

    @property
    def unit(self) -> Unit:
        """Its unit."""

    @property
    def metric(self) -> str:
        """The metric with its settings, as it stands in the figure's identity."""

    @property
    def network(self) -> str:
        """Identity of the network that looks at the pictures, empty where none does."""

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""


@dataclass(frozen=True, kw_only=True)
class FeatureDistance:
    """1 - cos of the features: 0 for pictures that the extractor cannot tell apart."""

    network: str
    name: str = "feature_distance"
    title: str = "Feature distance"
    better: Better = "lower"
    unit: Unit = "number"
    metric: str = "feature-cosine-distance"

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        return 1 - cosine_similarity(made.features.double(), truth.features.double(), dim=1)


@dataclass(frozen=True, kw_only=True)
class StyleDistance:
    """1 - cos of what another extractor makes of the pictures: with the style descriptor, how unlike two looks are."""

    studio: Studio
    extractor: Extractor
    name: str = "style_distance"
    title: str = "Style distance"
    better: Better = "lower"
    unit: Unit = "number"
    metric: str = "style-cosine-distance"

    @property
    def network(self) -> str:
        """Identity of the descriptor."""
        return extractor_identity(self.extractor)

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        one, other = (self.studio.features(self.extractor, column.pictures, column.title) for column in (made, truth))
        return 1 - cosine_similarity(one.double(), other.double(), dim=1)


@dataclass(frozen=True, kw_only=True)
class FeatureDistanceInHole:
    """The same of what lies in the bounding box of each hole, enlarged to the pictures' size."""

    studio: Studio
    mask: Tensor
    name: str = "feature_distance"
    title: str = "Feature distance in the hole"
    better: Better = "lower"
    unit: Unit = "number"
    metric: str = "feature-cosine-distance:box-of-hole-bicubic"

    @property
    def network(self) -> str:
        """Identity of the studio's extractor."""
        return self.studio.extractor_identity

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        one, other = (
            self.studio.column(
                f"{column.title}, in the hole", column.short, around_the_hole(column.pictures, self.mask)
            )
            for column in (made, truth)
        )
        return FeatureDistance(network=self.network)(one, other)


@dataclass(frozen=True, kw_only=True)
class PeakSignal:
    """PSNR in dB, within the holes alone where there are any."""

    mask: Tensor | None = None
    name: str = "psnr"
    title: str = "PSNR"
    better: Better = "higher"
    unit: Unit = "dB"
    network: str = ""

    @property
    def metric(self) -> str:
        """The metric, which says where it looks."""
        return "psnr:at-most-60dB" + (":in-hole" if self.mask is not None else "")

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        return peak_signal_to_noise(made.pictures, truth.pictures, self.mask)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """SSIM, at most 1."""

    name: str = "ssim"
    title: str = "SSIM"
    better: Better = "higher"
    unit: Unit = "number"
    metric: str = "ssim:gauss11"
    network: str = ""

    def __call__(self, made: Column, truth: Column) -> Tensor:
        """Return the values [N]."""
        return structural_similarity(made.pictures, truth.pictures)
