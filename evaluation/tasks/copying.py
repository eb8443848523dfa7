"""Whether what was drawn to unseen captions copies what was learnt: the panel ``memorisation`` on the text task."""

from __future__ import annotations

from evaluation.measurement import Section
from evaluation.panels.protocol import Panel
from evaluation.scene import Scene
from evaluation.tasks.bench import Bench
from evaluation.tasks.protocol import TaskResult


def copying(bench: Bench, text: TaskResult | None, panel: Panel) -> Section:
    """Return what the panel says of the pictures that were drawn from text; what is missing where there are none."""
    if text is None or text.made is None or text.truth is None or text.floor is None:
        missing = "text_to_image was not measured, and its pictures are what is looked at"
        return Section(name="memorisation", title="Copying", note="", missing=missing)
    scene = Scene(
        kind="brand" if bench.base else "backbone",
        suffix="text_to_image",
        seed=bench.seed,
        captions=text.captions,
        made=text.made,
        real=text.truth,
        floor=text.floor,
        judge=bench.judge,
        judge_rows=text.rows,
        floor_rows=text.floor_rows,
        studio=bench.studio,
        orders=text.orders,
        learn=bench.learn,
        model=bench.model,
        drawing=bench.drawing,
    )
    return panel.measure(scene)
