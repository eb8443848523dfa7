"""Style from a reference picture: a caption, drawn in the look of another drawing of its set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.drawings import real_pictures
from evaluation.style.descriptor import DESCRIPTOR_FOLDER
from evaluation.tasks.bench import Bench, numbers_of, with_pictures
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.text import another_of_the_set
from evaluation.tasks.transfer import scores_of
from evaluation.tasks.trial import Rival, Trial

NOTE = (
    "No style is named to the model: what it knows of the look is one other drawing of the set. Copying that drawing"
    " has the look and not the subject."
)


@dataclass(frozen=True, kw_only=True)
class StyleReferenceMeasure:
    """The true drawing of the caption judges; the baselines are the reference itself, and text without a style."""

    task: str = "style_reference"
    title: str = "Style reference"
    descriptor: str = DESCRIPTOR_FOLDER

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        rows = bench.rows()
        pictures = real_pictures(bench.judge, another_of_the_set(bench, rows), bench.abilities.px)
        reference = bench.studio.column("The reference itself", "reference", pictures)
        unnamed = [replace(order, style=None) for order in bench.orders(rows, self.task)]
        orders = with_pictures(unnamed, numbers_of(reference.pictures))
        alone = [replace(order, task="text_to_image") for order in unnamed]
        text = replace(bench.drawn(alone), title="Text alone, no style", short="text alone")
        rivals = [Rival(key="reference", column=reference), Rival(key="text_alone", column=text)]
        rivals += [Rival(key=key, column=column, role="model") for key, column in bench.unadapted(orders)]
        trial = Trial(
            name=self.task,
            title=self.title,
            note=NOTE,
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=reference,
            truth=bench.truth(rows),
            made=bench.drawn(orders),
            rivals=rivals,
            scores=scores_of(bench, self.descriptor),
        )
        return [trial.measure(bench)]
