"""What changed between two evaluations: paired tests that keep their level, evidence that survives, clear refusals."""

from __future__ import annotations

import functools
import io
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from scipy import stats

import atelier
from evaluation.changes import by_intervals, holm, paired_by_jackknife, paired_by_signs
from evaluation.compare import tell
from evaluation.comparison import Comparison, compare, difference_of, most_moved
from evaluation.drawing import to_tensor
from evaluation.drift import StyleDrift
from evaluation.errors import EvaluationError, NotComparableError
from evaluation.evidence import FIGURES_FILE, PICTURES_FILE, Evidence, read_evidence
from evaluation.figures import Figure
from evaluation.intervals import Estimate, Interval, share_interval
from evaluation.measurement import Column, Measurement, PerPicture, Section, Source, Verdict
from evaluation.metrics.kernel import kernel_distance
from evaluation.panels.distribution import DistributionPanel
from evaluation.report.compared import render_comparison, write_comparison
from evaluation.report.page import write_report
from evaluation.sides import _suite_of_both, find_sides
from evaluation.studio import Studio
from evaluation.suites.pictures import PicturesSuite
from evaluation.wording import number_text
from registry.artifacts import digest_folder
from registry.mlflow import ModelStore
from registry.register import record_evaluation, register_model

COUNT = 32
JUDGE = f"x@0123456789ab/none/16px/judge@0123456789ab:seed0/N={COUNT}"
Measure = Callable[..., Measurement]


def measured(shift: float = 0.0, *, noise: int = 1, title: str = "one", digest: str = "ab" * 32) -> Measurement:
    """Return a measurement whose features lie ``shift`` from the real ones; ``noise`` seeds the model's own part."""
    shared, own = torch.Generator().manual_seed(0), torch.Generator().manual_seed(noise)
    real, prompts = torch.randn(COUNT, 6, generator=shared), torch.randn(COUNT, 6, generator=shared)
    made = prompts + 0.1 * torch.randn(COUNT, 6, generator=own) + shift
    pictures = (made[:, :3, None, None].expand(-1, -1, 16, 16) * 30 + 128).clamp(0, 255).to(torch.uint8)
    estimate = kernel_distance(real, made, ("judge", "brand"))
    identity = f"kernel/{JUDGE}"
    figure = Figure.of("kernel_distance_brand", estimate.interval(), count=COUNT, identity=identity, better="lower")
    floor = replace(figure, name="kernel_distance_floor", value=0.5, low=0.4, high=0.6)
    nearness = -(made - prompts).square().sum(dim=1)
    values = PerPicture(name="nearness", title="Nearness", values=nearness, identity=f"near/{JUDGE}", better="higher")
    section = Section(
        name="distribution",
        title="Distance",
        note="",
        figures=(figure, floor),
        estimates={"kernel_distance_brand": estimate},
        per_picture=(values,),
    )
    return Measurement(
        suite="brand",
        seed=0,
        reference=title,
        digest=digest,
        title=title,
        sections=(section,),
        verdict=Verdict(tone="good", headline="Good.", sentences=()),
        captions=tuple(f"caption {row}" for row in range(COUNT)),
        columns=(
            Column(title="Real", short="real", pictures=torch.full_like(pictures, 9), features=real),
            Column(title="Made", short="made", pictures=pictures, features=made),
        ),
        sources=(Source(role="judged by", name="judge", version="0" * 64, pictures=60, licences={"MIT": 60}),),
        settings={"num_inference_steps": 2},
        extractor="x@0123456789ab/none",
        asked=tuple(json.dumps(["text_to_image", f"caption {row}", row, None]) for row in range(COUNT)),
    )


@given(ps=st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_only_raises_and_keeps_the_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= corrected <= 1 for p, corrected in zip(ps, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1, len(ps) * min(ps)))
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    assert [adjusted[place] for place in order] == sorted(adjusted)


