"""Words read and logos found in pictures that hold them and in real drawings that do not, and the panel of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor

from atelier import CONF_FOLDER, PROJECT_ROOT
from data.dataset import open_dataset
from evaluation.drawing import to_image, to_tensor
from evaluation.drawings import colour_rows, in_drawn_order, real_pictures
from evaluation.elements.colour import differences, srgb_of_hex
from evaluation.elements.logo import clear_space, logo_step, png_of, read_logo, trimmed
from evaluation.elements.logo_search import Placed, find_logo
from evaluation.elements.rules import BrandRules, read_values
from evaluation.elements.text import Reader, character_error_rate, normal, wanted_text
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Column, Section
from evaluation.panels.elements import ElementsPanel
from evaluation.panels.kit import rules_of
from evaluation.scene import Scene
from evaluation.studio import Studio
from registry.resolve import ResolvedModel

BLUE = "#1e50a0"


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def with_word(word: str, side_px: int, share: float = 0.6) -> Tensor:
    """Return a picture [3,H,W] with a word that is ``share`` of it wide."""
    large = Image.new("RGB", (1024, 1024), "white")
    pen = ImageDraw.Draw(large)
    wide = pen.textlength(word, font=ImageFont.load_default(size=100))
    pen.text((512, 512), word, fill="black", font=ImageFont.load_default(size=102_400 * share / wide), anchor="mm")
    return to_tensor([large.resize((side_px, side_px), Image.Resampling.BICUBIC)])[0]


@pytest.mark.parametrize("side_px", [64, 128, 256])
def test_words_are_read_at_every_size(reader: Reader, side_px: int) -> None:
    words = ("OPEN", "Bakery", "2026")
    assert [reader(with_word(word, side_px)).text for word in words] == list(words)


def test_nothing_is_read_where_nothing_is_written(reader: Reader) -> None:
    assert reader(torch.full((3, 64, 64), 255, dtype=torch.uint8)).text == ""
    noise = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert reader(noise).text == ""
    assert reader(with_word("I", 64, 0.1)).text == ""
    assert reader.identity.startswith("rapidocr@") and reader.identity.endswith("/256px-bicubic")


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ('a sign that says "OPEN"', "OPEN"),
        ("a sign that says “New York” and “1998”", "New York 1998"),
        ("ein Schild mit „Bäckerei“", "Bäckerei"),
        ("a dog's bowl", None),
        ('an empty "" sign', None),
        ('a 5" disk', None),
    ],
)
def test_quotation_marks_ask_for_words(caption: str, wanted: str | None) -> None:
    assert wanted_text(caption) == wanted


@settings(deadline=None)  # the first call imports torchmetrics
@given(st.text("abc XYZ", min_size=1, max_size=8).filter(str.strip), st.text("abc XYZ", max_size=8))
def test_the_error_rate_is_edits_per_character(wanted: str, read: str) -> None:
    rate = character_error_rate(read, wanted)
    assert (rate == 0) == (normal(read) == normal(wanted))
    assert rate <= max(len(normal(read)), len(normal(wanted))) / len(normal(wanted)) + 1e-6
    assert character_error_rate("", wanted) == pytest.approx(1)


def badge() -> Image.Image:
    picture = Image.new("RGBA", (300, 300))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((10, 10, 290, 290), 60, fill="#e2001a")
    pen.polygon([(150, 50), (240, 240), (60, 240)], fill="white")
    return trimmed(picture)


def wordmark() -> Image.Image:
    picture = Image.new("RGBA", (600, 180))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((10, 20, 150, 160), fill=BLUE)
    pen.text((180, 90), "ACME", font=ImageFont.load_default(size=140), fill=BLUE, anchor="lm")
    return trimmed(picture)


def stamped(
    picture: Tensor, logo: Image.Image, scale: float, spot: tuple[float, float], clear: float | None = None
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Return a picture with the logo, ``scale`` of its side long, and its box; ``clear`` heights around stay white."""
    image = to_image(picture).convert("RGBA")
    factor = scale * image.width / max(logo.size)
    width, height = (max(1, round(side * factor)) for side in logo.size)
    left, top = round(spot[0] * (image.width - width)), round(spot[1] * (image.height - height))
    if clear is not None:
        room = round(clear * height) + 1
        image.paste((255, 255, 255, 255), (left - room, top - room, left + width + room, top + height + room))
    image.alpha_composite(logo.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return to_tensor([image.convert("RGB")])[0], (left, top, width, height)


def overlap(place: Placed, box: tuple[int, int, int, int]) -> float:
    left, top, width, height = box
    across = min(place.left + place.width, left + width) - max(place.left, left)
    down = min(place.top + place.height, top + height) - max(place.top, top)
    shared = max(0, across) * max(0, down)
    return shared / (place.width * place.height + width * height - shared)


@pytest.fixture(scope="module")
def drawings() -> Tensor:
    """Return 18 real drawings of the base sets, 64 px."""
    dataset = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")
    return real_pictures(dataset, in_drawn_order(dataset, colour_rows(dataset), 0)[:18], 64)


@pytest.mark.parametrize("logo", [badge(), wordmark()], ids=["badge", "wordmark"])
def test_a_logo_is_found_and_none_is_made_up(logo: Image.Image, drawings: Tensor) -> None:
    generator = np.random.default_rng(0)
    cases = [
        stamped(picture, logo, generator.uniform(0.15, 0.5), (generator.random(), generator.random()), 0.25)
        for picture in drawings
    ]
    found = find_logo(torch.stack([picture for picture, _ in cases]), logo)
    without = find_logo(drawings, logo)
    scores = [place.score for place in (*without, *found)]
    assert roc_auc_score([0] * len(without) + [1] * len(found), scores) >= 0.99
    assert all(overlap(place, box) > 0.5 for place, (_, box) in zip(found, cases, strict=True))
    steps = [logo_step(picture, logo, place) for (picture, _), place in zip(cases, found, strict=True)]
    assert np.median(steps) < 3


def blank(side_px: int = 128) -> Tensor:
    return torch.full((3, side_px, side_px), 255, dtype=torch.uint8)


def test_a_logo_in_a_wrong_colour_is_found_and_told() -> None:
    wrong = Image.new("RGBA", wordmark().size, "#2a6ad0")
    wrong.putalpha(wordmark().getchannel("A"))
    picture, box = stamped(blank(), wrong, 0.4, (0.5, 0.5))
    (place,) = find_logo(picture[None], wordmark())
    expected = differences(srgb_of_hex("#2a6ad0")[None], srgb_of_hex(BLUE)[None])[0, 0]
    assert overlap(place, box) > 0.8
    assert logo_step(picture, wordmark(), place) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("gap", [0.25, 0.5, 1.0])
def test_clear_space_is_what_was_left(gap: float) -> None:
    picture, (left, _, width, height) = stamped(blank(), badge(), 0.25, (0.5, 0.5))
    picture[:, :, left + width + round(gap * height) : left + width + round(gap * height) + 3] = 0
    (place,) = find_logo(picture[None], badge())
    assert clear_space(picture, place) == pytest.approx(gap, abs=1.5 / height)


def test_the_pictures_edge_ends_the_clear_space() -> None:
    picture, _ = stamped(blank(), badge(), 0.3, (0, 0.5))
    (place,) = find_logo(picture[None], badge())
    assert clear_space(picture, place) <= 1 / place.height


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 40">'
    '<rect x="8" y="8" width="48" height="24" fill="{}"/></svg>'
)


