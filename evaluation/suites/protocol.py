"""What a suite is: what is drawn, what it is held against, and the panels that look at it.

A suite's settings are its constructor; ``conf/suite`` names these classes.  All panels of one suite look at the same
judging drawings and the same number N of pictures a side, so that its figures compare with each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypedDict, Unpack

import torch

from data.dataset import Dataset
from evaluation.drawing import Order
from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.measurement import Column, Measurement, PerPicture, Section, Source, Verdict
from evaluation.panels.protocol import Panel
from evaluation.scene import Scene
from evaluation.studio import Studio
from registry.artifacts import Card
from registry.resolve import ResolvedModel


class Suite(Protocol):
    """Measures what ``reference`` names."""

    @property
    def name(self) -> str:
        """Name of the suite, as it stands in ``figures.json``."""

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return all figures, with the pictures behind them."""


class Told(TypedDict, total=False):
    """What a suite adds to what its panels measured; the fields are those of ``Measurement``."""

    suite: str
    reference: str
    digest: str
    title: str
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]
    settings: Mapping[str, object]
    cards: tuple[Card, ...]
    notes: tuple[str, ...]
    asked: tuple[str, ...]


def measurement_of(
    scene: Scene, panels: Sequence[Panel], verdict: Callable[[Mapping[str, Figure]], Verdict], **told: Unpack[Told]
) -> Measurement:
    """Let all panels look at the scene and join what they found under one verdict."""
    sections = sections_of(scene, panels)
    told.setdefault("asked", asked_of(scene))
    figures = {figure.name: figure for section in sections for figure in section.figures}
    return Measurement(
        seed=scene.seed,
        sections=sections,
        verdict=overruled(verdict(figures), sections),
        captions=scene.captions,
        extractor=scene.studio.extractor_identity,
        per_picture=(likeness_to_real(scene),) if scene.orders else (),
        **told,
    )


def sections_of(scene: Scene, panels: Sequence[Panel]) -> tuple[Section, ...]:
    """Let each panel look at the scene, in order; an error names the panel that raised it."""
    return tuple(_section(scene, panel) for panel in panels)


def asked_of(scene: Scene) -> tuple[str, ...]:
    """Return what each picture was drawn from: task, prompt, seed and style, or the name of its file."""
    if not scene.orders:
        return scene.captions
    asked = ([order.task, order.prompt, order.seed, order.style] for order in scene.orders)
    return tuple(json.dumps(each, ensure_ascii=False) for each in asked)


def likeness_to_real(scene: Scene) -> PerPicture:
    """Return the cosine similarity of each made picture to the real drawing of the same caption."""
    values = torch.nn.functional.cosine_similarity(scene.made.features.double(), scene.real.features.double(), dim=1)
    return PerPicture(
        name="likeness_to_real",
        title="Likeness to the real drawing of each caption",
        values=values,
        identity=scene.identity("cosine-to-real"),
        better="higher",
    )


def overruled(verdict: Verdict, sections: Sequence[Section]) -> Verdict:
    """Return the verdict with every finding beneath it; the first bad finding takes its headline over."""
    findings = [finding for section in sections for finding in section.findings]
    bad = next((finding for finding in findings if finding.tone == "bad"), None)
    sentences = (*verdict.sentences, *(finding.sentence for finding in findings))
    if bad is None or verdict.tone == "bad":
        return Verdict(tone=verdict.tone, headline=verdict.headline, sentences=sentences)
    others = tuple(sentence for sentence in sentences if sentence != bad.sentence)
    return Verdict(tone="bad", headline=bad.sentence, sentences=(verdict.headline, *others))


def adapter_and_base(model: ResolvedModel, suite: str) -> tuple[ResolvedModel, ResolvedModel]:
    """Return an adapter and its backbone; EvaluationError for a backbone."""
    if model.base is None:
        raise EvaluationError(f"suite {suite} measures an adapter, {model.reference} is a backbone: use suite=backbone")
    return model, model.base


def backbone_alone(model: ResolvedModel, suite: str) -> ResolvedModel:
    """Return a backbone; EvaluationError for an adapter."""
    if model.base is not None:
        raise EvaluationError(f"suite {suite} measures a backbone, {model.reference} is an adapter: use suite=brand")
    return model


def orders_of(judge: Dataset, rows: Sequence[int], seed: int, *, styled: bool = False) -> tuple[Order, ...]:
    """Return an order a judging drawing: its caption, a seed of its own, and its set's style if ``styled``."""
    records = [judge.records[row] for row in rows]
    return tuple(
        Order(prompt=record.caption, seed=seed + number, style=record.style if styled else None)
        for number, record in enumerate(records)
    )


def _section(scene: Scene, panel: Panel) -> Section:
    try:
        return panel.measure(scene)
    except EvaluationError as error:
        raise type(error)(f"{type(panel).__name__}: {error}") from error
