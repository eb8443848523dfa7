"""Do the pictures show what was asked for: the panel ``fidelity``.

Shapes: points [N,E], scores [N] of pictures and their own captions, [N,N] of pictures (rows) and all captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from evaluation.errors import TooFewPicturesError
from evaluation.fidelity.aligner import Aligner
from evaluation.fidelity.protocol import Scorer
from evaluation.figures import Figure, Unit
from evaluation.intervals import Estimate, combine, group_of_rows
from evaluation.measurement import Chart, Column, Finding, Grid, Histogram, PerPicture, Row, Section, Tile
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.scene import Scene
from evaluation.wording import interval_text, value_text

TITLE = "Prompt fidelity"
WORST = 8
JOINT = "captions"  # the set whose groups are left out together: own, real and plain pictures of one caption
NOTE = (
    "How alike each picture is to its own caption. The same for the real drawings is the upper mark, the made pictures"
    " against each other's captions the lower one: a model that ignores its prompts stands at the lower mark."
)
NOTES = {
    "aligner": "Scored by the aligner, a small network that learnt from icons and emoji alone: read its scores between"
    " the marks.",
    "clipscore": "Scored by a CLIP: 100 × cosine, at least 0.",
}


@dataclass(frozen=True)
class Scores:
    """Scores of one set of pictures: with every caption [N,N], own captions on the diagonal."""

    all: Tensor

    @property
    def own(self) -> Tensor:
        """Return [N], each picture with its own caption."""
        return self.all.diagonal()


@dataclass(frozen=True, kw_only=True)
class FidelityPanel:
    """Mean score of pictures and their captions, and where it stands between other captions and real drawings."""

    scorer: Scorer = field(default_factory=Aligner)

    def measure(self, scene: Scene) -> Section:
        """Return the score, its share of the way, the paired difference to the unadapted pictures, the worst prompts.

        Raises TooFewPicturesError below 16 pictures.
        """
        if scene.kind == "pictures":
            return self._missing("a folder of pictures has no captions: measure the model that drew them")
        if scene.count < LEAST_PICTURES:
            raise TooFewPicturesError(
                f"{scene.count} pictures are too few for prompt fidelity: {LEAST_PICTURES} at least"
            )
        prompts = [order.prompt for order in scene.orders] or list(scene.captions)
        others_NN = _other_captions(prompts)
        if not bool(others_NN.any(dim=1).all()):
            return self._missing(
                "all captions are alike, so that no other caption gives a lower mark: pass more subjects"
            )
        captions_NE = self.scorer.of_captions(prompts)
        made, real = self._scores(scene, scene.made, captions_NE), self._scores(scene, scene.real, captions_NE)
        plain = self._scores(scene, scene.plain, captions_NE) if scene.plain else None
        estimates = _estimates(made, real, plain, others_NN)
        figures = self._figures(scene, estimates)
        return Section(
            name="fidelity",
            title=TITLE,
            note=" ".join(filter(None, [NOTE, NOTES.get(self.scorer.name, ""), self._told_of_cuts(prompts)])),
            figures=tuple(figures.values()),
            findings=tuple(_findings(figures)),
            charts=(self._chart(scene, figures),),
            histograms=(_histogram(made, real, others_NN),),
            grids=(_worst(scene, prompts, made, real, plain),),
            per_picture=(_per_picture(figures["made"], made),),
            estimates={self._name(scene, part): estimate for part, estimate in estimates.items()},
        )

    def _missing(self, why: str) -> Section:
        return Section(name="fidelity", title=TITLE, note=NOTE, missing=why)

    def _told_of_cuts(self, prompts: Sequence[str]) -> str:
        cut = self.scorer.cut(prompts)
        return f"{cut} of {len(prompts)} captions are longer than it reads, and were cut." if cut else ""

    def _scores(self, scene: Scene, column: Column, captions_NE: Tensor) -> Scores:
        features = scene.studio.features(self.scorer.extractor, column.pictures, column.title.lower())
        points_NE = self.scorer.of_features(features)
        return Scores(self.scorer.score(points_NE.double() @ captions_NE.double().T))

    def _figures(self, scene: Scene, estimates: dict[str, Estimate]) -> dict[str, Figure]:
        return {part: self._figure(scene, part, estimate) for part, estimate in estimates.items()}

    def _figure(self, scene: Scene, part: str, estimate: Estimate) -> Figure:
        metric = part if part in ("share", "gain") else "mean"
        unit: Unit = "share" if part == "share" else "number"
        return Figure.of(
            self._name(scene, part),
            estimate.interval(),
            count=scene.count,
            identity=scene.identity(f"{self.scorer.name}-{metric}", self.scorer.identity),
            better="higher",
            unit=unit,
        )

    def _name(self, scene: Scene, part: str) -> str:
        return f"{self.scorer.name}_{scene.suffix if part == 'made' else part}"

    def _chart(self, scene: Scene, figures: dict[str, Figure]) -> Chart:
        titles = {"made": scene.made.title, "unadapted": scene.plain.title if scene.plain else ""}
        titles |= {"real": scene.real.title, "shuffled": "With each other's captions"}
        bars = tuple((title, figures[part]) for part, title in titles.items() if part in figures)
        return Chart(title="Picture and caption", note="Higher is closer.", bars=bars)


def _estimates(made: Scores, real: Scores, plain: Scores | None, others_NN: Tensor) -> dict[str, Estimate]:
    own, upper, lower = _mean(made.own), _mean(real.own), _mean_of_pairs(made.all, others_NN)
    estimates = {"made": own, "real": upper, "shuffled": lower, "share": combine(_share_of_way, own, upper, lower)}
    if plain is not None:
        estimates |= {"unadapted": _mean(plain.own), "gain": _mean(made.own - plain.own)}
    return estimates


def _per_picture(figure: Figure, made: Scores) -> PerPicture:
    title = "Score with its own caption"
    return PerPicture(
        name=figure.name, title=title, values=made.own, identity=figure.identity, better=figure.better, unit=figure.unit
    )


def _other_captions(prompts: Sequence[str]) -> Tensor:
    """Return bool [N,N]: which captions are not a picture's own, nor equal to it."""
    number = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    numbers_N = torch.tensor([number[prompt] for prompt in prompts])
    return numbers_N[:, None] != numbers_N[None]


