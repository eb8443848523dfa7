"""Every task that has a measure, by name."""

from __future__ import annotations

from evaluation.tasks.control import ControlMeasure, EdgeAgreement, PaletteDistance, ReliefAgreement
from evaluation.tasks.filling import FillingMeasure
from evaluation.tasks.protocol import TaskMeasure
from evaluation.tasks.reference import StyleReferenceMeasure
from evaluation.tasks.restoring import ImageToImageMeasure, SuperResolutionMeasure
from evaluation.tasks.text import TextToImageMeasure
from evaluation.tasks.transfer import StyleTransferMeasure

MEASURES: dict[str, TaskMeasure] = {
    measure.task: measure
    for measure in (
        TextToImageMeasure(),
        ImageToImageMeasure(),
        StyleTransferMeasure(),
        FillingMeasure(task="inpainting", title="Inpainting"),
        FillingMeasure(task="outpainting", title="Outpainting"),
        SuperResolutionMeasure(),
        ControlMeasure(task="edges", title="Edges", score=EdgeAgreement()),
        ControlMeasure(task="sketch", title="Sketch", score=EdgeAgreement(tolerance_px=2)),
        ControlMeasure(task="shading", title="Shading", score=ReliefAgreement()),
        ControlMeasure(task="palette", title="Palette", score=PaletteDistance()),
        StyleReferenceMeasure(),
    )
}
"""A new task's measure is appended here; a task without one is told in the report."""
