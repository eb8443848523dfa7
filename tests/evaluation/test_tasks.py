"""The suite ``tasks`` on a tiny random model and real drawings: what it measures, resumes, refuses and tells."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional

import atelier
from data.dataset import Dataset, open_dataset
from data.sample_cut import cut
from evaluation.drawing import DrawingSettings, Order, PictureArchive, PipelineIllustrator, in_batches
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.measurement import Measurement
from evaluation.studio import Studio
from evaluation.suites.tasks import TasksSuite
from evaluation.tasks.bench import Abilities, Bench, numbers_of, with_pictures
from evaluation.tasks.known import MEASURES
from evaluation.tasks.subset import HeldOutSubset
from evaluation.tasks.transfer import partners_of
from registry.artifacts import digest_folder
from registry.resolve import resolve_model
from synthesis.pipeline import MultiTaskPipeline
from synthesis.request import PictureRequest
from synthesis.tasks import TASKS, StyleTransfer, resize, task_named
from synthesis.testing import make_tiny_brand, make_tiny_pipeline

FAST = DrawingSettings(num_inference_steps=1, batch_pictures=32)
HELD = ("heldout_pair", "heldout_subject")


class Thumbnail:
    """Pictures as 6 by 6 pixels: an extractor that takes no time."""

    name, family, digest, dimensions, preprocessing = "thumbnail", "other", "0" * 64, 108, "6px-area"
    device = torch.device("cpu")

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(pictures_B3HW.float() / 255, 6).flatten(1) - 0.5


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """16 held-out pairs, 32 drawings of unseen subjects and 40 learnt ones, all coloured."""
    source = open_dataset(atelier.PROJECT_ROOT / "assets" / "sample" / "base")
    records = source.records

    def coloured(split: str) -> list[int]:
        return [row for row in source.rows(split=split) if not records[row].monochrome]

    unseen = sorted(coloured("heldout_subject"), key=lambda row: records[row].subject)
    pairs = list({records[row].subject: row for row in coloured("heldout_pair")}.values())[:16]
    styles = {records[row].style for row in [*unseen, *pairs]}
    learnt = [row for row in coloured("train") if records[row].style in styles]
    rows = [*pairs, *unseen, *learnt[:: len(learnt) // 40][:40]]
    return cut(source, rows, tmp_path_factory.mktemp("data") / "judge")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory, judge: Dataset) -> Path:
    styles = tuple(sorted({record.style for record in judge.records}))
    return make_tiny_pipeline(tmp_path_factory.mktemp("models") / "backbone", styles=styles)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(Thumbnail(), cache=tmp_path_factory.mktemp("cache"), console=Console(quiet=True))


@pytest.fixture(scope="module")
def suite(judge: Dataset) -> TasksSuite:
    return TasksSuite(pictures=16, judge=str(judge.folder), drawing=FAST)


@pytest.fixture(scope="module")
def measurement(suite: TasksSuite, studio: Studio, backbone: Path) -> Measurement:
    return suite.measure(str(backbone), studio)


def bench_of(judge: Dataset, studio: Studio, backbone: Path, pictures: int = 16, seed: int = 0) -> Bench:
    return Bench(
        studio=studio,
        model=resolve_model(str(backbone)),
        base=None,
        abilities=Abilities.of(backbone),
        judge=judge,
        splits=HELD,
        others=judge,
        learn=judge,
        drawing=FAST,
        pictures=pictures,
        seed=seed,
    )


def test_every_task_has_a_section_with_figures_charts_grids_and_worst_cases(measurement: Measurement) -> None:
    sections = {section.name: section for section in measurement.sections}
    ways = ["text_to_image", "image_to_image", "inpainting", "outpainting"]
    ways += ["super_resolution_2x", "super_resolution_4x", "style_transfer"]
    ways += ["edges", "sketch", "shading", "palette", "style_reference"]
    assert list(sections) == ["tasks", *ways, "memorisation"]
    for name in ways:
        section = sections[name]
        assert section.figures and section.charts and not section.missing
        assert [grid.title for grid in section.grids] == ["Side by side", "Worst cases"]
        assert len(section.grids[1].rows) == 4
        assert len({figure.identity for _, figure in section.charts[0].bars}) == 1
        assert all(len(each.values) == 16 for each in section.per_picture)
        for each in section.per_picture:
            assert measurement.figure(each.name).value == pytest.approx(float(each.values.mean()))
    assert len(sections["inpainting"].grids[0].rows[0].tiles) == 3
    assert {figure.name for figure in sections["super_resolution_2x"].figures} >= {
        "super_resolution_2x_psnr",
        "super_resolution_2x_psnr_bicubic",
        "super_resolution_2x_psnr_bicubic_difference",
        "super_resolution_2x_ssim",
    }


def test_the_table_over_all_tasks_tells_model_baseline_and_difference(measurement: Measurement) -> None:
    table = measurement.sections[0].tables[0]
    assert table.headings[:5] == ("Task", "Figure", "Model", "Against", "Its figure")
    told = {(row[0], row[1], row[3]): row for row in table.rows}
    assert ("Style transfer", "feature distance", "text alone") in told
    assert ("Inpainting", "psnr", "nearest colour") in told
    row = told["Super-resolution, 4×", "psnr", "bicubic"]
    assert row[-2:] == ("16", "clearly worse")  # a random network against bicubic
    assert told["Text to image", "frechet", "floor (real against real)"][-1] == "the floor: no contest"
    assert told["Style transfer", "feature distance", "from the real drawing itself"][-1] == "the floor: no contest"
    assert measurement.verdict.tone == "bad"


def test_differences_are_those_of_the_pairs(measurement: Measurement) -> None:
    for name, rival in (("inpainting_psnr", "nearest_fill"), ("style_transfer_feature_distance", "source")):
        model, other = measurement.figure(name), measurement.figure(f"{name}_{rival}")
        difference = measurement.figure(f"{name}_{rival}_difference")
        assert difference.value == pytest.approx(model.value - other.value)
        assert difference.low < difference.value < difference.high
        assert model.identity == other.identity != difference.identity
    assert measurement.figure("text_to_image_frechet_floor_ratio").low > 1


def test_a_second_run_draws_nothing_and_says_the_same(
    suite: TasksSuite,
    measurement: Measurement,
    studio: Studio,
    backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drew again")

    monkeypatch.setattr(PipelineIllustrator, "draw", refuse)
    assert suite.measure(str(backbone), studio).to_json() == measurement.to_json()


def test_masks_are_the_tasks_own_and_do_not_depend_on_how_many_are_measured(
    judge: Dataset, studio: Studio, backbone: Path
) -> None:
    few, many = (bench_of(judge, studio, backbone, pictures) for pictures in (16, 20))
    rows, more = few.rows(), many.rows()
    assert more[:16] == rows
    clean = numbers_of(many.truth(more).pictures)
    task = task_named("inpainting")
    source, mask = few.condition(task, rows, clean[:16])
    assert torch.equal(mask, many.condition(task, more, clean)[1][:16])
    assert torch.equal(source, clean[:16] * (1 - mask))
    share = mask.mean(dim=(1, 2, 3))
    assert float(share.min()) >= 0.06 and float(share.max()) <= 0.57
    other = bench_of(judge, studio, backbone, seed=1)
    assert not torch.equal(other.condition(task, rows, clean[:16])[1], mask)
    orders = with_pictures(few.orders(rows, "inpainting"), clean[:16], mask)
    assert orders[0].mask is not None and orders[0].mask.getcolors(2) is not None


def test_a_style_is_transferred_from_another_set_s_drawing_of_the_same_unseen_subject(judge: Dataset) -> None:
    partners = partners_of(judge, judge, 0)
    for row, partner in partners.items():
        one, other = judge.records[row], judge.records[partner]
        assert one.subject == other.subject and one.style != other.style
        assert one.split == other.split == "heldout_subject"
    assert partners == partners_of(judge, judge, 0) != partners_of(judge, judge, 1)


def test_named_tasks_alone_are_measured(judge: Dataset, studio: Studio, backbone: Path) -> None:
    suite = TasksSuite(pictures=16, judge=str(judge.folder), drawing=FAST, tasks=["inpainting"])
    measured = suite.measure(str(backbone), studio)
    assert [section.name for section in measured.sections] == ["tasks", "inpainting", "memorisation"]
    assert measured.sections[-1].missing.startswith("text_to_image was not measured")
    assert measured.sections[0].findings == ()


def test_a_new_task_plugs_in_and_one_without_a_measure_is_told(
    judge: Dataset, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "colouring", StyleTransfer(name="colouring"))
    styles = tuple(sorted({record.style for record in judge.records}))
    model = make_tiny_pipeline(tmp_path / "backbone", styles=styles)
    for name in MEASURES.keys() - {"edges", "palette"}:
        monkeypatch.delitem(MEASURES, name)
    assert set(Abilities.of(model).tasks) >= {"edges", "colouring"}
    bench = bench_of(judge, studio, model)
    suite = TasksSuite(pictures=16, judge=str(judge.folder), drawing=FAST)
    (edges, palette), told = suite._measured(bench)
    assert [each.score for each in edges.comparisons] == ["edge_f1", "feature_distance"]
    assert [each.rival for each in palette.comparisons] == ["Text alone"] * 2
    assert "Task colouring has no measure, so nothing is known of it." in told


def test_too_few_drawings_leave_one_task_out_with_the_reason(
    judge: Dataset, studio: Studio, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in MEASURES.keys() - {"text_to_image", "inpainting"}:
        monkeypatch.delitem(MEASURES, name)
    suite = TasksSuite(pictures=17, judge=str(judge.folder), drawing=FAST, tasks=None)
    results, _ = suite._measured(bench_of(judge, studio, backbone, pictures=17))
    missing = {result.section.name: result.section.missing for result in results if result.section.missing}
    assert list(missing) == ["text_to_image"]
    assert missing["text_to_image"].startswith(
        f"{judge.folder} has 16 colour drawings of heldout_pair, 17 are measured"
    )
    named = replace(suite, tasks=["text_to_image"])
    with pytest.raises(TooFewPicturesError, match=r"pass suite.pictures=16 or less"):
        named.measure(str(backbone), studio)
    with pytest.raises(TooFewPicturesError, match=r"500 are measured: pass suite.pictures=(16|48) or less"):
        replace(suite, pictures=500).measure(str(backbone), studio)


def test_an_adapter_is_measured_on_its_brand_beside_the_backbone(
    judge: Dataset, studio: Studio, backbone: Path, tmp_path: Path
) -> None:
    brand = make_tiny_brand(tmp_path / "brand", backbone, "sample", base_digest=digest_folder(backbone))
    records = judge.records
    chosen = [row for row in range(len(judge)) if records[row].style == records[0].style or row % 2]
    learnt = cut(judge, [row for row in chosen if records[row].split == "train"], tmp_path / "learnt")
    unseen = cut(judge, [row for row in chosen if records[row].split != "train"], tmp_path / "unseen")
    suite = TasksSuite(
        pictures=16,
        judge=str(unseen.folder),
        learn=str(learnt.folder),
        others=str(judge.folder),
        drawing=FAST,
        tasks=["text_to_image", "style_transfer"],
    )
    measured = suite.measure(str(brand), studio)
    names = {figure.name for figure in measured.figures}
    assert {"text_to_image_frechet_unadapted", "style_transfer_feature_distance_text_alone"} <= names
    assert measured.title == "sample" and len(measured.cards) == 2
    with pytest.raises(EvaluationError, match=r"judging drawings of .* were learnt from"):
        replace(suite, judge=str(learnt.folder)).measure(str(brand), studio)
    foreign = "assets/sample/openmoji-judge"
    with pytest.raises(EvaluationError, match=r"unseen drawings of its brand, .*; .*openmoji-judge holds none"):
        replace(suite, judge=str(atelier.PROJECT_ROOT / foreign)).measure(str(brand), studio)


def test_drawings_in_a_style_that_the_backbone_does_not_know_are_refused(studio: Studio, backbone: Path) -> None:
    suite = TasksSuite(judge=str(atelier.PROJECT_ROOT / "assets/sample/openmoji-judge"), pictures=16, drawing=FAST)
    with pytest.raises(EvaluationError, match=r"holds the style openmoji, which .* does not know"):
        suite.measure(str(backbone), studio)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["suite.pictures=15"], "suite.pictures 15 must lie in 16 to 100000"),
        (["suite.pictures=many"], "suite.pictures many must be a whole number, 16 to"),
        (["suite.tasks=[drawing]"], "'drawing' is no task with a measure, there are edges"),
        (["suite.tasks=[]"], "an empty list measures nothing"),
        (["suite.judge=none"], "none is not a folder"),
        (["suite.run=none"], "none has no measured/figures.json"),
        (["suite.drawing.num_inference_steps=0"], "num_inference_steps 0 must lie in 1 to 200"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    arguments: list[str],
    line: str,
    backbone: Path,
    judge: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["atelier"])
    told = ["evaluate", f"model={backbone}", "suite=tasks", f"suite.judge={judge.folder}", *arguments]
    with pytest.raises(SystemExit) as caught:
        atelier.main(told)
    said = capsys.readouterr().err
    assert caught.value.code == atelier.EXIT_MISTAKE
    assert "Traceback" not in said and re.search(re.escape(line), said), said


def test_a_task_that_the_backbone_lacks_is_refused_and_told(judge: Dataset, studio: Studio, tmp_path: Path) -> None:
    styles = tuple(sorted({record.style for record in judge.records}))
    model = make_tiny_pipeline(tmp_path / "backbone", styles=styles, tasks=("text_to_image", "inpainting"))
    suite = TasksSuite(pictures=16, judge=str(judge.folder), drawing=FAST, tasks=["edges"])
    with pytest.raises(EvaluationError, match="the backbone has no task edges, it has text_to_image, inpainting"):
        suite.measure(str(model), studio)


def test_orders_of_other_tasks_are_other_files_and_those_of_text_keep_their_names(
    backbone: Path, tmp_path: Path
) -> None:
    picture, mask = Image.new("RGB", (64, 64), "red"), Image.new("L", (64, 64), 255)
    text = Order(prompt="a", seed=0)
    orders = [
        text,
        replace(text, task="image_to_image", picture=picture),
        replace(text, task="image_to_image", picture=picture, strength=0.5),
        replace(text, task="image_to_image", picture=Image.new("RGB", (64, 64), "blue")),
        replace(text, task="inpainting", picture=picture, mask=mask),
        replace(text, task="inpainting", picture=picture, mask=Image.new("L", (64, 64), 0)),
    ]
    assert [len(rows) for rows in in_batches(orders, range(6), 8)] == [1, 2, 2, 1]
    illustrator = PipelineIllustrator(resolve_model(str(backbone)), FAST)
    pictures = PictureArchive(tmp_path).collect(illustrator, orders, batch_pictures=8)
    assert len(list(tmp_path.rglob("*.png"))) == 6
    assert torch.equal(pictures[5], torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 64, 64))


def test_a_small_picture_is_shown_to_super_resolution_as_it_is(backbone: Path) -> None:
    """Half the pixels stay half: the network learnt both a half and a quarter."""
    pipeline = MultiTaskPipeline.load(backbone)
    clean = torch.rand(1, 3, 64, 64) * 2 - 1
    small = ((resize(clean, 32) + 1) * 127.5).round()
    image = Image.fromarray(small[0].to(torch.uint8).permute(1, 2, 0).numpy())

    def source(picture: Image.Image) -> Tensor:
        request = PictureRequest(prompts=("a",), seeds=(0,), task="super_resolution", images=(picture,))
        return pipeline._condition(request, 64)[0].source

    assert torch.allclose(source(image), resize(small / 127.5 - 1, 64), atol=1e-6)
    large = image.resize((64, 64), Image.Resampling.NEAREST)
    quarter = TASKS["super_resolution"].condition(numbers(large), mask=None, generator=None)[0]
    assert torch.allclose(source(large), quarter, atol=1e-6)


def numbers(picture: Image.Image) -> Tensor:
    from evaluation.drawing import to_tensor

    return numbers_of(to_tensor([picture]))


def test_the_subset_of_a_run_is_fixed_by_its_seed(judge: Dataset, backbone: Path) -> None:
    def subset(seed: int) -> Any:
        chosen = HeldOutSubset(judge, pictures=16, seed=seed, px=64, drawing=FAST, tasks=("super_resolution",))
        return chosen.measure(MultiTaskPipeline.load(backbone), Thumbnail())

    one, again, other = subset(0), subset(0), subset(1)
    assert one.figures == again.figures != other.figures
    assert one.sheet.tobytes() == again.sheet.tobytes() != other.sheet.tobytes()
    assert [figure.name for figure in one.figures] == ["kernel_distance", "super_resolution_psnr"]
    assert json.dumps([figure.to_json() for figure in one.figures])
