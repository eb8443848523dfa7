"""The suite ``safety`` on a model, an adapter and a folder, and its panels on pictures made to be found."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image, ImageDraw
from rich.console import Console
from torch import Tensor

from atelier import CONF_FOLDER, AtelierError
from data.dataset import open_dataset
from evaluation.drawing import DrawingSettings, to_image
from evaluation.drawings import is_picture_folder
from evaluation.elements.text import Reader, Reading
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evaluate import evaluate
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Measurement
from evaluation.memorisation.marks import load_marks
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.panels.safety import MarksPanel, UnsafePanel, UnsafeScorer, WrittenTextPanel
from evaluation.panels.text import read_all
from evaluation.studio import Studio
from evaluation.suites.safety import SafetySuite, read_probes

FAST = DrawingSettings(num_inference_steps=1, guidance_scale=1.0, batch_pictures=16)
COPYING = MemorisationPanel(prompts=0, asked=0)
COUNT = 16
PATHS = {
    "crown": "M10 80 L10 30 L30 55 L50 20 L70 55 L90 30 L90 80 Z",
    "bolt": "M60 5 L20 55 L45 55 L35 95 L80 40 L52 40 Z",
    "ring": "M50 10 a40 40 0 1 0 0.1 0 Z M50 30 a20 20 0 1 1 -0.1 0 Z",
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(EfficientNetLite0(), cache=tmp_path_factory.mktemp("cache"), console=Console(quiet=True))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "judge", 24)


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "learn", 24, seed=1, splits=("train",))


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tarball of three marks, as npm pack writes one."""
    icons = {name: {"body": f'<path fill="currentColor" d="{path}"/>'} for name, path in PATHS.items()}
    texts = {
        "icons": {"prefix": "house", "icons": icons, "width": 100, "height": 100},
        "info": {"name": "House", "palette": False, "license": {"spdx": "CC0-1.0"}},
        "metadata": {},
        "package": {"version": "1.0.0"},
    }
    file = tmp_path_factory.mktemp("marks") / "iconify-json-house-1.0.0.tgz"
    with tarfile.open(file, "w:gz") as archive:
        for name, content in texts.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, marks: Path, learn: Path) -> Path:
    """Sixteen pictures: two recoloured and turned marks, two learnt drawings, the rest scribbles."""
    folder = tmp_path_factory.mktemp("pictures") / "asked"
    folder.mkdir()
    shown = load_marks(marks, 64).pictures
    for number in range(2):
        picture = shown[number].flip(-1).clone()
        picture[0][picture[0] < 128] = 200
        to_image(picture).save(folder / f"a-mark-{number}.png")
        open_dataset(learn).picture(number).save(folder / f"b-learnt-{number}.png")
    generator = torch.Generator().manual_seed(0)
    for number in range(COUNT - 4):
        scribble = Image.new("RGB", (64, 64), "white")
        points = [tuple(point) for point in torch.randint(2, 62, (7, 2), generator=generator).tolist()]
        ImageDraw.Draw(scribble).line(points, fill="purple", width=3)
        scribble.save(folder / f"c-scribble-{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def of_folder(folder: Path, judge: Path, learn: Path, marks: Path, studio: Studio) -> Measurement:
    suite = SafetySuite(
        pictures=COUNT,
        judge=str(judge),
        learn=str(learn),
        marks=str(marks),
        panels=(UnsafePanel(), COPYING, WrittenTextPanel(reader=None)),
    )
    return suite.measure(str(folder), studio)


def test_a_folder_is_searched_for_marks_copies_and_indecency(of_folder: Measurement) -> None:
    names = {figure.name for figure in of_folder.figures}
    assert {"unsafe_share", "copies_pixel", "copies_feature", "memorisation_excess", "marks_share"} <= names
    assert of_folder.figure("marks_share").value >= 2 / COUNT
    assert of_folder.figure("copies_pixel").value >= 2 / COUNT
    assert of_folder.figure("unsafe_share").value == 0
    for figure in of_folder.figures:
        assert figure.low <= figure.value <= figure.high and figure.count == COUNT
    assert of_folder.verdict.tone != "good"


def test_a_folders_control_is_not_said_to_show_its_captions(of_folder: Measurement) -> None:
    (section,) = (section for section in of_folder.sections if section.name == "memorisation")
    assert "nobody learnt, of captions of their own, held" in section.note


def test_the_nearest_marks_are_shown_and_named(of_folder: Measurement) -> None:
    (section,) = (section for section in of_folder.sections if section.name == "marks")
    labels = [tile.label for row in section.grids[0].rows[:2] for tile in row.tiles]
    assert any("a-mark" in label for label in labels) and any("house" in label for label in labels)


def test_the_worst_scores_are_shown_and_kept_picture_by_picture(of_folder: Measurement) -> None:
    (section,) = (section for section in of_folder.sections if section.name == "unsafe")
    (scores,) = section.per_picture
    assert len(scores.values) == COUNT and bool(((scores.values >= 0) & (scores.values <= 1)).all())
    shown = [float(row.remark.removeprefix("score ")) for row in section.grids[0].rows]
    assert shown == sorted(shown, reverse=True)


def test_text_is_missing_until_a_reader_is_named(of_folder: Measurement) -> None:
    (section,) = (section for section in of_folder.sections if section.name == "written_text")
    assert "name a reader of text" in section.missing


def test_a_backbone_is_asked_the_probes(tiny_backbone: Path, judge: Path, studio: Studio, tmp_path: Path) -> None:
    suite = SafetySuite(pictures=COUNT, judge=str(judge), drawing=FAST, panels=(UnsafePanel(), COPYING))
    measurement = evaluate(str(tiny_backbone), suite, studio, folder=tmp_path / "out")
    sections = {section.name: section for section in measurement.sections}
    assert sections["unsafe"].figures and "suite.learn" in sections["memorisation"].missing
    assert "npm pack" in sections["marks"].missing
    (note,) = measurement.notes
    assert re.fullmatch(r"Nothing says .* that the model \S+ learnt: pass suite\.learn=DIR\.", note)
    assert measurement.captions[0].startswith("mark: apple logo")
    assert "report.html" in {file.name for file in (tmp_path / "out").iterdir()}


def test_a_reader_of_text_is_asked_about_every_picture(
    of_folder: Measurement, folder: Path, judge: Path, studio: Studio
) -> None:
    class Dark:
        """Calls a picture a text where it has dark ink."""

        identity = "dark@0"

        def __call__(self, picture_3HW: Tensor) -> Reading:
            return Reading("dark" if int(picture_3HW.min()) < 40 else "", 1.0)

    suite = SafetySuite(pictures=COUNT, judge=str(judge), panels=(WrittenTextPanel(reader=Dark()),))
    figure = suite.measure(str(folder), studio).figure("text_share")
    assert 0 <= figure.low <= figure.value <= figure.high <= 1 and "dark@0" in figure.identity


def test_words_are_read_by_the_shipped_reader() -> None:
    sign = Image.new("RGB", (128, 64), "white")
    ImageDraw.Draw(sign).text((14, 12), "STOP", fill="black", font_size=36)
    values = torch.frombuffer(bytearray(sign.tobytes()), dtype=torch.uint8).view(64, 128, 3).permute(2, 0, 1)
    reader = WrittenTextPanel().reader
    assert reader is not None
    assert reader(values).text == "STOP" and not reader(torch.full_like(values, 255)).text


def test_the_scorer_is_an_extractor_of_one_number(folder: Path) -> None:
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    scores = UnsafeScorer()(pictures)
    assert scores.shape == (2, 1) and len(UnsafeScorer().digest) == 64


def test_the_shipped_settings_build_the_suite() -> None:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        config = compose("evaluate", ["suite=safety", "model=x"])
    suite = instantiate(config.suite, _convert_="all")
    assert isinstance(suite, SafetySuite)
    probes = read_probes(Path(suite.probes))
    assert len(probes) == 48 and {probe.kind for probe in probes} == {"mark", "unsafe", "text"}
    assert len({probe.prompt for probe in probes}) == 48


def test_a_folder_with_a_models_files_is_no_folder_of_pictures(tiny_backbone: Path, folder: Path) -> None:
    assert is_picture_folder(folder) and not is_picture_folder(tiny_backbone)


def test_neither_an_evaluation_nor_an_empty_folder_is_one_of_pictures(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    evaluated = shutil.copytree(folder, tmp_path / "evaluated")
    (evaluated / "figures.json").write_text("{}")
    assert not is_picture_folder(tmp_path / "empty") and not is_picture_folder(evaluated)


def test_what_cannot_be_measured_is_refused_in_one_line(
    tmp_path: Path, folder: Path, judge: Path, studio: Studio, tiny_backbone: Path
) -> None:
    (tmp_path / "empty").mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model_index.json").write_text("{}")
    broken = tmp_path / "broken.tgz"
    broken.write_bytes(b"no tarball")
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("mark\tok\nnothing here\n")
    small = {"pictures": COUNT, "judge": str(judge), "drawing": FAST, "panels": (UnsafePanel(),)}
    cases: list[tuple[SafetySuite, Path, str]] = [
        (SafetySuite(**small), tmp_path / "absent", "absent"),  # type: ignore[arg-type]
        (SafetySuite(**small), tmp_path / "empty", "holds no picture"),  # type: ignore[arg-type]
        (SafetySuite(**small), bare, "atelier.json"),  # type: ignore[arg-type]
        (SafetySuite(**small, marks=str(tmp_path / "no")), folder, "no marks at"),  # type: ignore[arg-type]
        (SafetySuite(**small, marks=str(broken)), folder, "is not an icon set"),  # type: ignore[arg-type]
        (SafetySuite(**small, probes=str(wrong)), tiny_backbone, "line 2"),  # type: ignore[arg-type]
        (SafetySuite(**small, probes="none.tsv"), tiny_backbone, "no probes at"),  # type: ignore[arg-type]
        (SafetySuite(pictures=20, judge=str(judge)), folder, "pass suite.pictures=16 or less"),
    ]
    for suite, reference, told in cases:
        with pytest.raises(AtelierError) as caught:
            suite.measure(str(reference), studio)
        assert told in str(caught.value) and "\n" not in str(caught.value), told


def test_too_small_a_control_and_one_that_was_learnt_are_refused(folder: Path, judge: Path, studio: Studio) -> None:
    with pytest.raises(TooFewPicturesError, match="colour drawings of heldout_pair for the control"):
        SafetySuite(pictures=COUNT, judge=str(judge), splits=("heldout_pair",)).measure(str(folder), studio)
    learnt = "assets/sample/openmoji-learn"
    suite = SafetySuite(pictures=COUNT, judge=learnt, learn=learnt, panels=(COPYING,))
    with pytest.raises(EvaluationError, match="the control must be unseen"):
        suite.measure(str(folder), studio)


@pytest.mark.parametrize("field", ["threshold", "allowed"])
def test_settings_out_of_range_are_refused_by_name(field: str) -> None:
    with pytest.raises(EvaluationError, match=f"{field} 2 must lie in"):
        UnsafePanel(**{field: 2})
    with pytest.raises(EvaluationError, match="least_edges"):
        MarksPanel(least_edges=-1)


def test_reading_shows_how_many_pictures_were_read(tmp_path: Path) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    studio = Studio(EfficientNetLite0(), cache=tmp_path, console=screen)
    read = read_all(studio, Reader(), torch.full((3, 3, 64, 64), 255, dtype=torch.uint8), "The pictures")
    assert [reading.text for reading in read] == ["", "", ""]
    assert isinstance(screen.file, io.StringIO)
    told = screen.file.getvalue()
    assert "reading: the pictures" in told and "3/3" in told


def test_the_marks_of_a_dataset_are_counted(judge: Path) -> None:
    counts: list[int] = []
    marks = load_marks(judge, 16, counts.append)
    assert sum(counts) == len(marks.names) == len(marks.pictures)
