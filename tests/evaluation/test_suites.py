"""Whole suites on tiny random models: figures, files, resuming, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from rich.console import Console

import atelier
from data.dataset import open_dataset
from evaluation.comparison import compare, most_moved
from evaluation.drawing import DrawingSettings, PictureArchive
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evaluate import evaluate
from evaluation.evidence import read_evidence
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Section
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.panels.distribution import DistributionPanel
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.panels.palette import PalettePanel
from evaluation.panels.style import StylePanel
from evaluation.report.page import SectionView
from evaluation.scene import Scene
from evaluation.studio import Studio
from evaluation.suites.backbone import BackboneSuite
from evaluation.suites.brand import BrandSuite
from evaluation.suites.pictures import PicturesSuite
from evaluation.suites.safety import SafetySuite
from evaluation.suites.tasks import TasksSuite
from evaluation.wording import figure_label, interval_text, value_text
from registry.artifacts import digest_folder, read_card, write_card
from registry.mlflow import ModelStore
from registry.register import register_model

FAST = DrawingSettings(num_inference_steps=2, batch_pictures=8)
PANELS = (DistributionPanel(), MemorisationPanel(prompts=0, asked=0))  # which draw nothing of their own


@pytest.fixture(scope="module")
def extractor() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def studio(extractor: EfficientNetLite0, cache: Path) -> Studio:
    return Studio(extractor, cache=cache, console=Console(quiet=True))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> Path:
    splits = ("heldout_subject", "train", "train", "heldout_pair")
    return make_dataset(tmp_path_factory.mktemp("data") / "judge", 64, splits=splits)


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "learn", 20, seed=1, splits=("train",))


@pytest.fixture(scope="module")
def suite(judge: Path, learn: Path) -> BrandSuite:
    return BrandSuite(pictures=16, judge=str(judge), learn=str(learn), drawing=FAST, panels=PANELS)


def test_the_brand_suite_measures_an_adapter(
    suite: BrandSuite, studio: Studio, tiny_brand: Path, tmp_path: Path
) -> None:
    measurement = evaluate(str(tiny_brand), suite, studio, folder=tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert {figure["name"] for figure in figures["figures"]} >= {
        "frechet_distance_brand",
        "kernel_distance_brand",
        "frechet_distance_unadapted",
        "kernel_distance_unadapted",
        "frechet_distance_floor",
        "kernel_distance_floor",
        "gap_closed",
        "memorisation_excess",
    }
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures["figures"])
    frechet = [figure for figure in figures["figures"] if figure["name"].startswith("frechet_distance")]
    (identity,) = {figure["identity"] for figure in frechet}
    version = measurement.sources[0].version[:12]
    assert identity == (
        f"frechet/efficientnet-lite0@579344248a93/224px-bicubic-antialias/64px/judge@{version}:seed0/N=16"
    )
    (copying,) = (section for section in measurement.sections if section.name == "memorisation")
    assert "nobody learnt, of the same captions, held" in copying.note
    # Noise from a random network is further from shapes than shapes are.
    assert measurement.figure("frechet_distance_floor").high < measurement.figure("frechet_distance_brand").low
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.height > 300
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["figures.json", "grid.png", "pictures.parquet", "report.html"]


def test_a_second_run_draws_nothing_and_gives_the_same_figures(
    suite: BrandSuite, studio: Studio, tiny_brand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = suite.measure(str(tiny_brand), studio)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drew again")

    monkeypatch.setattr("evaluation.drawing.MultiTaskPipeline.load", refuse)
    monkeypatch.setattr("evaluation.extractors.efficientnet.EfficientNetLite0.__call__", refuse)
    assert suite.measure(str(tiny_brand), studio).to_json() == first.to_json()


def test_an_interrupted_evaluation_resumes_at_its_last_batch(
    suite: BrandSuite,
    extractor: EfficientNetLite0,
    tiny_brand: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = Studio(extractor, cache=tmp_path, console=Console(quiet=True))
    from evaluation.drawing import PipelineIllustrator

    draw, calls = PipelineIllustrator.draw, []

    def interrupted(self: PipelineIllustrator, orders: list[object]) -> object:
        calls.append(len(orders))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(self, orders)  # type: ignore[arg-type]

    monkeypatch.setattr(PipelineIllustrator, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        suite.measure(str(tiny_brand), fresh)
    assert len(list(tmp_path.rglob("*.png"))) == 8
    suite.measure(str(tiny_brand), fresh)
    assert calls == [8, 8, 8, 8, 8]


def test_unadapted_pictures_are_shared_between_brands(
    suite: BrandSuite, studio: Studio, tiny_brand: Path, tmp_path: Path, tiny_backbone: Path, cache: Path
) -> None:
    from synthesis.testing import make_tiny_brand

    suite.measure(str(tiny_brand), studio)
    folders = set((cache / "drawings").iterdir())
    other = make_tiny_brand(tmp_path / "o", tiny_backbone, "other", seed=5, base_digest=digest_folder(tiny_backbone))
    suite.measure(str(other), studio)
    assert len(set((cache / "drawings").iterdir()) - folders) == 1


def test_the_backbone_suite_measures_what_was_held_out(judge: Path, studio: Studio, tiny_backbone: Path) -> None:
    suite = BackboneSuite(pictures=16, judge=str(judge), drawing=FAST, panels=PANELS[:1])
    measurement = suite.measure(str(tiny_backbone), studio)
    assert {figure.name for figure in measurement.figures} >= {"frechet_distance_heldout", "kernel_distance_heldout"}
    made, floor = (measurement.figure(f"frechet_distance_{suffix}") for suffix in ("heldout", "floor"))
    ratio = measurement.figure("frechet_ratio_heldout")
    assert ratio.value == pytest.approx(made.value / floor.value)
    assert ratio.low > 1
    assert all("·" in caption for caption in measurement.captions)
    with pytest.raises(TooFewPicturesError, match=r"has 32 colour drawings of heldout_pair, heldout_subject, 40 are"):
        BackboneSuite(pictures=40, judge=str(judge), drawing=FAST).measure(str(tiny_backbone), studio)


def test_the_pictures_suite_measures_a_folder(judge: Path, studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    for number in range(16):
        Image.new("RGBA", (96, 80), (16 * number, 0, 200, 128)).save(folder / f"{number:02}.png")
    suite = PicturesSuite(pictures=16, judge=str(judge), panels=PANELS[:1])
    measurement = suite.measure(str(folder), studio)
    assert measurement.figure("frechet_distance_pictures").low > measurement.figure("frechet_distance_floor").high
    (folder / "03.png").write_bytes(b"broken")
    with pytest.raises(EvaluationError, match=r"03.png is not a picture"):
        suite.measure(str(folder), studio)
    (folder / "03.png").unlink()
    few = "holds 15 pictures, 16 are measured: add more; suite.pictures= goes down to 16"
    with pytest.raises(TooFewPicturesError, match=few):
        suite.measure(str(folder), studio)
    with pytest.raises(EvaluationError, match=r"made is no model, it holds 15 pictures: use suite=pictures"):
        BrandSuite(judge=str(judge)).measure(str(folder), studio)
    for file in sorted(folder.iterdir())[1:]:
        file.unlink()
    with pytest.raises(EvaluationError, match=r"made is no model, it holds 1 picture: use suite=pictures"):
        BrandSuite(judge=str(judge)).measure(str(folder), studio)


def test_another_evaluation_in_the_same_place_keeps_the_earlier_one(
    judge: Path, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder_of_pictures(tmp_path / "made", 16)
    suite = PicturesSuite(pictures=16, judge=str(judge), side_px=16, panels=(DistributionPanel(),))
    out = tmp_path / "out [red]"
    for colour in (None, None, "white"):  # the second says what the first said, with a section more
        if colour is None and (out / "figures.json").is_file():
            document = json.loads((out / "figures.json").read_text())
            document["sections"].append({"name": "versions"})
            (out / "figures.json").write_text(json.dumps(document))
        if colour:
            Image.new("RGB", (32, 32), colour).save(folder / "03.png")
        capsys.readouterr()
        evaluate(str(folder), suite, studio, folder=out, keep=True)
        told = capsys.readouterr().out
        assert f"report: {out}/report.html\n" in told
        assert (f"the earlier evaluation is kept: {out}.20" in told) == (colour is not None)
    (kept,) = tmp_path.glob("out [[]red].*")
    assert {file.name for file in kept.iterdir()} == {file.name for file in out.iterdir()}
    assert not list(tmp_path.glob(".*"))
    comparison = compare(read_evidence(kept, "before"), read_evidence(out, "after"))
    assert most_moved(comparison.moved, 16) == [3]


def test_one_bar_goes_on_over_all_sets_and_leaves_nothing_behind(
    judge: Path, extractor: EfficientNetLite0, tmp_path: Path
) -> None:
    folder = _folder_of_pictures(tmp_path / "made", 16)
    suite = PicturesSuite(pictures=16, judge=str(judge), side_px=16, panels=(DistributionPanel(),))
    for terminal in (True, False):
        screen = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        studio = Studio(extractor, cache=tmp_path / "cache", console=screen)
        evaluate(str(folder), suite, studio, folder=tmp_path / "out")
        assert isinstance(screen.file, io.StringIO)
        told = screen.file.getvalue()
        if terminal:
            assert re.findall(r"looking at: [a-z' ]+", told)[-1].strip() == "looking at: other drawings of the brand"
            assert "48/48" in told
            assert told.count("\n") == told.count("\x1b[1A") == 1  # the one line, and back over it when all is done
        else:
            assert not told


def test_what_could_not_be_measured_is_told(
    judge: Path, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = PicturesSuite(pictures=16, judge=str(judge), side_px=16)
    evaluate(str(_folder_of_pictures(tmp_path / "made", 16)), suite, studio, folder=tmp_path / "out")
    told = " ".join(capsys.readouterr().out.split())
    assert "Copying: not measured: nothing says what the model learnt: pass suite.learn=DIR" in told


def _folder_of_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (32, 32), (13 * number, 40, 90)).save(folder / f"{number:02}.png")
    return folder


def test_the_wrong_kind_of_model_is_named(
    suite: BrandSuite, judge: Path, studio: Studio, tiny_backbone: Path, tiny_brand: Path
) -> None:
    with pytest.raises(EvaluationError, match="is a backbone: use suite=backbone"):
        suite.measure(str(tiny_backbone), studio)
    with pytest.raises(EvaluationError, match="is an adapter: use suite=brand"):
        BackboneSuite(judge=str(judge)).measure(str(tiny_brand), studio)


def test_judging_drawings_that_were_learnt_are_refused(judge: Path, studio: Studio, tiny_brand: Path) -> None:
    with pytest.raises(EvaluationError, match=r"32 judging drawings of .* were learnt"):
        BrandSuite(pictures=16, judge=str(judge), learn=str(judge)).measure(str(tiny_brand), studio)


def test_the_learnt_drawings_are_found_by_the_card(
    judge: Path, learn: Path, studio: Studio, tiny_brand: Path, tmp_path: Path
) -> None:
    suite = BrandSuite(pictures=16, judge=str(judge), drawing=FAST, panels=PANELS)
    with pytest.raises(EvaluationError, match=r"pass suite.learn=DIR"):
        suite.measure(str(tiny_brand), studio)
    adapter = shutil.copytree(tiny_brand, tmp_path / "adapter")
    card = read_card(adapter)
    card["datasets"][0]["version"] = open_dataset(learn).card.version
    write_card(adapter, card | {"config": {"images": str(learn), "out": "var/brands"}})
    measurement = suite.measure(str(adapter), studio)
    assert measurement.sources[1].name == "learn"
    assert measurement.notes == (
        "The judging drawings are of judge, the adapter learnt learn: pass suite.judge=DIR with unseen drawings of its"
        " brand.",
    )


def test_too_few_judging_drawings_are_refused_with_what_is_possible(
    suite: BrandSuite, judge: Path, learn: Path, studio: Studio, tiny_brand: Path
) -> None:
    with pytest.raises(TooFewPicturesError, match=r"pass suite.pictures=32 or less"):
        BrandSuite(pictures=33, judge=str(judge), learn=str(learn)).measure(str(tiny_brand), studio)
    with pytest.raises(EvaluationError, match=r"suite.pictures 15 must lie in 16 to"):
        BrandSuite(pictures=15)


def test_figures_are_logged_where_the_model_is_registered_and_shown_over_its_versions(
    suite: BrandSuite,
    studio: Studio,
    cache: Path,
    store: ModelStore,
    tiny_backbone: Path,
    tiny_brand: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from synthesis.testing import make_tiny_brand

    evaluate(str(tiny_brand), suite, studio, folder=tmp_path / "before", store=store)
    assert "logged to" not in capsys.readouterr().out
    other = make_tiny_brand(tmp_path / "o", tiny_backbone, "shapes", seed=5, base_digest=digest_folder(tiny_backbone))
    first, second = (register_model(folder, "brand-shapes", store=store) for folder in (tiny_brand, other))
    evaluate(str(tiny_brand), suite, studio, folder=tmp_path / "first", store=store)
    assert f"logged to brand-shapes version {first}" in capsys.readouterr().out
    (logged,) = store.evaluations("brand-shapes", first)
    assert logged.suite == "brand"
    assert logged.metrics()["brand/gap_closed"] == next(f.value for f in logged.figures if f.name == "gap_closed")
    assert {figure.unit for figure in logged.figures} >= {"number", "share"}

    measurement = evaluate(str(other), suite, studio, folder=tmp_path / "second", store=store)
    versions = measurement.sections[-1]
    curve = next(curve for curve in versions.curves if curve.title == "Fréchet distance")
    assert [line.label for line in curve.lines] == [
        "with the adapter",
        "without the adapter",
        "floor (real against real)",
    ]
    titles = [each.title for each in versions.curves]
    assert len(set(titles)) == len(titles) and "Gap closed, from unadapted to floor" in titles
    assert {each.title: each.unit for each in versions.curves}["Precision"] == "share"
    shares = next(view for view in SectionView.of(versions).curves if view.title == "Precision")
    assert shares.y_ticks[-1].text == "100 %" and "%" in shares.traces[0].dots[0].text
    assert curve.lines[0].points == (
        (first, logged.figures[0].value),
        (second, measurement.figure("frechet_distance_brand").value),
    )
    assert not versions.tables
    fewer = replace(suite, pictures=20)
    registered = Studio(studio.extractor, cache=cache, store=store, console=Console(quiet=True))
    alone = evaluate("models:/brand-shapes/2", fewer, registered, folder=tmp_path / "few", store=store).sections[-1]
    assert (alone.name, alone.curves) == ("versions", ())
    ((version, why),) = alone.tables[0].rows
    assert version == "version 1"
    assert re.fullmatch(r"(\d+) of \1 figures: the number of pictures differs: N=20 against N=16", why)


def test_an_evaluation_that_measures_nothing_or_stops_leaves_no_file(
    suite: BrandSuite, studio: Studio, tiny_brand: Path, tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Broken:
        def measure(self, scene: Scene) -> Section:
            raise TooFewPicturesError("17 pictures are needed")

    @dataclass(frozen=True)
    class Lacking:
        def measure(self, scene: Scene) -> Section:
            return Section(name="style", title="Style", note="", missing="pass suite.style=FILE")

    told = {
        (): "suite brand measured nothing: it has no panels; suite.panels names them",
        (Lacking(),): r"measured nothing \(Style: pass suite.style=FILE\)",
        (DistributionPanel(), Broken()): "^Broken: 17 pictures are needed",
        (DistributionPanel(), DistributionPanel()): "measures .*gap_closed.* in two of its panels",
    }
    for panels, line in told.items():
        with pytest.raises(EvaluationError, match=line):
            evaluate(str(tiny_brand), replace(suite, panels=panels), studio, folder=tmp_path / "out")
        assert not (tmp_path / "out").exists()
    measurement = evaluate(
        str(tiny_brand), replace(suite, panels=(PANELS[1], Lacking())), studio, folder=tmp_path / "out"
    )
    assert measurement.verdict.headline == "No verdict: the distance from the brand was not measured."
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert [section["missing"] for section in figures["sections"]] == ["", "pass suite.style=FILE"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "model is missing: pass model=FOLDER"),
        (["model=none/such"], "no model folder at none/such"),
        (["model=none", "suite=nothing"], "backbone.*brand.*pictures.*smoke"),
        (["model=none", "suite.pictures=3"], "suite.pictures 3 must lie in 16 to 100000"),
        (["model=none", "suite.pictures=abc"], "suite.pictures abc must be a whole number, 16 to 100000"),
        (["model=none", "suite.pictures=16.5"], "suite.pictures 16.5 must be a whole number, 16 to 100000"),
        (["model=none", "suite.drawing.guidance_scale=high"], "guidance_scale high must be a number, 0 to 30"),
        (["model=none", "suite.drawing.guidance_scale=-1"], "guidance_scale -1 must lie in 0 to 30"),
        (["model=none", "extractor.weights=none.pth"], "no weights at none.pth"),
        (["model=none", "suite.picturs=3"], "picturs"),
        (["model=none", "device=gpu"], "^atelier: device gpu: cpu or cuda$"),
        (["model=none", "device=cuda:64"], r"^atelier: device cuda:64: this machine has \d+ of the kind; pass cpu$"),
        (
            ["model=none", "extractor=inception"],
            "^atelier: extractor.path is missing: pass extractor.path=FILE, FID's Inception weights$",
        ),
        (["model=none", "extractor=sscd"], "extractor.path is missing: pass extractor.path=FILE, a TorchScript netw"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["atelier"])
    with pytest.raises(SystemExit) as caught:
        atelier.main(["evaluate", *arguments])
    told = capsys.readouterr().err
    assert caught.value.code == atelier.EXIT_MISTAKE
    assert "Traceback" not in told
    assert re.search(line, told, flags=re.DOTALL), told
    assert not (tmp_path / "var").exists()


def test_settings_do_not_mix_and_spoilt_pictures_are_drawn_anew(tmp_path: Path, tiny_backbone: Path) -> None:
    from evaluation.drawing import Order, PipelineIllustrator
    from registry.resolve import resolve_model

    model, orders = resolve_model(str(tiny_backbone)), [Order(prompt="a", seed=0, style="noto")]
    archive = PictureArchive(tmp_path)
    for steps in (2, 3):
        illustrator = PipelineIllustrator(model, DrawingSettings(num_inference_steps=steps))
        first = archive.collect(illustrator, orders, batch_pictures=1)
    assert len(list(tmp_path.iterdir())) == 2
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:40])
    assert torch.equal(archive.collect(illustrator, orders, batch_pictures=1), first)


@pytest.mark.parametrize("name", sorted(file.stem for file in (atelier.CONF_FOLDER / "suite").glob("*.yaml")))
def test_every_suite_composes_and_its_settings_are_accepted(name: str) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(atelier.CONF_FOLDER)):
        needed = ["suite.golden=y"] if name == "serving" else []
        config = compose("evaluate", overrides=[f"suite={name}", "model=x", *needed])
    suite = instantiate(config.suite, _convert_="all")
    assert suite.name == name
    if name == "serving":  # it draws nothing and is judged by the golden run
        return
    assert suite.pictures >= LEAST_PICTURES
    assert (Path(atelier.PROJECT_ROOT) / suite.judge / "dataset.json").is_file()


def test_smoke_has_the_brand_suites_panels_at_their_cheapest() -> None:
    suites = []
    for name in ("smoke", "brand"):
        with initialize_config_dir(version_base="1.3", config_dir=str(atelier.CONF_FOLDER)):
            suites.append(instantiate(compose("evaluate", overrides=[f"suite={name}"]).suite, _convert_="all"))
    smoke, brand = suites
    assert [type(panel) for panel in smoke.panels] == [type(panel) for panel in brand.panels]
    (style,) = [panel for panel in smoke.panels if isinstance(panel, StylePanel)]
    (copies,) = [panel for panel in smoke.panels if isinstance(panel, MemorisationPanel)]
    assert (style.off_brand_pictures, copies.prompts, copies.asked) == (64, 0, 0)


@pytest.mark.parametrize("suite", [BackboneSuite, BrandSuite, PicturesSuite, SafetySuite, TasksSuite])
@pytest.mark.parametrize("seed", ["abc", 1.5, True, -1])
def test_a_seed_that_is_none_is_refused_by_every_suite(suite: Callable[..., object], seed: object) -> None:
    with pytest.raises(EvaluationError, match=rf"^suite\.seed {seed} must (be a whole number, 0 to|lie in 0 to)"):
        suite(seed=seed)


@pytest.mark.parametrize(
    ("panel", "setting", "value"),
    [
        *((MemorisationPanel, name, 2.5) for name in ("prompts", "seeds", "asked")),
        (MemorisationPanel, "neighbours", 60.5),
        (PalettePanel, "clusters", 8.5),
        (PalettePanel, "brand_colours", True),
        (StylePanel, "off_brand_pictures", 64.5),
    ],
)
def test_a_count_that_is_not_whole_is_refused_in_one_line(
    panel: Callable[..., object], setting: str, value: object
) -> None:
    with pytest.raises(EvaluationError, match=rf"{setting} {value} must be a whole number"):
        panel(**{setting: value})


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_no_label_of_a_figure_is_folded(
    judge: Path,
    studio: Studio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    suite = PicturesSuite(pictures=16, judge=str(judge), side_px=16, panels=(DistributionPanel(),))
    measurement = evaluate(str(_folder_of_pictures(tmp_path / "made", 16)), suite, studio, folder=tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    for figure in measurement.figures:
        (place,) = [row for row, line in enumerate(lines) if re.match(re.escape(figure_label(figure.name)), line)]
        told = " ".join(lines[place : place + 2])
        assert value_text(figure) in told and interval_text(figure) in told