def _mean(values_N: Tensor) -> Estimate:
    """Return the mean with its jackknife over groups of captions."""
    member_GN = _membership(len(values_N))
    left = len(values_N) - member_GN.sum(dim=1)
    return Estimate(float(values_N.mean()), {JOINT: (values_N.sum() - member_GN @ values_N) / left})


def _mean_of_pairs(scores_NN: Tensor, taken_NN: Tensor) -> Estimate:
    """Return the mean over taken pairs; a left-out group leaves with its pictures and its captions."""
    member_GN = _membership(len(scores_NN))

    def sums(values_NN: Tensor) -> tuple[Tensor, Tensor]:
        within_G = ((member_GN @ values_NN) * member_GN).sum(dim=1)
        gone_G = member_GN @ values_NN.sum(dim=1) + member_GN @ values_NN.sum(dim=0) - within_G
        return values_NN.sum(), values_NN.sum() - gone_G

    weights_NN = taken_NN.double()
    (total, total_G), (count, count_G) = sums(scores_NN * weights_NN), sums(weights_NN)
    return Estimate(float(total / count), {JOINT: total_G / count_G})


def _membership(count: int) -> Tensor:
    return torch.nn.functional.one_hot(group_of_rows(count)).T.double()


def _share_of_way(own: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    return torch.as_tensor((own - lower) / (upper - lower))


def _findings(figures: dict[str, Figure]) -> list[Finding]:
    share = figures["share"]
    amount = (
        f"{value_text(share)} of the way from other captions to real drawings, 95 % interval {interval_text(share)}"
    )
    if figures["real"].low <= figures["shuffled"].high:
        return [
            Finding(
                tone="unsure", sentence=f"{TITLE} cannot be told here: the real drawings score no higher than chance."
            )
        ]
    if share.low <= 0:
        findings = [Finding(tone="bad", sentence=f"It does not follow its prompts: {amount}.")]
    else:
        findings = [
            Finding(tone="good" if share.low > 0.5 else "unsure", sentence=f"It follows its prompts: {amount}.")
        ]
    return [*findings, *_gain_finding(figures)]


def _gain_finding(figures: dict[str, Figure]) -> list[Finding]:
    """Say that an adapter costs fidelity only where the scorer reads the brand's style no worse than the backbone's."""
    gain = figures.get("gain")
    if gain is None or gain.high >= 0:
        return []
    told = f"{value_text(gain)}, 95 % interval {interval_text(gain)}, on the same prompts and seeds"
    if figures["unadapted"].value > figures["real"].value:
        sentence = (
            f"The adapter's pictures score lower than the backbone's ({told}), but so do the brand's own drawings: the"
            " scorer reads this style less well, and the difference is no proof of lost prompts."
        )
    else:
        sentence = f"The adapter costs prompt fidelity: {told}."
    return [Finding(tone="unsure", sentence=sentence)]


def _histogram(made: Scores, real: Scores, others_NN: Tensor) -> Histogram:
    return Histogram(
        title="Scores of single pictures",
        note="Made pictures should lie where the real ones do, and apart from other captions.",
        x_label="score",
        values=(("made", made.own), ("real", real.own), ("other captions", made.all[others_NN])),
    )


def _worst(scene: Scene, prompts: Sequence[str], made: Scores, real: Scores, plain: Scores | None) -> Grid:
    """Show the prompts whose pictures fall farthest behind the real drawing of the same caption."""
    rows = []
    for place in (made.own - real.own).sort(stable=True).indices[:WORST].tolist():
        tiles = [
            Tile(label=f"made: {float(made.own[place]):.2f}", picture=scene.made.pictures[place]),
            Tile(label=f"real: {float(real.own[place]):.2f}", picture=scene.real.pictures[place]),
        ]
        if scene.plain is not None and plain is not None:
            label = f"{scene.plain.short}: {float(plain.own[place]):.2f}"
            tiles.insert(1, Tile(label=label, picture=scene.plain.pictures[place]))
        rows.append(Row(tiles=tuple(tiles), caption=prompts[place]))
    return Grid(title="Worst prompts", note="Farthest behind the real drawing.", rows=tuple(rows))