def test_holm_as_it_was_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_flipping_signs_agrees_with_scipy() -> None:
    generator = torch.Generator().manual_seed(3)
    before = torch.randn(40, generator=generator, dtype=torch.float64)
    after = before + 0.1 + 0.4 * torch.randn(40, generator=generator, dtype=torch.float64)
    found = paired_by_signs(before, after)
    difference = (after - before).numpy()
    theirs = stats.permutation_test((difference,), lambda d, axis: d.mean(axis=axis), permutation_type="samples")
    assert found.p == pytest.approx(theirs.pvalue, abs=0.012)
    interval = stats.ttest_1samp(difference, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx(difference.mean() / difference.std(ddof=1))


@given(seed=st.integers(0, 1000), count=st.integers(2, 30))
@settings(max_examples=15, deadline=None)
def test_exchanging_the_sides_turns_the_sign(seed: int, count: int) -> None:
    one, other = torch.randn(2, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    there, back = paired_by_signs(one, other), paired_by_signs(other, one)
    assert (there.value, there.low, there.p) == pytest.approx((-back.value, -back.high, back.p))
    assert 0 < there.p <= 1


def test_without_a_change_both_tests_keep_their_level() -> None:
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list[float]] = {"signs": [], "jackknife": []}
    for _ in range(150):
        judge, prompts = torch.randn(2, 32, 4, generator=generator)
        one, other = prompts + 0.5 * torch.randn(2, 32, 4, generator=generator)
        estimates = [kernel_distance(judge, made, ("judge", "made")) for made in (one, other)]
        difference = paired_by_jackknife(*estimates)
        assert difference is not None
        found["jackknife"].append(difference.p)
        found["signs"].append(paired_by_signs(one[:, 0], other[:, 0]).p)
    for test, ps in found.items():
        assert sum(p < 0.05 for p in ps) / len(ps) < 0.09, test
    # The jackknife of a distance leans to the wide side; the signs are exact.
    assert sum(p < 0.5 for p in found["signs"]) / 150 == pytest.approx(0.5, abs=0.13)


def test_what_both_sides_share_makes_the_test_sharper() -> None:
    one, other = Evidence.of(measured(0.0)), Evidence.of(measured(0.15, noise=2))
    paired = paired_by_jackknife(*(side.estimates["kernel_distance_brand"] for side in (one, other)))
    alone = by_intervals(*(side.figures[0] for side in (one, other)))
    assert paired is not None
    assert paired.value == pytest.approx(alone.value)
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)
    assert paired.p < alone.p
    other_groups = kernel_distance(torch.randn(20, 4), torch.randn(20, 4), ("judge", "brand"))
    assert paired_by_jackknife(one.estimates["kernel_distance_brand"], other_groups) is None


def test_a_side_that_rests_on_its_bound_is_left_to_its_interval() -> None:
    """None of 24 pictures against one of 24: no picture left out moves the none, but Wilson's interval is wide."""
    none, one = share_interval(0, 24), share_interval(1, 24)
    left_out = torch.full((24,), 1 / 23, dtype=torch.float64)
    left_out[0] = 0
    before = Estimate(0.0, {"made": torch.zeros(24, dtype=torch.float64)}, {"made": none}, (0.0, 1.0))
    full = Estimate(1.0, {"made": torch.ones(24, dtype=torch.float64)}, {"made": share_interval(24, 24)}, (0.0, 1.0))
    after = Estimate(1 / 24, {"made": left_out}, {"made": one}, (0.0, 1.0))
    assert paired_by_jackknife(before, after) is None and paired_by_jackknife(after, before) is None
    assert paired_by_jackknife(before, full) is None
    shares = [
        Figure.of("coverage", each, count=24, identity="coverage", better="higher", unit="share")
        for each in (none, one, share_interval(24, 24))
    ]
    assert by_intervals(shares[0], shares[1]).p > 0.3
    assert by_intervals(shares[0], shares[2]).p < 0.001


def test_without_a_known_spread_nothing_is_proven() -> None:
    one, other = (
        Figure.of("given", Interval(v, v, v), count=24, identity="given", better="higher") for v in (0.2, 0.3)
    )
    assert by_intervals(one, other).p == 1


def test_values_that_are_no_numbers_leave_with_their_pair() -> None:
    before, after = torch.zeros(20), torch.ones(20)
    before[3], after[7] = math.nan, math.inf
    found = paired_by_signs(before, after)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert found.p < 0.001
    nothing = paired_by_signs(torch.full((4,), math.nan), torch.zeros(4))
    assert (nothing.value, nothing.p) == (0, 1)


