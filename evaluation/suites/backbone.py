"""The suite ``backbone``: a backbone on what it never learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data.dataset import Dataset, open_dataset
from evaluation.drawing import DrawingSettings, check_count, check_seed
from evaluation.drawings import colour_rows, in_drawn_order, matched_by_style, real_pictures
from evaluation.errors import TooFewPicturesError
from evaluation.measurement import Measurement, Source
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.panels.distribution import DistributionPanel
from evaluation.panels.protocol import Panel
from evaluation.scene import Scene
from evaluation.studio import Studio
from evaluation.suites.protocol import backbone_alone, measurement_of, orders_of
from evaluation.suites.verdicts import backbone_verdict
from registry.resolve import ResolvedModel


@dataclass(frozen=True, kw_only=True)
class BackboneSuite:
    """A backbone on subjects and (subject, set) pairs it never learnt, each drawn in the style of its set.

    The floor holds as many drawings that were learnt, of the same sets, against the judging ones: what two handfuls
    of real drawings of these sets are apart.  One-colour drawings are left out: they are painted at random.
    ``learn`` is the dataset that the backbone learnt, for the copy check; None the judge's own split train.
    """

    name: str = "backbone"
    pictures: int = 128
    seed: int = 0
    judge: str = "assets/sample/base"
    splits: Sequence[str] = ("heldout_pair", "heldout_subject")
    learn: str | None = None
    drawing: DrawingSettings = field(default_factory=DrawingSettings)
    panels: Sequence[Panel] = (DistributionPanel(),)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_count("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when it is no backbone or the drawings are too few."""
        model = backbone_alone(studio.resolve(reference), self.name)
        judge = open_dataset(Path(self.judge))
        scene = self._drawn(model, judge, studio)
        return measurement_of(
            scene,
            self.panels,
            backbone_verdict,
            suite=self.name,
            reference=reference,
            digest=model.digest,
            title=str(model.card["name"]),
            columns=(scene.real, scene.made),
            sources=(Source.of("judged by", judge),),
            settings=asdict(self.drawing) | {"splits": list(self.splits)},
            cards=(model.card,),
        )

    def _drawn(self, model: ResolvedModel, judge: Dataset, studio: Studio) -> Scene:
        rows = self._heldout(judge)
        orders = orders_of(judge, rows, self.seed, styled=True)
        made = studio.drawn(model, orders, self.drawing, "The backbone", "backbone")
        px = made.pictures.shape[-1]
        others = matched_by_style(judge, rows, colour_rows(judge, ("train",)), self.seed)
        return Scene(
            kind="backbone",
            suffix="heldout",
            seed=self.seed,
            captions=tuple(f"{order.prompt} · {order.style}" for order in orders),
            made=made,
            real=studio.column("The set's own drawing", "real", real_pictures(judge, rows, px)),
            floor=studio.column("Other drawings of the sets", "floor", real_pictures(judge, others, px)),
            judge=judge,
            judge_rows=tuple(rows),
            floor_rows=tuple(others),
            learn=open_dataset(Path(self.learn)) if self.learn else judge,
            studio=studio,
            orders=orders,
            model=model,
            drawing=self.drawing,
        )

    def _heldout(self, judge: Dataset) -> list[int]:
        rows = colour_rows(judge, tuple(self.splits))
        if len(rows) < self.pictures:
            raise TooFewPicturesError(
                f"{judge.folder} has {len(rows)} colour drawings of {', '.join(self.splits)}, {self.pictures} are"
                f" measured: pass suite.pictures={len(rows)} or less"
            )
        return in_drawn_order(judge, rows, self.seed)[: self.pictures]
