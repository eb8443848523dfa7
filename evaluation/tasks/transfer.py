"""Style transfer: a subject that nobody learnt, shown in one set, to be drawn as another set drew it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.dataset import Dataset
from evaluation.drawing import Order
from evaluation.drawings import colour_rows, real_pictures
from evaluation.measurement import Column
from evaluation.style.descriptor import DESCRIPTOR_FOLDER, WEIGHTS_FILE, StyleDescriptor
from evaluation.tasks.bench import Bench, lot, numbers_of, with_pictures
from evaluation.tasks.protocol import TaskResult
from evaluation.tasks.scores import FeatureDistance, Score, StyleDistance
from evaluation.tasks.trial import Rival, Trial
from synthesis.request import PictureRequest

SPLIT = "heldout_subject"
NOTE = (
    "The true drawing is the target set's own of that subject, which the model never saw in any set. Features see"
    " foremost what is shown, and the source shows that already; the style distance, where it is given, sees the look."
)


@dataclass(frozen=True, kw_only=True)
class StyleTransferMeasure:
    """The true drawing of the subject in the target set judges; the baselines are the source itself, and text alone.

    The source is another set's drawing of the subject, chosen by the seed.  Text alone has the same caption, style and
    noise: what the source adds is the difference.  The floor starts from the real drawing itself, which wears the style
    already: how far from it the model ends is what its hand alone does.  Drawn at the strength that a person gets who
    names none.
    """

    task: str = "style_transfer"
    title: str = "Style transfer"
    descriptor: str = DESCRIPTOR_FOLDER

    def measure(self, bench: Bench) -> Sequence[TaskResult]:
        """Return one result."""
        partners = partners_of(bench.judge, bench.others, bench.seed)
        rows = bench.first(list(partners), f"colour drawings of unseen subjects that {bench.others.folder} has too")
        px = bench.abilities.px
        source = bench.studio.column(
            "The source itself", "source", real_pictures(bench.others, [partners[row] for row in rows], px)
        )
        truth = bench.truth(rows)
        orders, kept = self._from(bench, rows, source), self._from(bench, rows, truth)
        alone = bench.orders(rows, "text_to_image")
        text = replace(bench.drawn(alone), title="Text alone", short="text alone")
        rivals = [Rival(key="source", column=source), Rival(key="text_alone", column=text)]
        itself = replace(bench.drawn(kept), title="From the real drawing itself", short="from itself")
        rivals += [Rival(key="itself", column=itself, role="floor")]
        rivals += [Rival(key=key, column=column, role="model") for key, column in bench.unadapted(orders)]
        trial = Trial(
            name=self.task,
            title=self.title,
            note=NOTE,
            rows=rows,
            records=bench.records(rows),
            orders=orders,
            source=source,
            truth=truth,
            made=bench.drawn(orders),
            rivals=rivals,
            scores=scores_of(bench, self.descriptor),
        )
        return [trial.measure(bench)]

    def _from(self, bench: Bench, rows: Sequence[int], shown: Column) -> list[Order]:
        """Return the orders that start from these pictures, one a row."""
        started = with_pictures(bench.orders(rows, self.task), numbers_of(shown.pictures))
        return [replace(order, strength=PictureRequest.strength) for order in started]


def scores_of(bench: Bench, descriptor: str) -> tuple[Score, ...]:
    """Return the distance in what is shown, and in how it looks where a style descriptor is at hand."""
    features = FeatureDistance(network=bench.studio.extractor_identity)
    if not (Path(descriptor) / WEIGHTS_FILE).is_file():
        return (features,)
    look = StyleDescriptor(descriptor, device=bench.studio.device)
    return features, StyleDistance(studio=bench.studio, extractor=look)


def partners_of(judge: Dataset, others: Dataset, seed: int) -> dict[int, int]:
    """Return, of each colour drawing of an unseen subject, the row of one of another set in ``others``.

    Which one follows from the seed and the two drawings alone; a drawing without any is left out.
    """
    by_subject: dict[str, list[int]] = defaultdict(list)
    for row in colour_rows(others):
        by_subject[others.records[row].subject].append(row)
    partners = {}
    for row in colour_rows(judge, (SPLIT,)):
        record = judge.records[row]
        found = [other for other in by_subject[record.subject] if others.records[other].style != record.style]
        if found:
            partners[row] = min(found, key=lambda other: lot(seed, record.key, others.records[other].key))
    return partners