def test_what_was_kept_is_what_was_measured(tmp_path: Path) -> None:
    measurement = measured(0.3)
    write_report(measurement, tmp_path)
    kept, fresh = read_evidence(tmp_path, "one"), Evidence.of(measurement)
    assert (kept.figures, kept.asked, kept.captions) == (fresh.figures, fresh.asked, fresh.captions)
    assert torch.equal(kept.made, fresh.made)
    assert torch.equal(kept.real, fresh.real)
    assert torch.allclose(kept.features, fresh.features, atol=1e-3)
    assert [(v.name, v.identity, v.better) for v in kept.values] == [("nearness", f"near/{JUDGE}", "higher")]
    assert torch.equal(kept.values[0].values, fresh.values[0].values.double())
    for name, left_out in fresh.estimates["kernel_distance_brand"].left_out.items():
        assert torch.equal(kept.estimates["kernel_distance_brand"].left_out[name], left_out)
    comparison = compare(kept, fresh)
    assert {change.outcome for change in comparison.changes} == {"equal"}
    assert comparison.verdict.headline == "Nothing changed."
    assert most_moved(comparison.moved, 9) == []


def test_a_change_is_told_with_its_direction() -> None:
    comparison = compare(Evidence.of(measured(0.0)), Evidence.of(measured(0.8, noise=2)))
    found = {change.name: change for change in comparison.changes}
    assert {name: change.outcome for name, change in found.items()} == {
        "kernel_distance_brand": "worse",
        "kernel_distance_floor": "equal",
        "nearness": "worse",
    }
    assert found["kernel_distance_brand"].difference.test == "paired jackknife"
    assert found["nearness"].difference.test == "paired signs"
    assert found["nearness"].p == pytest.approx(min(1, 2 * found["nearness"].difference.p), abs=1e-3)
    assert comparison.verdict.tone == "bad"
    back = compare(comparison.after, comparison.before)
    assert back.verdict.headline == "2 figures became better, none worse."
    moved = [float(comparison.moved[row]) for row in most_moved(comparison.moved, 8)]
    assert moved == sorted(moved, reverse=True)


def test_the_headline_speaks_of_the_model_alone() -> None:
    def renamed(side: Evidence) -> Evidence:
        figure = replace(side.figures[0], name="kernel_distance_unadapted")
        return replace(side, figures=(figure,), values=(), estimates={})

    comparison = compare(renamed(Evidence.of(measured(0.0))), renamed(Evidence.of(measured(2.0))))
    assert comparison.changes[0].outcome == "worse"
    assert comparison.verdict.headline == "No proof of a change in any figure of the model."
    assert comparison.verdict.sentences[-1].startswith("What the model is held against changed too: Kernel distance")


def test_a_moved_style_is_told_where_a_descriptor_is_given() -> None:
    one, other = Evidence.of(measured(0.0)), Evidence.of(measured(0.8, noise=2))
    drift = StyleDrift(descriptor=_Means())
    assert compare(one, one, drift).sections[0].findings[0].tone == "good"
    (section,) = compare(one, other, drift).sections
    assert section.findings[0].sentence.startswith("The look moved (p ")
    assert "Version drift of the style" in render_comparison(compare(one, other, drift))


def test_the_verb_tells_the_drift_by_the_shipped_descriptor_and_says_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(measured(), tmp_path / "one")
    write_report(measured(0.8, noise=2), tmp_path / "two")
    _compared(monkeypatch, "one", "two", "out=without")
    page, (section,) = _page_and_sections(tmp_path / "without")
    lacking = "no style descriptor at assets/descriptor: make one with atelier fit"
    assert lacking in page and str(section["missing"]).startswith(lacking)
    assert f"Version drift of the style: not measured: {lacking}" in capsys.readouterr().out
    fitted = tmp_path / "fits (new) [1]/d"
    shutil.copytree(atelier.PROJECT_ROOT / "assets/descriptor", fitted)
    _compared(monkeypatch, "one", "two", "out=with [red]", "drift.descriptor=fits (new) [1]/d")
    page, (section,) = _page_and_sections(tmp_path / "with [red]")
    assert "The look moved (p " in page and "version-drift[" in page and "Not measured" not in page
    (figure,), (finding,) = section["figures"], section["findings"]
    assert figure["name"] == "version_drift" and figure["low"] <= figure["value"] <= figure["high"]
    told = capsys.readouterr().out
    assert f"Version drift of the style: {finding['sentence']}\n" in told
    assert "page: with [red]/compare.html\n" in told


