"""The panel ``distribution`` names every figure, and refuses what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data.dataset import open_dataset
from evaluation.errors import EvaluationError, NotComparableError, TooFewPicturesError
from evaluation.extractors.protocol import INCEPTION_FID
from evaluation.figures import check_comparable
from evaluation.measurement import Column, Section
from evaluation.metrics.catalogue import DEFAULT, METRICS
from evaluation.panels.distribution import DistributionPanel
from evaluation.scene import Scene
from evaluation.studio import Studio
from tests.evaluation.conftest import MakeDataset


class Numbers:
    """A small network's features, known as Inception's or not."""

    name = "numbers"
    digest = "0" * 64
    dimensions = 6
    preprocessing = "none"
    device = torch.device("cpu")

    def __init__(self, family: str) -> None:
        self.family = family

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        return pictures_B3HW.float().mean(dim=(2, 3)).repeat(1, 2)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "judge", 16)


def scene_of(judge: Path, cache: Path, *, count: int = 64, family: str = "other", kind: str = "brand") -> Scene:
    """Return a scene of drawn numbers in the place of features: made ones near the real ones, plain ones far."""
    generator = torch.Generator().manual_seed(0)

    def column(title: str, away: float) -> Column:
        features = torch.randn(count, 6, generator=generator) + away
        return Column(
            title=title, short=title, pictures=torch.zeros(count, 3, 8, 8, dtype=torch.uint8), features=features
        )

    return Scene(
        kind="brand" if kind == "brand" else "backbone",
        suffix=kind,
        seed=0,
        captions=("",) * count,
        made=column("Made", 0.5),
        real=column("Real", 0),
        floor=column("Others", 0),
        plain=column("Plain", 2) if kind == "brand" else None,
        judge=open_dataset(judge),
        judge_rows=tuple(range(count)),
        floor_rows=tuple(range(count)),
        studio=Studio(Numbers(family), cache=cache),
    )


def measured(scene: Scene, *metrics: str) -> Section:
    return DistributionPanel(metrics=metrics or DEFAULT).measure(scene)


def test_every_set_has_every_figure_with_its_jackknife(judge: Path, tmp_path: Path) -> None:
    section = measured(scene_of(judge, tmp_path), *METRICS)
    figures = {figure.name: figure for figure in section.figures}
    stems = [metric.stem for metric in METRICS.values()]
    expected = [f"{stem}_{suffix}" for suffix in ("brand", "unadapted", "floor") for stem in stems]
    assert list(figures) == [*expected, "gap_closed"]
    assert set(section.estimates) == set(expected)
    for name, estimate in section.estimates.items():
        assert figures[name].value == estimate.value
        assert figures[name].low <= figures[name].value <= figures[name].high
    assert figures["coverage_floor"].low > figures["coverage_unadapted"].high
    assert figures["frechet_infinity_floor"].low < 0 < figures["frechet_infinity_floor"].high
    assert 0.8 < figures["gap_closed"].low < figures["gap_closed"].high < 1
    assert [chart.title for chart in section.charts] == [metric.title for metric in METRICS.values()]
    assert [label for label, _ in section.charts[0].bars] == ["Made", "Plain", "Floor"]


def test_the_line_to_infinity_is_shown_with_its_fit(judge: Path, tmp_path: Path) -> None:
    section = measured(scene_of(judge, tmp_path), "frechet_infinity")
    (curve,) = section.curves
    assert curve.note.count("R² = ") == 3
    assert all(line.points[0] == (0.0, section.figures[row].value) for row, line in enumerate(curve.lines))
    assert all(len(line.points) == 16 for line in curve.lines)
    assert not measured(scene_of(judge, tmp_path), "frechet").curves


def test_only_inception_features_give_fid(judge: Path, tmp_path: Path) -> None:
    for family, title in ((INCEPTION_FID, "FID"), ("dinov2", "Fréchet distance")):
        section = measured(scene_of(judge, tmp_path, family=family), "frechet", "frechet_infinity")
        assert section.charts[0].title == title
        assert section.curves[0].y_label == title


def test_a_backbone_has_a_ratio_and_no_gap(judge: Path, tmp_path: Path) -> None:
    section = measured(scene_of(judge, tmp_path, kind="heldout"))
    names = [figure.name for figure in section.figures]
    assert "frechet_ratio_heldout" in names and "gap_closed" not in names
    assert "frechet_ratio_heldout" not in [
        figure.name for figure in measured(scene_of(judge, tmp_path, kind="heldout"), "kernel").figures
    ]


def test_what_cannot_be_measured_or_compared_is_refused(judge: Path, tmp_path: Path) -> None:
    scene = scene_of(judge, tmp_path)
    with pytest.raises(NotComparableError, match="64 and 63 pictures"):
        measured(replace(scene, made=replace(scene.made, features=scene.made.features[1:])))
    with pytest.raises(NotComparableError, match="64 and 63 pictures"):
        measured(replace(scene, made=replace(scene.made, features=scene.made.features[1:])), "frechet")
    with pytest.raises(TooFewPicturesError, match="20 pictures are too few for a line in 1/N"):
        measured(scene_of(judge, tmp_path, count=20), "frechet_infinity")
    with pytest.raises(EvaluationError, match="no metric 'fid'"):
        DistributionPanel(metrics=["fid"])
    section = measured(scene)
    for one, other in (("precision", "recall"), ("density", "coverage"), ("frechet", "mind")):
        figures = {key: section.figures[list(DEFAULT).index(key)] for key in (one, other)}
        with pytest.raises(NotComparableError):
            check_comparable(*figures.values())