def test_a_logo_is_read_from_svg_and_png_alike(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text(SVG.format(BLUE))
    logo = read_logo(tmp_path / "logo.svg")
    assert logo.size == (256, 128)
    (tmp_path / "logo.png").write_bytes(png_of(logo))
    again = np.asarray(read_logo(tmp_path / "logo.png"), dtype=int)
    assert np.abs(again - np.asarray(logo, dtype=int)).mean() < 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.png", None, r"does not exist: name a PNG, WebP or SVG file"),
        ("text.png", b"no picture", r"cannot be used: "),
        ("empty.svg", b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"/>', r"cannot be used: empty picture"),
        ("evil.svg", b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><s>&x;</s>', r"cannot be used: "),
    ],
)
def test_a_file_that_is_no_logo_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EvaluationError, match=message) as refusal:
        read_logo(tmp_path / name)
    assert "\n" not in str(refusal.value)


WRONG = {
    "palette: [red]": r"colour 'red' must be written like #1e50a0",
    "critical_colours: ['#12']": r"colour '#12' must be written like #1e50a0",
    "critical_colours: [{colour: '#1e50a0', tolerance: 50}]": r"tolerance 50 of critical colour #1e50a0",
    "critical_colours: [{color: '#1e50a0'}]": r"must be like \{colour: '#1e50a0', tolerance: 2\}",
    "critical_colours: '#1e50a0'": r"critical_colours '#1e50a0' must be a list",
    "{logo: a.svg, clear_space: -1}": r"clear_space -1 must be 0 to 10, in heights of the logo",
    "{logo: a.svg, clear_space: .nan}": r"clear_space nan must be 0 to 10",
    "clear_space: 1": r"clear_space is the room around a logo: name the logo too, as logo: FILE",
    "logo: [a]": r"logo \['a'\] must be the name of a file",
    "allowed_text: [5]": r"allowed_text 5 must be a text",
    "ground_in_palette: 3": r"ground_in_palette 3 must be true or false",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_wrong_rule_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "kit.yaml"
    file.write_text(text)
    with pytest.raises(EvaluationError, match=message) as refusal:
        BrandRules.of(read_values(file), tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path], drawings: Tensor) -> Scene:
    """Return six made pictures, of which one holds a word that nobody asked for and one the logo."""
    folder = tmp_path_factory.mktemp("elements")
    made = drawings[:6].clone()
    made[0] = with_word("SALE", 64)
    made[1], _ = stamped(blank(64), badge(), 0.4, (0.5, 0.5))

    def column(title: str, pictures: Tensor) -> Column:
        return Column(title=title, short=title, pictures=pictures, features=torch.zeros(len(pictures), 1))

    return Scene(
        kind="brand",
        suffix="brand",
        seed=0,
        captions=("a shop", *(f"thing {row}" for row in range(4)), 'a sign that says "OPEN"'),
        made=column("made", torch.cat([made[:5], with_word("OPEN", 64)[None]])),
        real=column("real", drawings[6:12]),
        floor=column("floor", drawings[12:]),
        judge=open_dataset(make_dataset(folder / "judge", 4)),
        judge_rows=(0,),
        floor_rows=(),
        studio=Studio(EfficientNetLite0(), cache=folder / "cache", console=Console(quiet=True)),
    )