def _page_and_sections(folder: Path) -> tuple[str, Any]:
    return (folder / "compare.html").read_text(), json.loads((folder / "changes.json").read_text())["sections"]


def test_a_suite_without_a_file_is_chosen_by_its_name(tmp_path: Path) -> None:
    places: list[Mapping[str, Path]] = [{"mine": tmp_path, "brand": tmp_path}] * 2
    with pytest.raises(EvaluationError, match=r"by mine and brand: pass \+suite\.name=mine, for example$"):
        _suite_of_both("a", "b", places, None)
    with initialize_config_dir(str(atelier.CONF_FOLDER), version_base="1.3"):
        config = compose("compare", ["before=a", "after=b", "+suite.name=mine"])
    assert _suite_of_both("a", "b", places, config.suite.name) == "mine"


def test_other_noise_is_no_change() -> None:
    comparison = compare(Evidence.of(measured(noise=1)), Evidence.of(measured(noise=2)))
    assert comparison.verdict.headline == "No proof of a change in any figure of the model."


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("suite", "smoke", "suite brand against suite smoke"),
        ("asked", ("a",) * 20, "the number of pictures differs, N=32 against N=20"),
        ("asked", ("other",) * COUNT, r"32 of 32 pictures were asked for differently, first \[\"text_to_image\""),
        ("extractor", "y@1/none", "the network that looked at the pictures differs, x@0123456789ab/none against y@1"),
    ],
)
def test_unlike_evaluations_are_refused_with_what_differs(field: str, value: object, line: str) -> None:
    one = Evidence.of(measured())
    with pytest.raises(NotComparableError, match=line) as caught:
        compare(one, replace(one, title="two", **{field: value}))  # type: ignore[arg-type]
    assert "one and two must not be compared" in str(caught.value)


def test_figures_of_other_identity_are_left_out_or_refused() -> None:
    one = Evidence.of(measured())
    other = tuple(replace(figure, identity=figure.identity.replace("16px", "64px")) for figure in one.figures)
    comparison = compare(one, replace(one, figures=(other[0], *one.figures[1:]), values=()))
    assert comparison.left_out == (
        ("kernel_distance_brand", "the size of the pictures differs: 16px against 64px"),
        ("nearness", "only one has it"),
    )
    with pytest.raises(NotComparableError, match=r"measured in the same way; in kernel_.* 16px against 64px$"):
        compare(one, replace(one, figures=other, values=()))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (f"kernel/{JUDGE}".replace("N=32", "N=64"), "the number of pictures differs: N=32 against N=64"),
        (f"kernel/{JUDGE}".replace("seed0", "seed1"), "the judging drawings differs: judge@0123456789ab:seed0 against"),
        (f"kernel/{JUDGE}".replace("x@01", "x@02"), "the network, or a dataset differs: x@0123"),
        (f"kernel-3/{JUDGE}", "a setting differs: kernel against kernel-3"),
    ],
)
def test_the_part_that_differs_is_named(other: str, told: str) -> None:
    assert told in difference_of(f"kernel/{JUDGE}", other)


def test_a_spoilt_evaluation_is_told_in_one_line(tmp_path: Path) -> None:
    folder = write_report(measured(), tmp_path / "e").parent
    kept = (folder / PICTURES_FILE).read_bytes()
    for content, line in ((kept[:99], "cannot be read"), (b"", "cannot be read")):
        (folder / PICTURES_FILE).write_bytes(content)
        with pytest.raises(EvaluationError, match=line) as caught:
            read_evidence(folder, "e")
        assert "\n" not in str(caught.value)
    (folder / PICTURES_FILE).unlink()
    with pytest.raises(EvaluationError, match=r"keeps no pictures.*evaluate again, then compare"):
        read_evidence(folder, "e")
    (folder / PICTURES_FILE).write_bytes(kept)
    write_report(measured(0.5), tmp_path / "f")
    (folder / FIGURES_FILE).write_bytes((tmp_path / "f" / FIGURES_FILE).read_bytes())
    with pytest.raises(EvaluationError, match="are of two evaluations"):
        read_evidence(folder, "e")


