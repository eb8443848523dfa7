"""What a suite hands to the report: figures, the pictures behind them, a verdict, and where everything came from.

Shapes: pictures uint8 [N,3,H,W], features float32 [N,D]; row n of every column shows the same caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from data.dataset import Dataset
from evaluation.figures import Figure
from registry.artifacts import Card

Tone = Literal["good", "unsure", "bad"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One headline and the sentences beneath it, for somebody who reads no tables."""

    tone: Tone
    headline: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Column:
    """Pictures of one origin; ``short`` labels them in a grid."""

    title: str
    short: str
    pictures: Tensor
    features: Tensor


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Figures of one identity on one axis, each with its label."""

    title: str
    note: str
    bars: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How close the made pictures come to the learnt ones, against real drawings that nobody learnt.

    ``made`` [N] and ``control`` [M] are highest cosine similarities; ``nearest`` [N] are rows of ``learning``.
    """

    made: Tensor
    control: Tensor
    nearest: Tensor
    learning: Tensor
    learning_captions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that learnt, judged or gave the floor."""

    role: str
    name: str
    version: str
    pictures: int
    licences: Mapping[str, int]

    @classmethod
    def of(cls, role: str, dataset: Dataset) -> Source:
        """Return the source that a dataset folder is."""
        card = dataset.card
        return cls(role=role, name=card.name, version=card.version, pictures=card.count, licences=dict(card.licences))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Everything that one suite measured on one model."""

    suite: str
    seed: int
    reference: str
    digest: str
    title: str
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...]
    verdict: Verdict
    captions: tuple[str, ...]
    columns: tuple[Column, ...]  # the real drawings first, then the model's
    sources: tuple[Source, ...]
    settings: Mapping[str, object]
    extractor: str
    likeness: Likeness | None = None
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def figure(self, name: str) -> Figure:
        """Return a figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)

    def to_json(self) -> dict[str, object]:
        """Return the content of ``figures.json``."""
        return {
            "model": {"reference": self.reference, "digest": self.digest},
            "suite": self.suite,
            "seed": self.seed,
            "figures": [figure.to_json() for figure in self.figures],
            "pictures": {
                "count": len(self.captions),
                "px": self.columns[0].pictures.shape[-1],
                "extractor": self.extractor,
                "settings": dict(self.settings),
                "sources": [
                    {"role": source.role, "name": source.name, "version": source.version} for source in self.sources
                ],
            },
        }