def kit_of(folder: Path, text: str = "") -> str:
    (folder / "logo.png").write_bytes(png_of(badge()))
    (folder / "kit.yaml").write_text("logo: logo.png\nclear_space: 0.5\n" + text)
    return str(folder / "kit.yaml")


def values_of(section: Section) -> dict[str, float]:
    return {figure.name: round(figure.value, 4) for figure in section.figures}


def test_the_panel_finds_words_and_logo(scene: Scene, tmp_path: Path) -> None:
    section = ElementsPanel(kit=kit_of(tmp_path)).measure(scene)
    values = values_of(section)
    assert values["text_unasked_brand"] == round(1 / 5, 4) and values["text_exact_brand"] == 1
    assert values["text_exact_real"] == 0
    assert values["logo_found_brand"] == round(1 / 6, 4) and values["logo_found_real"] == 0
    assert {figure.better for figure in section.figures if figure.name.startswith("logo")} == {"lower"}
    assert all(figure.low <= figure.value <= figure.high for figure in section.figures)
    (words,) = [table for table in section.tables if table.title.startswith("Words")]
    assert words.rows[0] == ("made", "1", "“SALE”")
    assert len(section.histograms) == 1 and len(section.grids) == 2


def test_allowed_words_and_a_wanted_logo(scene: Scene, tmp_path: Path) -> None:
    kit = kit_of(tmp_path, "allowed_text: [Sale]\n")
    values = values_of(ElementsPanel(kit=kit, logo_wanted=True).measure(scene))
    assert values["text_unasked_brand"] == 0
    assert values["logo_found_brand"] == values["logo_right_brand"] == round(1 / 6, 4)
    strict = values_of(ElementsPanel(kit=kit, logo_wanted=True, text=False, logo_tolerance=0.1).measure(scene))
    assert strict == {"logo_found_brand": 0.1667, "logo_right_brand": 0, "logo_found_real": 0, "logo_right_real": 0}


