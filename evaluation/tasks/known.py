"""Every task that has a measure, by name."""

from __future__ import annotations

from evaluation.tasks.control import ControlMeasure, EdgeAgreement, PaletteDistance
from evaluation.tasks.filling import FillingMeasure
from evaluation.tasks.protocol import TaskMeasure
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
        ControlMeasure(task="edge_control", title="Edge control", score=EdgeAgreement()),
        ControlMeasure(task="palette_control", title="Palette control", score=PaletteDistance()),
    )
}
"""A new task's measure is appended here; a task without one is told in the report."""
