"""Do pictures look like the brand's, whatever they show, and not because they copy: the panel ``style``.

Fidelity, prompt drift and leakage stand together on purpose: pictures that copy what was learnt look on-brand, and
pictures that are all one look keep to it.  Shapes: pictures uint8 [N,3,H,W], descriptors [N,E], features [N,D].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.dataset import Dataset, open_dataset
from evaluation.drawing import check_count, check_range
from evaluation.drawings import colour_rows, in_drawn_order, real_pictures
from evaluation.errors import EvaluationError
from evaluation.extractors.protocol import extractor_identity
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import Estimate, Interval, share_interval
from evaluation.measurement import Finding, Grid, Histogram, PerPicture, Row, Section, Table, Tile, Tone
from evaluation.scene import Scene, label_of
from evaluation.selection import most_alike
from evaluation.style.descriptor import DESCRIPTOR_FOLDER, StyleDescriptor
from evaluation.style.leakage import Leakage, leakage
from evaluation.style.likeness import StyleScale
from evaluation.style.prompts import LEAST_PROMPTS, PromptDrift, intraclass_correlation, prompt_drift
from evaluation.wording import number_text, range_text

TRUSTED_AUC = 0.95
LEAST_ON_BRAND = 8
TITLE = "Style"
NOTE = (
    "Each picture's look is held against the brand's own drawings, on a scale that the brand itself sets: 0 is as"
    " drawings of other sets are, 1 as the brand's own unseen drawings are. Read it together with drift and leakage."
)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A scale for the brand, the scores of the made pictures on it, and what is said of their origin."""

    scale: StyleScale
    scores: Tensor
    made: Tensor
    references: Tensor
    identity: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class StylePanel:
    """Style fidelity, prompt drift and leakage of a brand's pictures.

    ``descriptor`` is the folder of a fitted style descriptor, ``off_brand`` a dataset whose colour drawings of other
    collections, at most ``off_brand_pictures``, calibrate the scale.  ``copy_threshold`` is the cosine above which a
    picture counts as a copy in the studio's own features; those are no copy detector's, and it is no published one.
    """

    descriptor: str = DESCRIPTOR_FOLDER
    off_brand: str = "assets/sample/base"
    off_brand_pictures: int = 1000
    copy_threshold: float = 0.95

    def __post_init__(self) -> None:
        check_count("panels.style.off_brand_pictures", self.off_brand_pictures, 64, 100_000)
        check_range("panels.style.copy_threshold", self.copy_threshold, 0, 1)

    def measure(self, scene: Scene) -> Section:
        """Return the section; it has no figures for a backbone, which draws many sets and has no look of its own."""
        if scene.kind == "backbone":
            missing = "a backbone draws many sets and has no one look: measure an adapter (suite=brand) or a folder"
            return Section(name="style", title=TITLE, note=NOTE, missing=missing)
        network = StyleDescriptor(self.descriptor, scene.studio.device)
        looks = self._looks(scene, network)
        prompts = _prompt_numbers(scene)
        drift = prompt_drift(looks.made, prompts, looks.references) if _enough(prompts) else None
        copies = None
        if scene.learnt is not None:
            copies = leakage(scene.made.features, scene.learnt.features, self.copy_threshold)
        separation = looks.scale.separation()
        figures = [
            *self._of_fidelity(scene, looks, network),
            *_of_drift(scene, looks, drift, prompts),
            *self._of_leakage(scene, copies),
            _figure(scene, looks, "style_separation", separation.interval(), "higher"),
        ]
        return Section(
            name="style",
            title=TITLE,
            note=NOTE,
            figures=tuple(figures),
            findings=_findings(figures, separation, looks),
            histograms=(_histogram(looks),),
            tables=(_calibration(looks, separation),),
            grids=(_grid(scene, looks),),
            per_picture=(_per_picture(scene, looks),),
            estimates={"style_separation": separation} | _estimates(scene, drift),
        )

    def _looks(self, scene: Scene, network: StyleDescriptor) -> Looks:
        """Calibrate on unseen drawings; where it is not known what was learnt, the floor gives the references."""
        studio = scene.studio
        made, real, floor = (
            studio.features(network, column.pictures, column.title.lower())
            for column in (scene.made, scene.real, scene.floor)
        )
        dataset, rows = self._off_brand(scene.judge)
        off = studio.features(network, real_pictures(dataset, rows, scene.px), "off-brand drawings")
        if scene.learnt is not None and scene.learn is not None:
            references = studio.features(network, scene.learnt.pictures, "what was learnt")
            own, origin = torch.cat([real, floor]), label_of(scene.learn)
        else:
            references, own, origin = floor, real, f"{label_of(scene.judge)}:floor"
        scale = StyleScale.of(references, own, off)
        return Looks(
            scale=scale,
            scores=scale.scores(made),
            made=made,
            references=references,
            identity=f"{extractor_identity(network)}/refs={origin}:{len(references)}/off={label_of(dataset)}:{len(rows)}",
            origin=origin,
        )

    def _off_brand(self, judge: Dataset) -> tuple[Dataset, list[int]]:
        dataset = open_dataset(Path(self.off_brand))
        own = set(judge.card.collections)
        rows = [row for row in colour_rows(dataset) if dataset.records[row].collection not in own]
        if not rows:
            raise EvaluationError(
                f"{dataset.folder} holds no colour drawing of another collection than {', '.join(sorted(own))}: pass"
                " off_brand=DIR, a dataset of other sets"
            )
        return dataset, in_drawn_order(dataset, rows, 0)[: self.off_brand_pictures]

    def _of_fidelity(self, scene: Scene, looks: Looks, network: StyleDescriptor) -> list[Figure]:
        scale = looks.scale
        _, within = scale.within_own(looks.scores)
        figures = [
            _figure(scene, looks, f"style_fidelity_{scene.suffix}", scale.fidelity(looks.scores), "higher"),
            _figure(
                scene,
                looks,
                f"style_on_brand_{scene.suffix}",
                share_interval(within, len(looks.scores)),
                "higher",
                "share",
            ),
        ]
        if scene.plain is not None:
            plain = scale.scores(scene.studio.features(network, scene.plain.pictures, scene.plain.title.lower()))
            figures.append(_figure(scene, looks, "style_fidelity_unadapted", scale.fidelity(plain), "higher"))
        return figures

    def _of_leakage(self, scene: Scene, copies: Leakage | None) -> list[Figure]:
        if copies is None or scene.learn is None:
            return []
        identity = f"{scene.identity('leakage')}/{label_of(scene.learn)}"
        tail = Figure.of(
            f"leakage_tail_{scene.suffix}", copies.tail, count=scene.count, identity=identity, better="lower"
        )
        above = Figure.of(
            f"leakage_above_{scene.suffix}",
            copies.above,
            count=scene.count,
            identity=f"{identity}/threshold={self.copy_threshold:g}",
            better="lower",
            unit="share",
        )
        return [tail, above]


