"""The statistics that the descriptor looks at, and the panel ``style`` on scenes whose answer is known."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageDraw
from rich.console import Console
from safetensors.torch import save_file

from atelier import CONF_FOLDER
from data.dataset import open_dataset
from evaluation.elements.colour import oklab_of_srgb
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Section
from evaluation.panels.style import StylePanel
from evaluation.scene import Kind, Scene
from evaluation.studio import Studio
from evaluation.style.descriptor import WEIGHTS_FILE, StyleDescriptor, StyleHead
from evaluation.style.looks import LOOKS, looks, oklch, widths
from evaluation.style.statistics import StyleStatistics, correlations, parts

Measure = Callable[..., tuple[Scene, Section]]
COUNT = 20


class ColourExtractor:
    """The mean colour in each quarter of a picture: features that cost nothing."""

    name, family, digest, dimensions, preprocessing = "colour", "other", "0" * 64, 12, "none"
    device = torch.device("cpu")

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return [B,12]."""
        return torch.nn.functional.adaptive_avg_pool2d(pictures.float(), 2).flatten(1) - 128


@pytest.fixture(scope="module")
def network() -> StyleStatistics:
    return StyleStatistics()


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory: pytest.TempPathFactory, network: StyleStatistics) -> Path:
    """Return a random head over the real statistics: it keeps colours and strokes apart well enough."""
    folder = tmp_path_factory.mktemp("descriptor")
    torch.manual_seed(0)
    head = StyleHead(network.dimensions, 64, 16)
    lesson = network(torch.cat([drawings(8, "brand", seed=50), drawings(8, "other", seed=60)]))
    head.get_buffer("mean").copy_(lesson.mean(0))
    head.get_buffer("deviation").copy_(lesson.std(0).clamp_min(1e-4))
    save_file(head.state_dict(), folder / WEIGHTS_FILE, metadata={"statistics": network.digest})
    return folder


def drawings(count: int, look: str, *, seed: int = 0, px: int = 64) -> torch.Tensor:
    """Return pictures of one look: the brand outlines in blue on white, others fill in warm colours."""
    pictures = []
    for number in range(count):
        generator = np.random.default_rng(1000 * seed + number)
        left, top, wide, high = generator.integers(6, 30, 4)
        picture = Image.new("RGB", (px, px), "white")
        pen = ImageDraw.Draw(picture)
        draw = pen.ellipse if number % 2 else pen.rectangle
        box = (int(left), int(top), int(left + wide), int(top + high))
        if look == "brand":
            draw(box, outline=(20, 40, 200), width=3)
        else:
            draw(box, fill=(220, int(generator.integers(60, 200)), 20))
        pictures.append(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1))
    return torch.stack(pictures)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path], descriptor: Path) -> Measure:
    """Return what measures a scene of made pictures of some look."""
    folder = tmp_path_factory.mktemp("scene")
    off, judge = make_dataset(folder / "off", 64, seed=2), make_dataset(folder / "judge", 24, seed=3)
    studio = Studio(ColourExtractor(), cache=folder / "cache", console=Console(file=io.StringIO()))  # type: ignore[arg-type]

    def measure(look: str, *, learnt: bool = True, kind: Kind = "brand", **settings: object) -> tuple[Scene, Section]:
        columns = {
            name: studio.column(name.title(), name, drawings(COUNT, of, seed=seed))
            for seed, (name, of) in enumerate(
                (("made", look), ("real", "brand"), ("floor", "brand"), ("learnt", "brand"))
            )
        }
        scene = Scene(
            kind=kind,
            suffix="brand",
            seed=0,
            captions=tuple(f"shape {number}" for number in range(COUNT)),
            made=columns["made"],
            real=columns["real"],
            floor=columns["floor"],
            learnt=columns["learnt"] if learnt else None,
            judge=open_dataset(judge),
            learn=open_dataset(judge) if learnt else None,
            judge_rows=(),
            floor_rows=(),
            studio=studio,
        )
        panel = StylePanel(**({"descriptor": str(descriptor), "off_brand": str(off)} | settings))  # type: ignore[arg-type]
        return scene, panel.measure(scene)

    return measure


def test_statistics_are_those_of_the_network_that_ships(network: StyleStatistics) -> None:
    pictures = drawings(2, "other")
    plain = EfficientNetLite0()
    plain.input_px = 128
    stem = plain._network._conv_stem(plain._prepared(pictures))
    maps = plain._network._swish(plain._network._bn0(stem))
    found = network(pictures)
    assert found.shape == (2, network.dimensions)
    assert torch.allclose(found[:, :32], maps.mean((2, 3)), atol=1e-5)
    assert torch.allclose(found[:, 32:64], maps.std((2, 3)), atol=1e-5)
    assert sum(len(places) for places in parts().values()) == network.dimensions
    assert torch.allclose(found[:, parts()["looks"]], found[:, -LOOKS:])


def test_statistics_do_not_depend_on_neighbours_in_a_batch(network: StyleStatistics) -> None:
    pictures = drawings(3, "other")
    assert torch.allclose(network(pictures)[1:2], network(pictures[1:2]), atol=1e-4)


