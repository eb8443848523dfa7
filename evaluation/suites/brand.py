"""The suite ``brand``: an adapter against its brand's own drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from data.dataset import Dataset, open_dataset
from evaluation.drawing import DrawingSettings, check_count, check_seed
from evaluation.drawings import dataset_versions, learnt_folder, real_pictures, refuse_learnt, two_halves
from evaluation.measurement import Measurement, Source
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.panels.distribution import DistributionPanel
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.panels.protocol import Panel
from evaluation.scene import Scene, label_of
from evaluation.studio import Studio
from evaluation.suites.protocol import adapter_and_base, measurement_of, orders_of
from evaluation.suites.verdicts import brand_verdict
from registry.resolve import ResolvedModel


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
    panels: Sequence[Panel] = (DistributionPanel(), MemorisationPanel())

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_count("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when it is no adapter or the drawings do not fit together."""
        model, base = adapter_and_base(studio.resolve(reference), self.name)
        judge, learn = open_dataset(Path(self.judge)), open_dataset(self._learnt_by(model))
        rows, others = two_halves(judge, self.pictures, self.seed)
        refuse_learnt(judge, [*rows, *others], learn)
        scene = self._drawn(model, base, judge, learn, (rows, others), studio)
        brand = str(model.card.get("brand") or model.card["name"])
        return measurement_of(
            scene,
            self.panels,
            partial(brand_verdict, brand),
            suite=self.name,
            reference=reference,
            digest=model.digest,
            title=brand,
            columns=(scene.real, scene.made, *([scene.plain] if scene.plain else [])),
            sources=(Source.of("judged by", judge), Source.of("learnt", learn)),
            settings=asdict(self.drawing),
            cards=(model.card, base.card),
            notes=_notes(model, judge, learn),
        )

    def _drawn(
        self,
        model: ResolvedModel,
        base: ResolvedModel,
        judge: Dataset,
        learn: Dataset,
        halves: tuple[list[int], list[int]],
        studio: Studio,
    ) -> Scene:
        rows, others = halves
        orders = orders_of(judge, rows, self.seed)
        made = studio.drawn(model, orders, self.drawing, "With the adapter", "adapter")
        px = made.pictures.shape[-1]
        return Scene(
            kind="brand",
            suffix="brand",
            seed=self.seed,
            captions=tuple(order.prompt for order in orders),
            made=made,
            plain=studio.drawn(base, orders, self.drawing, "Without the adapter", "without"),
            real=studio.column("The brand's own drawing", "brand", real_pictures(judge, rows, px)),
            floor=studio.column("Other drawings of the brand", "floor", real_pictures(judge, others, px)),
            learnt=studio.column("What it learnt", "learnt", real_pictures(learn, range(len(learn)), px)),
            judge=judge,
            judge_rows=tuple(rows),
            floor_rows=tuple(others),
            learn=learn,
            studio=studio,
            orders=orders,
            model=model,
            drawing=self.drawing,
        )

    def _learnt_by(self, model: ResolvedModel) -> Path:
        return Path(self.learn) if self.learn else learnt_folder(model.card)


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