def _of_drift(scene: Scene, looks: Looks, drift: PromptDrift | None, prompts_N: Tensor) -> list[Figure]:
    if drift is None:
        return []
    figures = [
        _figure(scene, looks, f"prompt_drift_{scene.suffix}", drift.mean.interval(), "lower"),
        _figure(scene, looks, f"prompt_drift_worst_{scene.suffix}", drift.worst.interval(), "lower"),
    ]
    if int((torch.bincount(prompts_N) >= 2).sum()) >= LEAST_PROMPTS:
        correlation = intraclass_correlation(looks.scores, prompts_N).interval()
        figures.append(_figure(scene, looks, f"prompt_icc_{scene.suffix}", correlation, "lower"))
    return figures


def _findings(figures: list[Figure], separation: Estimate, looks: Looks) -> tuple[Finding, ...]:
    """Say first whether the descriptor may be believed for this brand at all."""
    area = separation.interval()
    amount = f"AUC {area.value:.3f}, 95 % interval {area.low:.3f} to {area.high:.3f}"
    if area.value < TRUSTED_AUC:
        sentence = (
            "The style descriptor cannot carry a guarantee for this brand: it tells its unseen drawings from other"
            f" sets' less well than {TRUSTED_AUC} ({amount})."
        )
        return (Finding(tone="unsure", sentence=sentence),)
    fidelity = figures[0]
    place = f"{number_text(fidelity.value)}, 95 % interval {range_text(fidelity.low, fidelity.high)}"
    if fidelity.high < 0:
        return (Finding(tone="bad", sentence=f"Its pictures look less like the brand than other sets do ({place})."),)
    tone: Tone = "good" if fidelity.low >= 0.5 else "unsure"
    sentence = f"On the scale from other sets (0) to the brand's own drawings (1) its style stands at {place}."
    return (Finding(tone=tone, sentence=sentence),)


