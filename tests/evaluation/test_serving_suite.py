"""The suite ``serving`` on the shipped drawings: quiet on the golden look, loud once another set is served."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from torch.nn import functional

import atelier
from atelier import CONF_FOLDER, PROJECT_ROOT
from data.dataset import open_dataset
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evaluate import evaluate
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.studio import Studio
from evaluation.style.serving import ServingWatch
from evaluation.suites.served import watched
from evaluation.suites.serving import ServingSuite

SAMPLE = PROJECT_ROOT / "assets/sample"
QUIET, OTHER = 40, 40


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(EfficientNetLite0(), cache=tmp_path_factory.mktemp("cache"), console=Console(quiet=True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``golden``, and ``served``: some of the brand's drawings, then some of noto's."""
    root = tmp_path_factory.mktemp("pictures")
    brand, base = open_dataset(SAMPLE / "openmoji-judge"), open_dataset(SAMPLE / "base")
    noto = [row for row, record in enumerate(base.records) if record.collection == "noto"]
    golden = [brand.picture(row) for row in range(128)]
    quiet = [brand.picture(row) for row in range(128, 128 + QUIET)]
    served = [*quiet, *(base.picture(row) for row in noto[:OTHER])]
    for name, pictures in (("golden", golden), ("served", served), ("quiet", quiet)):
        (root / name).mkdir()
        for number, picture in enumerate(pictures):
            picture.save(root / name / f"{number:04}.png")
    return root


def suite_of(folders: Path, **settings: object) -> ServingSuite:
    given = {
        "golden": str(folders / "golden"),
        "window_pictures": 24,
        "descriptor": str(PROJECT_ROOT / "assets/descriptor"),
    }
    return ServingSuite(**(given | settings))  # type: ignore[arg-type]


def test_another_set_rings_and_the_report_says_since_when(folders: Path, studio: Studio, tmp_path: Path) -> None:
    measurement = evaluate(str(folders / "served"), suite_of(folders), studio, folder=tmp_path / "out")
    assert measurement.verdict.tone == "bad"
    assert measurement.verdict.headline == "Alarm: served pictures look stranger than the golden run."
    drift = measurement.figure("serving_drift")
    assert 0 < drift.low < drift.value < drift.high and drift.count == 24
    (section,) = measurement.sections
    (alarm, _), *_ = section.curves[0].marks
    assert QUIET < alarm <= QUIET + 30
    assert f"rang at picture {alarm:.0f} of {QUIET + OTHER}" in measurement.verdict.sentences[0]
    assert {tuple(tile.label for tile in row.tiles) for row in section.grids[0].rows} == {("served", "golden")}
    shown = [int(row.caption.split(":")[0]) for row in section.grids[0].rows]
    assert sum(number > QUIET for number in shown) >= 10
    assert "Serving drift of the style" in (tmp_path / "out" / "report.html").read_text()


def test_the_golden_look_is_quiet_and_its_evaluation_serves_as_golden(
    folders: Path, studio: Studio, tmp_path: Path
) -> None:
    quiet = suite_of(folders).measure(str(folders / "quiet"), studio)
    assert quiet.verdict.tone == "good" and quiet.figure("serving_drift").low < 0
    assert quiet.verdict.headline == f"No alarm in {QUIET} served pictures."
    few = suite_of(folders, window_pictures=64).measure(str(folders / "quiet"), studio)
    assert few.verdict.tone == "unsure"
    # A golden run may be the made pictures of an evaluation: here that of the golden folder against itself.
    evaluate(str(folders / "golden"), suite_of(folders), studio, folder=tmp_path / "approved")
    again = suite_of(folders, golden=str(tmp_path / "approved")).measure(str(folders / "quiet"), studio)
    assert again.figure("serving_drift").value == pytest.approx(quiet.figure("serving_drift").value, abs=1e-9)
    with pytest.raises(EvaluationError, match=r"drew at 64 px: pass suite\.side_px=64$"):
        suite_of(folders, golden=str(tmp_path / "approved"), side_px=32).measure(str(folders / "quiet"), studio)


