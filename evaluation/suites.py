"""Suites: what is drawn, what it is held against, and which figures come out.  ``conf/suite`` names these classes.

A suite's settings are its constructor.  All distances of one suite take the same judging drawings and the same number
N of pictures a side, so that its figures compare with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from data.dataset import Dataset, open_dataset
from evaluation.distances import LEAST_PICTURES, nearest_cosine
from evaluation.drawing import DrawingSettings, Order, check_range, to_tensor
from evaluation.drawings import (
    colour_rows,
    dataset_versions,
    fitted,
    in_drawn_order,
    learnt_folder,
    matched_by_style,
    pictures_in,
    real_pictures,
    refuse_learnt,
    two_halves,
)
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.figures import Figure
from evaluation.measurement import Chart, Column, Measurement, Source
from evaluation.studio import Studio
from evaluation.verdicts import backbone_verdict, brand_verdict, pictures_verdict
from evaluation.yardstick import Yardstick, charts_of, label_of, likeness_of
from registry.artifacts import digest_folder
from registry.resolve import ResolvedModel


class Suite(Protocol):
    """Measures what ``reference`` names."""

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return all figures, with the pictures behind them."""


@dataclass(frozen=True, kw_only=True)
class BrandSuite:
    """An adapter against its brand's own drawings, beside the unadapted backbone and the floor.

    The captions of ``pictures`` judging drawings are drawn twice with equal seeds: with the adapter, and by the
    backbone in no style.  Both are held against those judging drawings.  So are as many other drawings of the brand:
    that is the floor, what two sets of the brand's own drawings are apart.  ``learn`` is the dataset that the adapter
    learnt, None the one that its card names.
    """

    name: str = "brand"
    pictures: int = 128
    seed: int = 0
    judge: str = "assets/sample/openmoji-judge"
    learn: str | None = None
    drawing: DrawingSettings = field(default_factory=DrawingSettings)

    def __post_init__(self) -> None:
        check_range("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when it is no adapter or the drawings do not fit together."""
        model, base = _adapter(studio.resolve(reference), self.name)
        judge, learn = open_dataset(Path(self.judge)), open_dataset(self._learnt_by(model))
        rows, others = two_halves(judge, self.pictures, self.seed)
        refuse_learnt(judge, [*rows, *others], learn)
        orders = _orders(judge, rows, self.seed)
        adapted = studio.drawn(model, orders, self.drawing, "With the adapter", "adapter")
        plain = studio.drawn(base, orders, self.drawing, "Without the adapter", "without")
        px = adapted.pictures.shape[-1]
        real = studio.column("The brand's own drawing", "brand", real_pictures(judge, rows, px))
        floor = studio.column("Other drawings of the brand", "floor", real_pictures(judge, others, px))
        learnt = studio.column("What it learnt", "learnt", real_pictures(learn, range(len(learn)), px))
        yardstick = Yardstick(real=real, judge=label_of(judge, self.seed), extractor=studio.extractor_identity)
        likeness = likeness_of(adapted, (real, floor), learnt, tuple(record.caption for record in learn.records))
        figures, charts = _brand_figures(yardstick, adapted, plain, floor)
        figures += (yardstick.memorisation_excess(likeness, label_of(learn)),)
        brand = str(model.card.get("brand") or model.card["name"])
        return Measurement(
            suite=self.name,
            seed=self.seed,
            reference=reference,
            digest=model.digest,
            title=brand,
            figures=figures,
            charts=charts,
            verdict=brand_verdict(brand, {figure.name: figure for figure in figures}),
            captions=tuple(order.prompt for order in orders),
            columns=(real, adapted, plain),
            sources=(Source.of("judged by", judge), Source.of("learnt", learn)),
            settings=asdict(self.drawing),
            extractor=studio.extractor_identity,
            likeness=likeness,
            cards=(model.card, base.card),
            notes=_notes(model, judge, learn),
        )

    def _learnt_by(self, model: ResolvedModel) -> Path:
        return Path(self.learn) if self.learn else learnt_folder(model.card)


@dataclass(frozen=True, kw_only=True)
class BackboneSuite:
    """A backbone on subjects and (subject, set) pairs it never learnt, each drawn in the style of its set.

    The floor holds as many drawings that were learnt, of the same sets, against the judging ones: what two handfuls
    of real drawings of these sets are apart.  One-colour drawings are left out: they are painted at random.
    """

    name: str = "backbone"
    pictures: int = 128
    seed: int = 0
    judge: str = "assets/sample/base"
    splits: Sequence[str] = ("heldout_pair", "heldout_subject")
    drawing: DrawingSettings = field(default_factory=DrawingSettings)

    def __post_init__(self) -> None:
        check_range("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when it is no backbone or the drawings are too few."""
        model = _backbone(studio.resolve(reference), self.name)
        judge = open_dataset(Path(self.judge))
        rows = self._heldout(judge)
        orders = _orders(judge, rows, self.seed, styled=True)
        made = studio.drawn(model, orders, self.drawing, "The backbone", "backbone")
        px = made.pictures.shape[-1]
        real = studio.column("The set's own drawing", "real", real_pictures(judge, rows, px))
        others = matched_by_style(judge, rows, colour_rows(judge, ("train",)), self.seed)
        floor = studio.column("Other drawings of the sets", "floor", real_pictures(judge, others, px))

        yardstick = Yardstick(real=real, judge=label_of(judge, self.seed), extractor=studio.extractor_identity)
        by_model, by_sets = yardstick.distances("heldout", made), yardstick.distances("floor", floor)
        ratio = yardstick.ratio_to_floor("frechet_ratio_heldout", by_model, by_sets)
        figures = (*by_model.figures.values(), *by_sets.figures.values(), ratio)
        return Measurement(
            suite=self.name,
            seed=self.seed,
            reference=reference,
            digest=model.digest,
            title=str(model.card["name"]),
            figures=figures,
            charts=charts_of({"The backbone": by_model, "Floor": by_sets}),
            verdict=backbone_verdict({figure.name: figure for figure in figures}),
            captions=tuple(f"{order.prompt} · {order.style}" for order in orders),
            columns=(real, made),
            sources=(Source.of("judged by", judge),),
            settings=asdict(self.drawing) | {"splits": list(self.splits)},
            extractor=studio.extractor_identity,
            cards=(model.card,),
        )

    def _heldout(self, judge: Dataset) -> list[int]:
        rows = colour_rows(judge, tuple(self.splits))
        if len(rows) < self.pictures:
            raise TooFewPicturesError(
                f"{judge.folder} has {len(rows)} colour drawings of {', '.join(self.splits)}, {self.pictures} are"
                f" measured: pass suite.pictures={len(rows)} or less"
            )
        return in_drawn_order(judge, rows, self.seed)[: self.pictures]


@dataclass(frozen=True, kw_only=True)
class PicturesSuite:
    """A folder of pictures, wherever they come from, against a brand's own drawings and their floor."""

    name: str = "pictures"
    pictures: int = 128
    seed: int = 0
    judge: str = "assets/sample/openmoji-judge"
    side_px: int = 64

    def __post_init__(self) -> None:
        check_range("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)
        check_range("suite.side_px", self.side_px, 16, 4096)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when the folder holds too few pictures or a broken one."""
        folder = Path(reference)
        found, names = pictures_in(folder, self.pictures)
        judge = open_dataset(Path(self.judge))
        rows, others = two_halves(judge, self.pictures, self.seed)
        made = studio.column(
            "The pictures", "pictures", to_tensor([fitted(picture, self.side_px) for picture in found])
        )
        real = studio.column("The brand's own drawings", "brand", real_pictures(judge, rows, self.side_px))
        floor = studio.column("Other drawings of the brand", "floor", real_pictures(judge, others, self.side_px))

        yardstick = Yardstick(real=real, judge=label_of(judge, self.seed), extractor=studio.extractor_identity)
        by_pictures, by_brand = yardstick.distances("pictures", made), yardstick.distances("floor", floor)
        figures = (*by_pictures.figures.values(), *by_brand.figures.values())
        return Measurement(
            suite=self.name,
            seed=self.seed,
            reference=reference,
            digest=digest_folder(folder),
            title=folder.name,
            figures=figures,
            charts=charts_of({"The pictures": by_pictures, "Floor": by_brand}),
            verdict=pictures_verdict({figure.name: figure for figure in figures}),
            captions=names,
            columns=(_nearest(real, made), made),
            sources=(Source.of("judged by", judge),),
            settings={"side_px": self.side_px},
            extractor=studio.extractor_identity,
        )


def _adapter(model: ResolvedModel, suite: str) -> tuple[ResolvedModel, ResolvedModel]:
    if model.base is None:
        raise EvaluationError(f"suite {suite} measures an adapter, {model.reference} is a backbone: use suite=backbone")
    return model, model.base


def _backbone(model: ResolvedModel, suite: str) -> ResolvedModel:
    if model.base is not None:
        raise EvaluationError(f"suite {suite} measures a backbone, {model.reference} is an adapter: use suite=brand")
    return model


def _orders(judge: Dataset, rows: Sequence[int], seed: int, *, styled: bool = False) -> list[Order]:
    records = [judge.records[row] for row in rows]
    return [
        Order(prompt=record.caption, seed=seed + number, style=record.style if styled else None)
        for number, record in enumerate(records)
    ]


def _brand_figures(
    yardstick: Yardstick, adapted: Column, plain: Column, floor: Column
) -> tuple[tuple[Figure, ...], tuple[Chart, ...]]:
    """Return both distances of the three sets and the gap that the adapter closes, and their charts."""
    by_adapter = yardstick.distances("brand", adapted)
    by_base = yardstick.distances("unadapted", plain)
    by_brand = yardstick.distances("floor", floor)
    distances = [figure for each in (by_adapter, by_base, by_brand) for figure in each.figures.values()]
    gap = yardstick.gap_closed(by_adapter, by_base, by_brand)
    return (*distances, gap), charts_of({"With the adapter": by_adapter, "Without it": by_base, "Floor": by_brand})


def _nearest(real: Column, made: Column) -> Column:
    """Return for each made picture the real one most like it: no caption pairs them."""
    _, rows = nearest_cosine(made.features, real.features)
    title = f"Most like it of {real.title[0].lower()}{real.title[1:]}"
    return Column(title=title, short=real.short, pictures=real.pictures[rows], features=real.features[rows])


def _notes(model: ResolvedModel, judge: Dataset, learn: Dataset) -> tuple[str, ...]:
    """Say what a reader should doubt: other drawings than those on the card, or another brand's judging ones."""
    notes = []
    if learn.card.version not in dataset_versions(model.card):
        notes.append(
            f"The copy check looked at {label_of(learn)}, but the adapter's card names another dataset version: pass"
            " suite.learn=DIR with the drawings that it learnt."
        )
    if not set(judge.card.collections) & set(learn.card.collections):
        notes.append(
            f"The judging drawings are of {', '.join(judge.card.collections)}, the adapter learnt"
            f" {', '.join(learn.card.collections)}: pass suite.judge=DIR with unseen drawings of its brand."
        )
    return tuple(notes)
