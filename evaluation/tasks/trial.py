"""A trial: one task on N drawings, what was drawn, what is true, and what one would have without the model.

Every task whose truth is one picture is measured in the same way: scores of the model and of each rival, means over
subjects, differences picture by picture, a chart a score, the pictures side by side, and the worst of them.
Shapes: pictures uint8 [N,3,H,W], values float64 [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from data.record import Record
from evaluation.drawing import Order
from evaluation.figures import Figure
from evaluation.intervals import Estimate
from evaluation.measurement import Chart, Column, Grid, PerPicture, Row, Section, Tile
from evaluation.selection import best_spread
from evaluation.tasks.bench import Bench
from evaluation.tasks.paired import Comparison, Named, Role, mean_over
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import Score
from evaluation.wording import number_text

EXAMPLES = 8
WORST = 4


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another way to get the picture; ``key`` ends the names of its figures."""

    key: str
    column: Column
    role: Role = "baseline"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Row n of every column shows the same drawing; ``source`` is what the model was given, None for text alone.

    The first of ``scores`` decides which cases are the worst.
    """

    name: str
    title: str
    note: str
    rows: Sequence[int]
    records: Sequence[Record]
    orders: Sequence[Order]
    source: Column | None
    truth: Column
    made: Column
    rivals: Sequence[Rival]
    scores: Sequence[Score]

    def measure(self, bench: Bench) -> TaskResult:
        """Return the section with its comparisons."""
        parts = [self._scored(bench, score) for score in self.scores]
        comparisons = tuple(comparison for part in parts for comparison in part.comparisons)
        section = Section(
            name=self.name,
            title=self.title,
            note=self.note,
            figures=tuple(figure for part in parts for figure in part.figures),
            charts=tuple(part.chart for part in parts),
            grids=self._grids(parts[0]),
            estimates={name: estimate for part in parts for name, estimate in part.estimates.items()},
            per_picture=tuple(part.per_picture for part in parts),
        )
        captions = tuple(_caption(record) for record in self.records)
        return TaskResult(
            section=section,
            comparisons=comparisons,
            captions=captions,
            rows=tuple(self.rows),
            orders=tuple(self.orders),
            truth=self.truth,
            made=self.made,
        )

    def _scored(self, bench: Bench, score: Score) -> _Scored:
        named = Named(
            task=self.name,
            score=score.name,
            better=score.better,
            unit=score.unit,
            identity=bench.identity(f"{self.name}:{score.metric}", network=score.network, count=len(self.records)),
            count=len(self.records),
        )
        subjects = [record.subject for record in self.records]
        values_N = score(self.made, self.truth)
        model = mean_over(values_N, subjects)
        others = [mean_over(score(rival.column, self.truth), subjects) for rival in self.rivals]
        comparisons = tuple(
            named.against(model, other, rival.key, rival.column.title, rival.role)
            for rival, other in zip(self.rivals, others, strict=True)
        )
        return _Scored(score, named, model, comparisons, values_N)

    def _grids(self, first: _Scored) -> tuple[Grid, ...]:
        spread = best_spread(self.truth.features, EXAMPLES)
        badness_N = first.values if first.score.better == "lower" else -first.values
        worst = badness_N.sort(descending=True, stable=True).indices[:WORST].tolist()
        order = " | ".join(tile.label for tile in self._row(0, first).tiles)
        return (
            Grid(title="Side by side", note=order, rows=tuple(self._row(row, first) for row in spread)),
            Grid(
                title="Worst cases",
                note=f"By {first.score.title.lower()}.",
                rows=tuple(self._row(row, first) for row in worst),
            ),
        )

    def _row(self, row: int, first: _Scored) -> Row:
        columns = [*([self.source] if self.source else []), self.made, self.truth]
        tiles = tuple(Tile(label=column.short, picture=column.pictures[row]) for column in columns)
        value = number_text(float(first.values[row]), first.score.unit)
        return Row(tiles=tiles, caption=_caption(self.records[row]), remark=f"{first.score.title.lower()} {value}")


@dataclass(frozen=True)
class _Scored:
    score: Score
    named: Named
    model: Estimate
    comparisons: tuple[Comparison, ...]
    values: Tensor

    @property
    def figures(self) -> tuple[Figure, ...]:
        rivals = [figure for each in self.comparisons for figure in (each.other, each.difference)]
        return (self.named.figure(self.model), *rivals)

    @property
    def chart(self) -> Chart:
        bars = [("The model", self.named.figure(self.model))]
        bars += [(each.rival, each.other) for each in self.comparisons]
        return Chart(title=self.score.title, note=f"{self.score.better.capitalize()} is better.", bars=tuple(bars))

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {self.named.figure(self.model).name: self.model}

    @property
    def per_picture(self) -> PerPicture:
        figure = self.named.figure(self.model)
        return PerPicture(
            name=figure.name,
            title=self.score.title,
            values=self.values,
            identity=figure.identity,
            better=figure.better,
            unit=figure.unit,
        )


def _caption(record: Record) -> str:
    return f"{record.caption} · {record.style}"