def test_the_page_and_its_figures_are_whole(tmp_path: Path) -> None:
    comparison = compare(Evidence.of(measured()), Evidence.of(measured(0.8, title="a <b>")))
    page = write_comparison(comparison, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["changes.json", "compare.html"]
    told = json.loads((tmp_path / "changes.json").read_text())
    assert [change["outcome"] for change in told["changes"]] == ["worse", "equal", "worse"]
    text = page.read_text()
    assert "a &lt;b&gt;" in text and "32 pictures of equal prompts and seeds" in text
    assert not re.search(r"https?://|<script|@import", re.sub(r"data:[^\"]+", "", text))
    assert render_comparison(compare(comparison.before, comparison.before)).count("No picture changed.") == 1


def _compared(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["atelier"])
    atelier.main(["compare", *arguments])


def test_two_evaluations_are_compared_by_the_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(measured(), tmp_path / "one")
    write_report(measured(0.8, noise=2), tmp_path / "two = (2)")
    _compared(monkeypatch, "one", "before=one", "after=two = (2)", "out=here")
    told = capsys.readouterr().out
    assert "figures became worse" in told
    assert (tmp_path / "here/compare.html").is_file()


@pytest.mark.parametrize("width", [80, 120])
def test_no_label_is_folded_and_what_is_the_same_is_counted_once(width: int) -> None:
    comparison = compare(Evidence.of(measured()), Evidence.of(measured(0.8, noise=2)))
    lines = _told(comparison, width)
    (row,) = [number for number, line in enumerate(lines) if line.startswith("Kernel distance, with the adapter")]
    cells = [number_text(value, "number") for value in (comparison.changes[0].before, comparison.changes[0].after)]
    assert re.match(rf".*\s+{cells[0]}\s+{cells[1]}\s.*\sworse$", lines[row if width == 120 else row + 1])
    assert all(len(line) <= width for line in lines)
    assert "same on both sides: 1 figure" in lines
    assert not any("floor" in line for line in lines)


def test_of_two_equal_evaluations_only_the_number_of_figures_is_told() -> None:
    one = Evidence.of(measured())
    assert _told(compare(one, one), 80)[:2] == ["same on both sides: 3 figures", "Nothing changed."]


def _told(comparison: Comparison, width: int) -> list[str]:
    screen = Console(file=io.StringIO(), width=width)
    tell(comparison, Path("compare.html"), screen)
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["one"], "after is missing: write atelier compare BEFORE AFTER"),
        (["one", "nowhere"], "no folder at nowhere: pass a folder that atelier evaluate wrote"),
        (["one", "empty"], "neither an evaluation, nor a model, nor pictures at empty"),
        (["one", "made"], "made is a folder of pictures and one is not"),
        (["made", "nowhere"], "no folder at nowhere: pass a folder that atelier evaluate wrote"),
        (["nowhere", "made"], "no folder at nowhere: pass a folder that atelier evaluate wrote"),
        (["made", "made"], "hold 1 pictures of equal names, at least 16 are compared"),
        (["one", "models:/brand-x/1"], "no registered model 'brand-x'|brand-x has no version"),
        (["one", "one", "device=gpu"], "^atelier: device gpu: cpu or cuda$"),
        (["one", "one", "suite=nothing"], "backbone.*brand.*pictures.*smoke"),
        (["models:/none/1", "models:/none/2", "suite=brand"], "no registered model 'none'|none has no version"),
        (["one", "one", "suit=x"], "there is no setting 'suit'; did you mean 'suite'"),
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
    write_report(measured(), tmp_path / "one")
    (tmp_path / "empty").mkdir()
    (tmp_path / "made").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "made/a.png")
    with pytest.raises(SystemExit) as caught:
        _compared(monkeypatch, *arguments)
    told = capsys.readouterr().err
    assert caught.value.code == atelier.EXIT_MISTAKE
    assert re.search(line, told, flags=re.DOTALL), told
    assert "Traceback" not in told
    assert not (tmp_path / "var").exists()


