"""Text-to-image on (subject, set) pairs that nobody learnt: crowds by the Fréchet distance, captions one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.drawings import colour_rows, matched_by_style, real_pictures
from evaluation.figures import Figure
from evaluation.intervals import ratio_interval
from evaluation.measurement import Chart, Column
from evaluation.metrics.frechet import frechet_distance
from evaluation.tasks.bench import Bench, lot
from evaluation.tasks.paired import Comparison, Named
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import FeatureDistance
from evaluation.tasks.trial import Rival, Trial

PAIRS = "heldout_pair"


@dataclass(frozen=True, kw_only=True)
class TextToImageMeasure:
    """Two questions: do its pictures form the crowd that real drawings form, and does each show its own caption?

    The first is the Fréchet distance over its floor, as many other real drawings of the same sets against the same
    judging ones.  The second is the feature distance to the true drawing of the caption, beside that of another real
    drawing of the same set: a model that draws the style but not the subject is no closer.
    """

    task: str = "text_to_image"
    title: str = "Text to image"

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        rows = bench.rows() if bench.base else bench.rows(PAIRS)
        truth = bench.truth(rows)
        orders = bench.orders(rows, self.task)
        others = another_of_the_set(bench, rows)
        another = bench.studio.column(
            "Another drawing of the set", "another", real_pictures(bench.judge, others, bench.abilities.px)
        )
        unadapted = bench.unadapted(orders)
        rivals = [Rival(key="another_drawing", column=another)]
        trial = Trial(
            name=self.task,
            title=self.title,
            note="Subjects in sets in which nobody learnt them, by their captions.",
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=None,
            truth=truth,
            made=bench.drawn(orders),
            rivals=[*rivals, *(Rival(key=key, column=column, role="model") for key, column in unadapted)],
            scores=(FeatureDistance(network=bench.studio.extractor_identity),),
        )
        result = trial.measure(bench)
        return [with_crowds(self._floored(bench, result), bench, unadapted)]

    def _floored(self, bench: Bench, result: TaskResult) -> TaskResult:
        left = sorted(set(colour_rows(bench.judge)) - set(result.rows))
        others = matched_by_style(bench.judge, result.rows, left, bench.seed)
        pictures = real_pictures(bench.judge, others, bench.abilities.px)
        floor = bench.studio.column("Floor (real against real)", "floor", pictures)
        return replace(result, floor=floor, floor_rows=tuple(others))


def with_crowds(result: TaskResult, bench: Bench, unadapted: Sequence[tuple[str, Column]]) -> TaskResult:
    """Return a result with the Fréchet distance of the crowd in front, its floor, and the ratio of both."""
    made, truth, floor = result.made, result.truth, result.floor
    assert made is not None and truth is not None and floor is not None
    identity = bench.identity(
        "text_to_image:frechet", network=bench.studio.extractor_identity, count=len(made.pictures)
    )
    named = Named(
        task="text_to_image",
        score="frechet",
        better="lower",
        unit="number",
        identity=identity,
        count=len(made.pictures),
    )
    model, lowest = (frechet_distance(truth.features, each.features, ("truth", each.short)) for each in (made, floor))
    comparisons: list[Comparison] = [named.against(model, lowest, "floor", floor.title, "floor")]
    for key, column in unadapted:
        other = frechet_distance(truth.features, column.features, ("truth", column.short))
        comparisons.append(named.against(model, other, key, column.title, "model"))
    ratio_figure = replace(named.figure(model, "floor_ratio", "/over-floor"), **vars(ratio_interval(model, lowest)))
    bars = [("The model", named.figure(model)), *((each.rival, each.other) for each in comparisons)]
    figures: list[Figure] = [named.figure(model), ratio_figure]
    figures += [figure for each in comparisons for figure in (each.other, each.difference)]
    chart = Chart(title="Fréchet distance", note="Of crowds: read it beside its floor.", bars=tuple(bars))
    section = replace(
        result.section,
        figures=(*figures, *result.section.figures),
        charts=(chart, *result.section.charts),
        estimates={named.figure(model).name: model, **result.section.estimates},
    )
    return replace(result, section=section, comparisons=(*comparisons, *result.comparisons))


def another_of_the_set(bench: Bench, rows: Sequence[int]) -> list[int]:
    """Return for each row a colour drawing of the same set and another subject, chosen by the seed.

    A set of one drawing gives way to any other set's.
    """
    records = bench.judge.records
    by_style: dict[str, list[int]] = defaultdict(list)
    for row in colour_rows(bench.judge):
        by_style[records[row].style].append(row)
    everything = [row for members in by_style.values() for row in members]

    def other(row: int) -> int:
        own = records[row]
        found = [each for each in by_style[own.style] if records[each].subject != own.subject]
        found = found or [each for each in everything if records[each].subject != own.subject]
        return min(found, key=lambda each: lot(bench.seed, own.key, records[each].key))

    return [other(row) for row in rows]