def test_where_a_thing_lies_hardly_counts(network: StyleStatistics) -> None:
    pictures = drawings(2, "brand")
    moved = pictures.roll((4, 2), dims=(2, 3))
    apart = network(drawings(2, "other")) - network(pictures)
    assert (network(moved) - network(pictures)).norm() < 0.5 * apart.norm()


def test_correlations_are_numpys() -> None:
    maps = torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    expected = np.corrcoef(maps[0].flatten(1).numpy())[np.triu_indices(4, 1)]
    assert correlations(maps)[0].tolist() == pytest.approx(expected.tolist(), abs=2e-2)


def test_lightness_and_chroma_are_oklabs() -> None:
    values = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    lightness, chroma, _ = oklch(values)
    expected = oklab_of_srgb(values[0].permute(1, 2, 0).double().numpy())
    assert np.allclose(lightness[0], expected[..., 0], atol=1e-4)
    assert np.allclose(chroma[0], np.hypot(expected[..., 1], expected[..., 2]), atol=1e-4)


@pytest.mark.parametrize("width", [2, 6, 10])
def test_a_stroke_vanishes_at_half_its_width(width: int) -> None:
    amount = torch.zeros(1, 64, 64)
    amount[:, 20 : 20 + width] = 1
    left = widths(amount)[0, 1:]
    assert left[width // 2 - 1] == pytest.approx(0, abs=1e-6) or width % 2
    assert (left[: width // 2 - 1] > 0).all()


def test_an_empty_picture_has_finite_statistics(network: StyleStatistics) -> None:
    for shade in (0, 255):
        assert network(torch.full((1, 3, 64, 64), shade, dtype=torch.uint8)).isfinite().all()
    assert looks(torch.ones(1, 3, 128, 128)).isfinite().all()


def test_on_brand_pictures_stand_near_one(measured: Measure) -> None:
    scene, section = measured("brand")
    figures = {figure.name: figure for figure in section.figures}
    assert figures["style_separation"].value > 0.95
    assert figures["style_fidelity_brand"].value == pytest.approx(1, abs=0.25)
    assert {"prompt_drift_brand", "prompt_drift_worst_brand", "leakage_tail_brand", "leakage_above_brand"} < set(
        figures
    )
    assert all(figure.count == COUNT and re.search(r"64px", figure.identity) for figure in section.figures)
    assert "style-descriptor@" in figures["style_fidelity_brand"].identity
    assert section.findings[0].tone != "bad"
    (places,) = section.per_picture  # of the figure's name and identity, so that compare tests one quantity once
    assert len(places.values) == scene.count and places.identity == figures[places.name].identity
    assert float(places.values.mean()) == pytest.approx(figures[places.name].value)
    assert [len(values) for _, values in section.histograms[0].values] == [COUNT, 2 * COUNT, 32]
    assert len(section.grids[0].rows) == 8


def test_the_gate_asks_for_the_figure_that_is_measured(measured: Measure) -> None:
    gate = OmegaConf.load(CONF_FOLDER / "gate" / "adapter.yaml")
    asked = {threshold.figure.split(".")[0] for threshold in gate.thresholds if "style" in threshold.figure}
    _, section = measured("brand")
    assert asked and asked <= {figure.name for figure in section.figures}


def test_off_brand_pictures_stand_near_zero_and_a_copy_leaks(measured: Measure) -> None:
    _, section = measured("other", copy_threshold=0.9999)
    figures = {figure.name: figure for figure in section.figures}
    assert figures["style_fidelity_brand"].value < 0.5
    assert figures["style_fidelity_brand"].high < 1
    assert figures["style_on_brand_brand"].value < 0.5


def test_without_what_was_learnt_the_floor_gives_references_and_leakage_is_left_out(measured: Measure) -> None:
    _, section = measured("brand", learnt=False, kind="pictures")
    names = {figure.name for figure in section.figures}
    assert "style_fidelity_brand" in names
    assert not any(name.startswith("leakage") for name in names)
    assert "floor" in section.figures[0].identity


def test_a_backbone_has_no_look_of_its_own(measured: Measure) -> None:
    _, section = measured("brand", kind="backbone")
    assert not section.figures
    assert "suite=brand" in section.missing


def test_wrong_settings_and_weights_are_told(measured: Measure, tmp_path: Path, network: StyleStatistics) -> None:
    with pytest.raises(EvaluationError, match="copy_threshold"):
        StylePanel(copy_threshold=2)
    with pytest.raises(EvaluationError, match="no style descriptor"):
        measured("brand", descriptor=str(tmp_path))
    save_file(StyleHead(network.dimensions, 8, 4).state_dict(), tmp_path / WEIGHTS_FILE, metadata={"statistics": "old"})
    with pytest.raises(EvaluationError, match="fit it again"):
        StyleDescriptor(tmp_path)
    scene, _ = measured("brand")
    with pytest.raises(EvaluationError, match="no colour drawing of another collection"):
        measured("brand", off_brand=str(scene.judge.folder))