def test_registered_models_are_compared_by_what_was_logged(
    tmp_path: Path, store: ModelStore, tiny_backbone: Path, tiny_brand: Path
) -> None:
    from synthesis.testing import make_tiny_brand

    second = make_tiny_brand(tmp_path / "o", tiny_backbone, "shapes", seed=5, base_digest=digest_folder(tiny_backbone))
    sides = functools.partial(find_sides, store=store, folders=PicturesSuite(), studio=_no_studio)
    for folder, shift in ((tiny_brand, 0.0), (second, 0.8)):
        register_model(folder, "brand-shapes", store=store)
        digest = digest_folder(folder)
        for suite in ("brand", "smoke"):
            measurement = replace(measured(shift, digest=digest), suite=suite)
            out = write_report(measurement, tmp_path / suite / digest[:6]).parent
            record_evaluation(folder, out, store=store)
    one, other = sides("models:/brand-shapes/1", "models:/brand-shapes/2", suite="brand")
    assert (one.title, other.digest) == ("models:/brand-shapes/1", digest_folder(second))
    assert compare(one, other).verdict.tone == "bad"
    assert sides(str(tiny_brand), "models:/brand-shapes/2", suite="smoke")[0].suite == "smoke"
    with pytest.raises(EvaluationError, match=r"evaluated by brand and smoke: pass suite=brand"):
        sides("models:/brand-shapes/1", "models:/brand-shapes/2", suite=None)
    with pytest.raises(EvaluationError, match=r"not both were evaluated by tasks: models:/brand-shapes/1 has brand, "):
        sides("models:/brand-shapes/1", "models:/brand-shapes/2", suite="tasks")
    with pytest.raises(EvaluationError, match="is not registered, so nothing is logged"):
        sides(str(tiny_backbone), "models:/brand-shapes/2", suite=None)
    run = store._client.get_run(store.version("brand-shapes", 1).run_id)
    names = {"brand/kernel_distance_brand", "brand/kernel_distance_brand.low", "smoke/kernel_distance_floor.high"}
    assert names <= set(run.data.metrics)
    (logged,) = [path for path in store._client.list_artifacts(run.info.run_id, "evaluation") if "/brand-" in path.path]
    files = {Path(file.path).name for file in store._client.list_artifacts(run.info.run_id, logged.path)}
    assert files == {"figures.json", "grid.png", "pictures.parquet", "report.html"}


def test_folders_of_pictures_of_equal_names_are_compared(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    judge = make_dataset(tmp_path / "judge", 40)
    for name, colour in (("one", 0), ("two", 40)):
        (tmp_path / name).mkdir()
        for number in range(18):
            Image.new("RGB", (32, 32), (14 * number, colour, 90)).save(tmp_path / name / f"{number:02}.png")
    (tmp_path / "two/00.png").unlink()
    suite = PicturesSuite(judge=str(judge), side_px=16, panels=(DistributionPanel(),))
    studio = Studio(_Means(), cache=tmp_path / "cache", console=Console(quiet=True))
    one, other = find_sides(
        str(tmp_path / "one"),
        str(tmp_path / "two"),
        store=ModelStore(f"sqlite:///{tmp_path}/none.db", tmp_path),
        suite=None,
        folders=suite,
        studio=lambda: studio,
    )
    assert one.asked == other.asked == tuple(f"{number:02}" for number in range(1, 18))
    comparison = compare(one, other)
    assert float(comparison.moved.max()) > 0
    page = render_comparison(comparison)
    assert "17 pictures of equal names" in page and "prompts and seeds" not in page and "same prompts" not in page


def _no_studio() -> Studio:
    raise AssertionError("nothing has to be looked at")


class _Means:
    """Takes the mean of each channel and corner: an extractor that costs nothing."""

    name, family, digest, dimensions, preprocessing = "means", "other", "0" * 64, 12, "none"
    device = torch.device("cpu")

    def __call__(self, pictures_B3HW: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pictures_B3HW.float(), 2).flatten(1)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(EvaluationError, match="one size"):
        to_tensor([Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))])
