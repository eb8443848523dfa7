"""Colour differences against published pairs and coloraide; palettes, their distances, and the panel of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from coloraide import Color
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from rich.console import Console
from scipy.optimize import linprog
from torch import Tensor

from data.dataset import open_dataset
from evaluation.drawing import to_tensor
from evaluation.elements.colour import (
    delta_e_2000,
    differences,
    hex_of_srgb,
    lab_of_srgb,
    oklab_of_srgb,
    srgb_of_hex,
)
from evaluation.elements.critical import CriticalColour, element_step, meant_mask
from evaluation.elements.palette import (
    Palette,
    figure_of,
    flats_of,
    ground_of,
    nearest_in,
    palette_distance,
    palette_of,
    pixels_of,
    pooled,
)
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Column, Section
from evaluation.panels.palette import PalettePanel
from evaluation.scene import Scene
from evaluation.studio import Studio

WHITE = np.ones(3)
BLUE, RED, YELLOW = "#1e50a0", "#e2001a", "#fcea2b"

# Sharma, Wu and Dalal 2005, table 1: L*, a*, b* twice, then ΔE2000.
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_the_published_pairs_come_out() -> None:
    table = np.array([[float(number) for number in line.split()] for line in SHARMA.strip().splitlines()])
    assert table.shape == (34, 7)
    assert np.abs(delta_e_2000(table[:, :3], table[:, 3:6]) - table[:, 6]).max() < 5e-5
    assert np.abs(delta_e_2000(table[:, 3:6], table[:, :3]) - table[:, 6]).max() < 5e-5


def test_colours_agree_with_coloraide() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.random((2, 300, 3))
    one[:40] = one[:40, :1]  # greys, where hue means nothing
    other[:20] = one[:20]
    other[20:30] = other[20:30] * 0.01  # near black, where both formulas are straight
    pairs = [(Color("srgb", [*a]), Color("srgb", [*b])) for a, b in zip(one, other, strict=True)]
    lab = np.array([a.convert("lab-d65").coords() for a, _ in pairs])
    oklab = np.array([a.convert("oklab").coords() for a, _ in pairs])
    step = np.array([a.delta_e(b, method="2000") for a, b in pairs])
    assert np.abs(lab_of_srgb(one) - lab).max() < 1e-6
    assert np.abs(oklab_of_srgb(one) - oklab).max() < 1e-6
    assert np.abs(delta_e_2000(lab_of_srgb(one), lab_of_srgb(other)) - step).max() < 1e-6


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_colour_comes_back_from_its_name(levels: tuple[int, int, int]) -> None:
    name = "#{:02x}{:02x}{:02x}".format(*levels)
    assert hex_of_srgb(srgb_of_hex(name)) == name
    assert (np.round(255 * srgb_of_hex(name.upper())) == levels).all()


@pytest.mark.parametrize("name", ["red", "#fff", "#12345g", "1e50a0", "", None, 5])
def test_another_spelling_is_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match=r"must be written like #1e50a0"):
        srgb_of_hex(name)


def squares(*names: str, ground: str = "#ffffff", side_px: int = 32) -> Tensor:
    """Return a picture [3,H,W] with one square for each colour, not touching the border."""
    picture = Image.new("RGB", (side_px, side_px), ground)
    pen, wide = ImageDraw.Draw(picture), (side_px - 4) // len(names)
    for place, name in enumerate(names):
        pen.rectangle((2 + place * wide, 4, 1 + (place + 1) * wide, side_px - 5), fill=name)
    return to_tensor([picture])[0]


def test_the_ground_is_what_is_joined_to_the_border() -> None:
    picture = squares(BLUE)
    picture[:, 10:14, 10:14] = 255
    pixels = pixels_of(picture)
    ground = ground_of(pixels, WHITE)
    assert ground[0, 0] and not ground[12, 12] and not ground[6, 6]
    assert len(figure_of(picture, WHITE)) == 32 * 32 - ground.sum()
    assert len(figure_of(picture, None)) == 32 * 32
    empty = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    assert palette_of(figure_of(empty, WHITE)).names == ("#ffffff",)
    assert ground_of(pixels_of(squares(BLUE, ground="#808080")), WHITE).sum() == 0


def test_a_palette_is_the_colours_by_area() -> None:
    palette = palette_of(figure_of(squares(BLUE, BLUE, RED, YELLOW), WHITE))
    assert palette.names[0] == BLUE and set(palette.names) == {BLUE, RED, YELLOW}
    assert palette.weights == pytest.approx([0.5, 0.25, 0.25])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_palette_does_not_depend_on_the_order_of_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (400, 3)) / 255
    first, second = palette_of(pixels), palette_of(generator.permutation(pixels))
    assert (first.colours == second.colours).all() and (first.weights == second.weights).all()
    assert len(first.colours) == 8 and first.weights.sum() == pytest.approx(1)
    assert (np.diff(first.weights) <= 0).all()


def of_names(*names: str) -> Palette:
    return Palette(np.stack([srgb_of_hex(name) for name in names]), np.full(len(names), 1 / len(names)))


def random_palette(seed: int, count: int) -> Palette:
    generator = np.random.default_rng(seed)
    weights = generator.random(count)
    return Palette(generator.random((count, 3)), weights / weights.sum())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_the_distance_is_a_linear_programmes(seed: int, ones: int, others: int) -> None:
    one, other = random_palette(seed, ones), random_palette(seed + 1, others)
    cost = differences(one.colours, other.colours)
    given_out = np.kron(np.eye(ones), np.ones(others))
    taken_in = np.kron(np.ones(ones), np.eye(others))
    sums = np.concatenate([one.weights, other.weights])
    expected = linprog(cost.ravel(), A_eq=np.concatenate([given_out, taken_in]), b_eq=sums).fun
    assert palette_distance(one, other) == pytest.approx(expected, abs=1e-6)
    assert palette_distance(other, one) == pytest.approx(palette_distance(one, other), abs=1e-9)
    assert palette_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_one_colour_is_as_far_as_the_colours_are() -> None:
    step = differences(srgb_of_hex(BLUE)[None], srgb_of_hex(RED)[None])[0, 0]
    assert palette_distance(of_names(BLUE), of_names(RED)) == pytest.approx(step)
    assert palette_distance(of_names(BLUE, RED), of_names(RED)) == pytest.approx(step / 2)
    both = pooled([of_names(BLUE), of_names(RED)])
    assert palette_distance(both, of_names(BLUE, RED)) == pytest.approx(0, abs=1e-9)
    with pytest.raises(EvaluationError, match=r"a palette of 0 colours"):
        Palette(np.zeros((0, 3)), np.zeros(0))


def test_coverage_is_the_area_near_the_brand() -> None:
    pixels = figure_of(squares(BLUE, "#1e51a1", RED, YELLOW), WHITE)
    nearest, steps = nearest_in(pixels, np.stack([srgb_of_hex(BLUE), srgb_of_hex(YELLOW)]))
    assert (steps <= 5).mean() == pytest.approx(0.75)
    assert set(nearest[steps <= 5]) == {0, 1} and len(nearest) == len(pixels)


def test_flats_leave_blends_out() -> None:
    large = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(large).ellipse((40, 40, 216, 216), fill=RED)
    picture = to_tensor([large.resize((64, 64), Image.Resampling.BICUBIC)])[0]
    red = srgb_of_hex(RED)[None]
    assert differences(flats_of(picture, WHITE), red).max() < 2
    assert differences(figure_of(picture, WHITE), red).max() > 10


@pytest.mark.parametrize(("shade", "passes"), [(RED, True), ("#e3051c", True), ("#d01030", False)])
def test_a_critical_colour_is_judged_where_it_is_meant(shade: str, passes: bool) -> None:
    pixels = pixels_of(squares(BLUE, shade))
    critical = CriticalColour(colour=RED)
    mask = meant_mask(pixels, ~ground_of(pixels, WHITE), critical, (BLUE, RED, YELLOW))
    assert mask.sum() == pytest.approx(14 * 24, abs=2)
    step = element_step(pixels, mask, RED)
    assert step is not None and (step <= critical.tolerance) == passes


def test_a_colour_that_is_not_there_is_not_judged() -> None:
    pixels = pixels_of(squares(BLUE, YELLOW))
    mask = meant_mask(pixels, ~ground_of(pixels, WHITE), CriticalColour(colour=RED), (BLUE,))
    assert element_step(pixels, mask, RED) is None


@pytest.mark.parametrize("tolerance", [0, -1, 21, float("nan"), True, "3"])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(EvaluationError, match=r"tolerance .* of critical colour #e2001a must be a ΔE2000 above 0"):
        CriticalColour(colour=RED, tolerance=tolerance)


def test_a_picture_of_another_shape_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"a palette is of a uint8 picture \[3,H,W\]"):
        pixels_of(torch.zeros(4, 8, 8, dtype=torch.uint8))
    with pytest.raises(EvaluationError, match=r"a palette is of a uint8 picture \[3,H,W\]"):
        pixels_of(torch.zeros(3, 8, 8))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> Scene:
    """Return a brand of blue and yellow; its adapter misses the blue a little, the backbone draws red."""
    folder = tmp_path_factory.mktemp("palette")
    judge, learn = open_dataset(make_dataset(folder / "judge", 4)), open_dataset(make_dataset(folder / "learn", 6))
    count = 12

    def column(title: str, *shades: str) -> Column:
        pictures = [squares(*(shades if row % 2 else shades[::-1]), side_px=24) for row in range(count)]
        return Column(title=title, short=title[:5], pictures=torch.stack(pictures), features=torch.zeros(count, 1))

    return Scene(
        kind="brand",
        suffix="brand",
        seed=0,
        captions=tuple(f"shape {row}" for row in range(count)),
        made=column("With the adapter", "#2456a6", YELLOW),
        plain=column("Without the adapter", RED, YELLOW),
        real=column("The brand's own drawing", BLUE, YELLOW),
        floor=column("Other drawings of the brand", BLUE, YELLOW),
        learnt=column("What it learnt", BLUE, YELLOW),
        judge=judge,
        learn=learn,
        judge_rows=tuple(range(4)),
        floor_rows=(),
        studio=Studio(EfficientNetLite0(), cache=folder / "cache", console=Console(quiet=True)),
    )


def with_kit(folder: Path, text: str) -> str:
    (folder / "kit.yaml").write_text(text)
    return str(folder / "kit.yaml")


KIT = f"palette: ['{BLUE}', '{YELLOW}']\ncritical_colours: ['{YELLOW}', {{colour: '{BLUE}', tolerance: 1}}]\n"


def figures_of(section: Section) -> dict[str, float]:
    return {figure.name: figure.value for figure in section.figures}


def test_the_panel_sees_the_brands_colours(scene: Scene, tmp_path: Path) -> None:
    section = PalettePanel(kit=with_kit(tmp_path, KIT)).measure(scene)
    values = figures_of(section)
    assert values["palette_set_distance_real"] == pytest.approx(0, abs=1e-6)
    assert values["palette_distance_real"] < values["palette_distance_brand"] < values["palette_distance_unadapted"]
    assert values["palette_coverage_brand"] == values["palette_coverage_real"] == 1
    assert values["palette_coverage_unadapted"] == pytest.approx(0.5)
    assert values["palette_coverage_gain"] == pytest.approx(0.5)
    assert values["critical_colours_real"] == 1 and values["critical_colours_brand"] == 0.5
    assert {finding.tone for finding in section.findings} == {"good"}
    assert all(figure.low <= figure.value <= figure.high and figure.count == 12 for figure in section.figures)
    assert section.tables[0].rows[0][0] == BLUE and len(section.grids[0].rows) == 8
    identities = {figure.identity for figure in section.figures if figure.name.startswith("palette_coverage_")}
    assert len(identities) == 2  # the sets compare with each other, the gain does not


def test_pairs_cancel_what_both_columns_share(scene: Scene, tmp_path: Path) -> None:
    """Pictures that vary much from row to row, but alike in both columns, leave no doubt about the gain."""
    kit = with_kit(tmp_path, KIT)
    varied = torch.stack([squares(*[YELLOW] * (row % 5 + 1), RED, side_px=32) for row in range(12)])
    better = varied.clone()
    better[:, :, 4:6, 2:12] = torch.tensor([30, 80, 160], dtype=torch.uint8)[None, :, None, None]
    paired = replace(
        scene, made=replace(scene.made, pictures=better), plain=replace(scene.made, pictures=varied), real=scene.real
    )
    figures = {figure.name: figure for figure in PalettePanel(kit=kit).measure(paired).figures}
    made, gain = figures["palette_coverage_brand"], figures["palette_coverage_gain"]
    assert gain.high - gain.low < (made.high - made.low) / 2


def test_what_compare_pairs_by_is_kept(scene: Scene, tmp_path: Path) -> None:
    section = PalettePanel(kit=with_kit(tmp_path, KIT)).measure(scene)
    figures = {figure.name: figure for figure in section.figures}
    assert section.estimates.keys() == {name for name in figures if name.startswith("palette_")}
    for name, estimate in section.estimates.items():
        assert estimate.value == figures[name].value
    assert {each.name for each in section.per_picture} == {"palette_distance_brand", "palette_coverage_brand"}
    for each in section.per_picture:
        assert each.identity == figures[each.name].identity and len(each.values) == scene.count
        assert float(each.values.mean()) == pytest.approx(figures[each.name].value)


def test_without_a_kit_the_palette_is_measured(scene: Scene) -> None:
    section = PalettePanel().measure(scene)
    assert "names no palette, so it is measured" in section.note and "6 learnt drawings" in section.note
    assert PalettePanel().measure(scene).figures == section.figures
    missing = PalettePanel().measure(replace(scene, learn=None, learnt=None))
    assert missing.missing == "no brand's palette is known: add palette to the brand's kit, or pass suite.learn=DIR"
    assert missing.figures == ()


def test_the_ground_counts_where_the_kit_says_so(scene: Scene, tmp_path: Path) -> None:
    kit = with_kit(tmp_path, f"palette: ['{BLUE}', '#ffffff']\nground_in_palette: true\n")
    values = figures_of(PalettePanel(kit=kit).measure(scene))
    assert values["palette_coverage_unadapted"] == pytest.approx(1 - 2 * 10 * 16 / 24**2, abs=0.02)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"panel palette: clusters 0 must lie in 1 to 64"):
        PalettePanel(clusters=0)
    with pytest.raises(EvaluationError, match=r"panel palette: brand_colours 65 must lie in 1 to 64"):
        PalettePanel(brand_colours=65)