def test_what_compare_pairs_by_is_kept(scene: Scene, tmp_path: Path) -> None:
    section = ElementsPanel(kit=kit_of(tmp_path), logo_wanted=True).measure(scene)
    figures = {figure.name: figure for figure in section.figures}
    names = {f"{name}_brand" for name in ("text_unasked", "text_exact", "logo_found", "logo_right")}
    assert {each.name for each in section.per_picture} == names
    for each in section.per_picture:
        assert each.identity == figures[each.name].identity and len(each.values) == scene.count
        assert float(each.values.nanmean()) == pytest.approx(figures[each.name].value)


def test_what_a_kit_lacks_is_said(scene: Scene) -> None:
    section = ElementsPanel(text=False).measure(scene)
    assert section.missing == "The brand's kit names no logo, so none was looked for: add logo: FILE to it."
    assert section.figures == ()


def test_a_card_names_its_rules(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(png_of(badge()))
    card = {"kind": "adapter", "name": "brand-acme", "kit": {"title": "Acme", "palette": [BLUE], "logo": "logo.png"}}
    model = ResolvedModel(reference="acme", folder=tmp_path, digest="0" * 64, card=card)
    rules = rules_of(replace(scene, model=model), None)
    assert rules.palette == (BLUE,) and rules.logo == tmp_path / "logo.png"
    outside = replace(model, card=card | {"kit": {"logo": "../logo.png"}})
    with pytest.raises(EvaluationError, match=r"logo '../logo.png' must lie beside the card"):
        rules_of(replace(scene, model=outside), None)
    broken = replace(model, card=card | {"kit": {"palette": ["blue"]}})
    with pytest.raises(EvaluationError, match=r"the kit on the card of acme: colour 'blue' must be written"):
        rules_of(replace(scene, model=broken), None)
    with pytest.raises(EvaluationError, match=r"brand kit .* does not exist"):
        rules_of(scene, str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("overrides", "panel"),
    [
        (["suite=elements"], ElementsPanel()),
        (["suite=elements", "suite.panels.2.logo_wanted=true"], ElementsPanel(logo_wanted=True)),
        (
            ["suite=pictures", "suite.panels=[{_target_: evaluation.panels.elements.ElementsPanel,kit: kit.yaml}]"],
            ElementsPanel(kit="kit.yaml"),
        ),
    ],
)
def test_the_panel_is_in_a_suite_and_can_be_added_on_the_command_line(
    overrides: list[str], panel: ElementsPanel
) -> None:
    """These are the ways that docs/brand-kit.md and docs/evaluation.md show."""
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        config = compose("evaluate", ["model=x", *overrides])
    suite = instantiate(config.suite, _convert_="all")
    assert suite.panels[-1] == panel and suite.name == overrides[0].removeprefix("suite=")
