"""The suite ``tasks``: every task that a model has, on drawings that it never learnt, against going without it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data.dataset import Dataset, open_dataset
from data.record import SPLITS
from evaluation.drawing import DrawingSettings, check_count, check_seed
from evaluation.drawings import colour_rows, learnt_folder, refuse_learnt
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.measurement import Measurement, Section, Source
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.panels.protocol import Panel
from evaluation.studio import Studio
from evaluation.suites.protocol import overruled
from evaluation.tasks.bench import Abilities, Bench
from evaluation.tasks.copying import copying
from evaluation.tasks.known import MEASURES
from evaluation.tasks.overview import overview, tasks_verdict
from evaluation.tasks.protocol import TaskMeasure, TaskResult
from evaluation.tasks.steps import curves_of
from registry.resolve import ResolvedModel

HELD_OUT = ("heldout_pair", "heldout_subject")


@dataclass(frozen=True, kw_only=True)
class TasksSuite:
    """Every task of a backbone, or of an adapter in its brand's style, beside the simplest way without a model.

    ``judge`` holds the drawings that judge; ``others`` further sets of the same subjects, from which style transfer
    starts, None for the judging ones; ``learn`` what the model learnt, to look for copies in, None for what is at
    hand.  ``tasks`` names the tasks to measure, None for all that the backbone lists.  ``run`` is a training run's
    folder whose figures over steps are shown beside.  ``copies`` looks for copies among what was drawn from text.
    """

    name: str = "tasks"
    pictures: int = 64
    seed: int = 0
    judge: str = "assets/sample/base"
    others: str | None = None
    learn: str | None = None
    tasks: Sequence[str] | None = None
    run: str | None = None
    drawing: DrawingSettings = field(default_factory=DrawingSettings)
    copies: Panel = field(default_factory=lambda: MemorisationPanel(prompts=0, asked=0))

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_count("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)
        unknown = [name for name in self.tasks or () if name not in MEASURES]
        if unknown or (self.tasks is not None and not self.tasks):
            named = f"'{unknown[0]}' is no task with a measure" if unknown else "an empty list measures nothing"
            raise EvaluationError(f"suite.tasks: {named}, there are {', '.join(sorted(MEASURES))}")

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when a named task cannot be measured, or none can."""
        bench = self._bench(studio.resolve(reference), studio)
        curves = curves_of(Path(self.run)) if self.run else ()
        results, told = self._measured(bench)
        text = next((result for result in results if result.section.name == "text_to_image"), None)
        first = next(result for result in results if result.made is not None)
        assert first.made is not None and first.truth is not None
        sections = (
            overview(results, told, curves),
            *(result.section for result in results),
            copying(bench, text, self.copies),
        )
        verdict = overruled(tasks_verdict(results), sections)
        sources = [Source.of("judged by", bench.judge), Source.of("learnt", bench.learn)]
        return Measurement(
            suite=self.name,
            seed=self.seed,
            reference=reference,
            digest=bench.model.digest,
            title=str(bench.model.card.get("brand") or bench.model.card["name"]),
            sections=sections,
            verdict=verdict,
            captions=first.captions,
            columns=(first.truth, first.made),
            sources=tuple(sources),
            settings=asdict(self.drawing) | {"splits": list(bench.splits)},
            extractor=studio.extractor_identity,
            cards=(bench.model.card, *([bench.base.card] if bench.base else [])),
            asked=tuple(json.dumps([o.task, o.prompt, o.seed, o.style], ensure_ascii=False) for o in first.orders),
        )

    def _bench(self, model: ResolvedModel, studio: Studio) -> Bench:
        judge = open_dataset(Path(self.judge))
        abilities = Abilities.of((model.base or model).folder)
        learn = self._learnt(model, judge)
        bench = Bench(
            studio=studio,
            model=model,
            base=model.base,
            abilities=abilities,
            judge=judge,
            splits=SPLITS if model.base else HELD_OUT,
            others=open_dataset(Path(self.others)) if self.others else judge,
            learn=learn,
            drawing=self.drawing,
            pictures=self.pictures,
            seed=self.seed,
        )
        _check(bench)
        return bench

    def _learnt(self, model: ResolvedModel, judge: Dataset) -> Dataset:
        if self.learn:
            return open_dataset(Path(self.learn))
        return open_dataset(learnt_folder(model.card)) if model.base else judge

    def _measured(self, bench: Bench) -> tuple[list[TaskResult], list[str]]:
        """Return what could be measured, and a sentence for each task that the backbone or the measures lack."""
        has = bench.abilities.tasks
        lacking = [name for name in self.tasks or () if name not in has]
        if lacking:
            raise EvaluationError(f"suite.tasks: the backbone has no task {lacking[0]}, it has {', '.join(has)}")
        wanted = [name for name in has if self.tasks is None or name in self.tasks]
        told = [f"Task {name} has no measure, so nothing is known of it." for name in wanted if name not in MEASURES]
        missing = [name for name in MEASURES if name not in has]
        told += [f"The backbone does not have: {', '.join(missing)}."] if missing and self.tasks is None else []
        results = [result for name in wanted if name in MEASURES for result in self._results(MEASURES[name], bench)]
        if not any(result.comparisons for result in results):
            reasons = Counter(result.section.missing for result in results).most_common(1)
            raise TooFewPicturesError(reasons[0][0] if reasons else "no task of the backbone has a measure")
        return results, told

    def _results(self, measure: TaskMeasure, bench: Bench) -> Sequence[TaskResult]:
        """Return a task's results, or a section that says why there are none; a named task must have them."""
        try:
            return measure.measure(bench)
        except TooFewPicturesError as error:
            if self.tasks is not None:
                raise
            section = Section(name=measure.task, title=measure.title, note="", missing=str(error))
            return [TaskResult(section=section)]


def _check(bench: Bench) -> None:
    """Refuse judging drawings that were learnt, of a brand that is not the adapter's, or in unknown styles."""
    if bench.base is not None:
        refuse_learnt(bench.judge, colour_rows(bench.judge), bench.learn)
        if not set(bench.judge.card.collections) & set(bench.learn.card.collections):
            raise EvaluationError(
                f"the tasks of {bench.model.card['name']} are measured on unseen drawings of its brand,"
                f" {', '.join(bench.learn.card.collections)}; {bench.judge.folder} holds none: pass suite.judge=DIR"
            )
        return
    styles = {bench.judge.records[row].style for row in colour_rows(bench.judge, bench.splits)}
    unknown = sorted(styles - set(bench.abilities.styles))
    if unknown:
        raise EvaluationError(
            f"{bench.judge.folder} holds the style {unknown[0]}, which {bench.model.reference} does not know: pass"
            " suite.judge=DIR with drawings of its sets"
        )
