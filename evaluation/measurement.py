"""What a suite hands to the report: figures, the pictures behind them, a verdict, and where everything came from.

Shapes: pictures uint8 [N,3,H,W], features float32 [N,D]; row n of every column shows the same caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from torch import Tensor

from data.dataset import Dataset
from evaluation.errors import EvaluationError
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import Estimate
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
class Tile:
    """One picture [3,H,W] uint8 with what it is."""

    label: str
    picture: Tensor


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures that belong side by side, with a caption above them and a remark beneath."""

    tiles: tuple[Tile, ...]
    caption: str = ""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows of pictures under a title."""

    title: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A labelled curve: (x, y) points, and bounds of y where they are known."""

    label: str
    points: tuple[tuple[float, float], ...]
    bounds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Lines over one axis; ``marks`` are vertical lines that mean something: (x, label)."""

    title: str
    note: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    marks: tuple[tuple[float, str], ...] = ()
    unit: Unit = "number"


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Two or more sets of values [N] over one axis, as shares of their set."""

    title: str
    note: str
    x_label: str
    values: tuple[tuple[str, Tensor], ...]
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts under headings, all of one length.  A text like #1e50a0 is shown with its colour."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PerPicture:
    """One number a made picture, in the scene's order: what ``atelier compare`` tests picture by picture.

    ``values`` is float [N].  Where a figure of the same name exists, it is their mean.
    """

    name: str
    title: str
    values: Tensor
    identity: str
    better: Better
    unit: Unit = "number"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a section says in one sentence.  A bad one becomes the headline of the whole measurement."""

    tone: Tone
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one panel measured: figures first, and what makes them believable beside them.

    ``missing`` says why a panel could not measure this scene, and what would be needed; it then has no figures.
    ``estimates`` maps names of figures to the jackknife behind them, and ``per_picture`` holds a number a picture:
    with either a figure can be held against another evaluation's by a paired test.
    """

    name: str
    title: str
    note: str
    figures: tuple[Figure, ...] = ()
    findings: tuple[Finding, ...] = ()
    charts: tuple[Chart, ...] = ()
    curves: tuple[Curve, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    tables: tuple[Table, ...] = ()
    grids: tuple[Grid, ...] = ()
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    per_picture: tuple[PerPicture, ...] = ()
    missing: str = ""

    def to_json(self) -> dict[str, object]:
        """Return what the page shows of the section, without pictures."""
        return {
            "name": self.name,
            "title": self.title,
            "missing": self.missing,
            "figures": [figure.name for figure in self.figures],
            "findings": [asdict(finding) for finding in self.findings],
            "tables": [asdict(table) for table in self.tables],
            "curves": [asdict(curve) for curve in self.curves],
        }


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
    """Everything that one suite measured on one model.

    ``asked`` says of each picture what it was drawn from (prompt, seed, style; or a file's name): two measurements are
    compared picture by picture where these are equal.  Raises EvaluationError when there is no figure at all, or two
    of one name.
    """

    suite: str
    seed: int
    reference: str
    digest: str
    title: str
    sections: tuple[Section, ...]
    verdict: Verdict
    captions: tuple[str, ...]
    columns: tuple[Column, ...]  # the real drawings first, then the model's
    sources: tuple[Source, ...]
    settings: Mapping[str, object]
    extractor: str
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = field(default=())
    asked: tuple[str, ...] = ()
    per_picture: tuple[PerPicture, ...] = ()

    def __post_init__(self) -> None:
        names = [figure.name for figure in self.figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise EvaluationError(f"suite {self.suite} measures {', '.join(twice)} in two of its panels")
        if not names:
            reasons = "; ".join(f"{section.title}: {section.missing}" for section in self.sections)
            raise EvaluationError(
                f"suite {self.suite} measured nothing"
                + (f" ({reasons})" if reasons else ": it has no panels; suite.panels names them")
            )

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, section by section."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def values(self) -> tuple[PerPicture, ...]:
        """Every number a picture: the suite's own, then section by section."""
        return (*self.per_picture, *(value for section in self.sections for value in section.per_picture))

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The jackknife behind figures, by their names."""
        return {name: estimate for section in self.sections for name, estimate in section.estimates.items()}

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
            "verdict": asdict(self.verdict),
            "sections": [section.to_json() for section in self.sections],
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