def test_the_order_served_may_be_that_of_the_files_times(folders: Path, studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    for number, file in enumerate(sorted((folders / "quiet").iterdir())[:16]):
        copy = tmp_path / "served" / f"{(number * 7) % 16:02}.png"
        copy.write_bytes(file.read_bytes())
        os.utime(copy, (1_000_000 + number, 1_000_000 + number))
    measurement = suite_of(folders, order="time", window_pictures=16).measure(str(tmp_path / "served"), studio)
    assert list(measurement.captions) == [f"{(number * 7) % 16:02}" for number in range(16)]


def test_the_drift_of_the_window_is_that_of_the_course_and_its_jackknife_is_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    looks = functional.normalize(1 + torch.randn(168, 8, generator=generator).double(), dim=1)
    watch = ServingWatch(looks[:128], window_pictures=24, quiet_pictures=100)
    found = watched(watch, looks[128:])
    drift = watch.drift()
    assert drift.value == pytest.approx(found.seen[-1].drift, abs=1e-12)
    window = looks[-24:]
    kernels = [watch._kernel(*pair) for pair in ((window, window), (looks[:128], window))]
    kept = [row for row in range(24) if row != 5]
    within, across = kernels[0][kept][:, kept], kernels[1][:, kept]
    golden = watch._kernel(looks[:128], looks[:128])
    expected = (within.sum() - 23) / (23 * 22) + (golden.sum() - 128) / (128 * 127) - 2 * across.mean()
    assert float(drift.left_out["served"][5]) == pytest.approx(float(expected), abs=1e-12)
    kept = [row for row in range(128) if row % 64 != 5]
    within, across = golden[kept][:, kept], kernels[1][kept]
    expected = (within.sum() - 126) / (126 * 125) + (kernels[0].sum() - 24) / (24 * 23) - 2 * across.mean()
    assert float(drift.left_out["golden"][5]) == pytest.approx(float(expected), abs=1e-12)


def test_evidence_begins_where_the_sum_last_was_nought() -> None:
    generator = torch.Generator().manual_seed(1)
    usual = functional.normalize(1 + torch.randn(160, 8, generator=generator).double(), dim=1)
    strange = functional.normalize(-1 + torch.randn(30, 8, generator=generator).double(), dim=1)
    watch = ServingWatch(usual[:128], window_pictures=16, quiet_pictures=100)
    found = watched(watch, torch.cat([usual[128:], strange]))
    assert found.alarm is not None and found.began is not None
    assert 32 <= found.alarm < 50 and found.began <= 32
    assert found.began == 0 or found.seen[found.began - 1].upper == 0
    assert all(each.upper > 0 for each in found.seen[found.began : found.alarm + 1])


def test_a_mistake_gets_one_line(folders: Path, tmp_path: Path, studio: Studio) -> None:
    (tmp_path / "few").mkdir()
    for settings, line in (
        ({"golden": None}, r"suite\.golden is missing: pass suite\.golden=DIR"),
        ({"order": "size"}, r"suite\.order is 'size': it must be name or time"),
        ({"false_alarms": 0.9}, r"^suite\.false_alarms 0\.9 must lie in 0\.001 to 0\.5$"),
        ({"window_pictures": "many"}, r"^suite\.window_pictures many must be a whole number, 16 to 100000$"),
        ({"window_pictures": 16.5}, r"^suite\.window_pictures 16\.5 must be a whole number"),
        ({"quiet_pictures": 500.5}, r"^suite\.quiet_pictures 500\.5 must be a whole number"),
        ({"side_px": 64.5}, r"^suite\.side_px 64\.5 must be a whole number"),
        ({"seed": "abc"}, r"^suite\.seed abc must be a whole number, 0 to"),
    ):
        with pytest.raises(EvaluationError, match=line):
            suite_of(folders, **settings)
    with pytest.raises(EvaluationError, match="no folder of golden pictures at nowhere"):
        suite_of(folders, golden="nowhere").measure(str(folders / "quiet"), studio)
    with pytest.raises(TooFewPicturesError, match="few holds 0 served pictures: 16 or more are needed"):
        suite_of(folders).measure(str(tmp_path / "few"), studio)
    with pytest.raises(TooFewPicturesError, match="quiet holds 40 golden pictures: 128 or more"):
        suite_of(folders, golden=str(folders / "quiet")).measure(str(folders / "quiet"), studio)
    for number, file in enumerate(sorted((folders / "quiet").iterdir())[:16]):
        (tmp_path / "few" / f"{number}.png").write_bytes(b"no picture" if number == 7 else file.read_bytes())
    with pytest.raises(EvaluationError, match=r"few/7\.png is not a picture that opens"):
        suite_of(folders).measure(str(tmp_path / "few"), studio)


def test_more_pictures_than_are_watched_are_refused_before_one_is_opened(
    folders: Path, tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.suites.serving.MOST_SERVED", 20)
    for number in range(21):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match=r"21 served pictures, at most 20 are watched: begin a new folder$"):
        suite_of(folders).measure(str(tmp_path), studio)


def test_what_rang_rings_again_however_many_pictures_follow(folders: Path, tmp_path: Path, studio: Studio) -> None:
    """A folder that outgrows ``quiet_pictures`` keeps its threshold: the sums begin anew, and the place stands."""
    quiet, served = (sorted((folders / name).iterdir()) for name in ("quiet", "served"))
    for number, file in enumerate((*served, *quiet)):
        (tmp_path / f"{number:04}.png").write_bytes(file.read_bytes())
    suite = suite_of(folders, quiet_pictures=100)
    short, long = (suite.measure(str(folder), studio) for folder in (folders / "served", tmp_path))
    assert long.verdict.tone == short.verdict.tone == "bad"
    rang, promise = long.verdict.sentences
    assert rang == short.verdict.sentences[0].replace("of 80", "of 120")
    assert promise.endswith("within 100 pictures with probability 0.05; after every so many the sums begin anew.")
    sums = [dict(line.points) for line in long.sections[0].curves[0].lines]
    assert sums[0][100] > sums[2][1] > sums[0][101]


def test_the_golden_run_is_known_by_its_pictures_alone(folders: Path, tmp_path: Path, studio: Studio) -> None:
    golden = tmp_path / "golden"
    shutil.copytree(folders / "golden", golden)
    (golden / "report.html").write_text("made at 12:01")
    quiet = str(folders / "quiet")
    one, other = (suite_of(folders, golden=str(each)).measure(quiet, studio) for each in (folders / "golden", golden))
    assert one.figure("serving_drift") == other.figure("serving_drift")
    assert one.sources[0].version == other.sources[0].version
    (golden / "0000.png").write_bytes((folders / "quiet" / "0000.png").read_bytes())
    changed = suite_of(folders, golden=str(golden)).measure(quiet, studio)
    assert changed.figure("serving_drift").identity != one.figure("serving_drift").identity


def test_the_verb_tells_a_missing_golden_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["atelier"])
    with pytest.raises(SystemExit) as stop:
        atelier.main(["evaluate", "model=x", "suite=serving"])
    assert stop.value.code == atelier.EXIT_MISTAKE
    assert capsys.readouterr().err.startswith("atelier: suite.golden is missing: pass suite.golden=DIR")


def test_the_shipped_settings_build_the_suite() -> None:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        config = compose("evaluate", ["suite=serving", "model=x", "suite.golden=some where"])
    assert instantiate(config.suite, _convert_="all") == ServingSuite(golden="some where")