def _histogram(looks: Looks) -> Histogram:
    scale = looks.scale
    threshold, _ = scale.within_own(looks.scores)
    place = float(scale.on_scale(torch.tensor([threshold]))[0])
    return Histogram(
        title="Place of each picture on the brand's scale",
        note="95 % of the brand's own unseen drawings lie above the lower mark.",
        x_label="style fidelity: 0 other sets, 1 the brand",
        values=(
            ("made", scale.on_scale(looks.scores)),
            ("brand, unseen", scale.on_scale(scale.own)),
            ("off-brand", scale.on_scale(scale.off)),
        ),
        marks=((place, f"{place:.2f}"), (1.0, "brand")),
    )


def _calibration(looks: Looks, separation: Estimate) -> Table:
    scale, area = looks.scale, separation.interval()
    rows = (
        ("brand, unseen", str(len(scale.own)), *_percentiles(scale.own)),
        ("off-brand", str(len(scale.off)), *_percentiles(scale.off)),
        ("made", str(len(looks.scores)), *_percentiles(looks.scores)),
    )
    return Table(
        title="Calibration for this brand",
        note=f"Raw CSLS scores against {len(scale.brand)} references ({looks.origin}), {len(scale.crowd)} further"
        f" off-brand drawings as the crowd. The brand's unseen drawings against off-brand ones: AUC {area.value:.3f}"
        f" ({area.low:.3f} to {area.high:.3f}).",
        headings=("drawings", "N", "5th percentile", "median", "95th percentile"),
        rows=rows,
    )


def _percentiles(scores_N: Tensor) -> tuple[str, ...]:
    return tuple(f"{float(torch.quantile(scores_N, share)):.3f}" for share in (0.05, 0.5, 0.95))


def _grid(scene: Scene, looks: Looks) -> Grid:
    rows = []
    places = looks.scale.on_scale(looks.scores)
    for row in most_alike(-places, LEAST_ON_BRAND):
        tiles = [Tile(label=scene.made.short, picture=scene.made.pictures[row])]
        if scene.kind == "brand":
            tiles.append(Tile(label=scene.real.short, picture=scene.real.pictures[row]))
        rows.append(Row(tiles=tuple(tiles), caption=scene.captions[row], remark=f"fidelity {float(places[row]):.2f}"))
    return Grid(title="Least on-brand", note="The pictures lowest on the brand's scale.", rows=tuple(rows))


def _per_picture(scene: Scene, looks: Looks) -> PerPicture:
    return PerPicture(
        name=f"style_fidelity_{scene.suffix}",
        title="Place on the brand's scale of style",
        values=looks.scale.on_scale(looks.scores),
        identity=scene.identity("style-fidelity", looks.identity),
        better="higher",
    )


def _estimates(scene: Scene, drift: PromptDrift | None) -> dict[str, Estimate]:
    if drift is None:
        return {}
    return {f"prompt_drift_{scene.suffix}": drift.mean, f"prompt_drift_worst_{scene.suffix}": drift.worst}


def _figure(scene: Scene, looks: Looks, name: str, interval: Interval, better: Better, unit: Unit = "number") -> Figure:
    metric = name.removesuffix(f"_{scene.suffix}").removesuffix("_unadapted").replace("_", "-")
    identity = scene.identity(metric, looks.identity)
    return Figure.of(name, interval, count=scene.count, identity=identity, better=better, unit=unit)


def _prompt_numbers(scene: Scene) -> Tensor:
    prompts = [order.prompt for order in scene.orders] or list(scene.captions)
    numbers = {prompt: number for number, prompt in enumerate(sorted(set(prompts)))}
    return torch.tensor([numbers[prompt] for prompt in prompts])


def _enough(prompts_N: Tensor) -> bool:
    return len(prompts_N.unique()) >= LEAST_PROMPTS
