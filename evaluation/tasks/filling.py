"""Tasks that draw a masked region anew: inpainting and outpainting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.tasks.bench import Bench, numbers_of, with_pictures
from evaluation.tasks.pixels import filled_with_mean, filled_with_nearest
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import FeatureDistanceInHole, PeakSignal
from evaluation.tasks.trial import Rival, Trial
from synthesis.tasks import task_named


@dataclass(frozen=True, kw_only=True)
class FillingMeasure:
    """The drawing with a hole; held against the drawing within the hole alone.

    The baselines are the source with the simplest fills: the mean colour of what was kept, and of each pixel the
    nearest one that was kept, which on a plain ground is hard to beat by pixels.
    """

    task: str
    title: str

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        rows = bench.rows()
        truth = bench.truth(rows)
        source, mask = bench.condition(task_named(self.task), rows, numbers_of(truth.pictures))
        orders = with_pictures(bench.orders(rows, self.task), numbers_of(truth.pictures), mask)
        studio = bench.studio
        nearest = studio.column("Nearest colour", "nearest", filled_with_nearest(truth.pictures, mask))
        mean = studio.column("Mean colour", "mean", filled_with_mean(truth.pictures, mask))
        rivals = [Rival(key="nearest_fill", column=nearest), Rival(key="mean_fill", column=mean)]
        rivals += [Rival(key=key, column=column, role="model") for key, column in bench.unadapted(orders)]
        trial = Trial(
            name=self.task,
            title=self.title,
            note="Measured within the hole alone. The masks are the task's own, by the seed and the drawing.",
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=bench.shown("The source", "source", source),
            truth=truth,
            made=bench.drawn(orders),
            rivals=rivals,
            scores=(FeatureDistanceInHole(studio=studio, mask=mask), PeakSignal(mask=mask)),
        )
        return [trial.measure(bench)]
