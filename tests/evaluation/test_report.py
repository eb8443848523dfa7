"""The report is one file that fetches nothing, fits a telephone and a desk, and says what the intervals carry."""

from __future__ import annotations

import errno
import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.intervals import Interval
from evaluation.measurement import (
    Chart,
    Column,
    Curve,
    Finding,
    Grid,
    Histogram,
    Line,
    Measurement,
    Row,
    Section,
    Source,
    Table,
    Tile,
    Verdict,
)
from evaluation.report.page import TEMPLATES, render_report, write_report
from evaluation.selection import best_spread, farthest_pairs
from evaluation.suites.verdicts import brand_verdict

CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
COUNT = 30
FILES = ["figures.json", "grid.png", "pictures.parquet", "report.html"]
PROBE = """<script>addEventListener("load", () => parent.document.body.dataset.probe = JSON.stringify({
  inner: innerWidth, scroll: document.documentElement.scrollWidth,
  images: document.images.length, broken: [...document.images].filter(i => !i.naturalWidth).length,
  fetched: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
  heading: document.querySelector("h2").textContent}))</script>"""


def _figures(
    brand: float = 90, unadapted: float = 130, excess: tuple[float, float, float] = (0, -0.01, 0.02)
) -> dict[str, Figure]:
    def figure(name: str, value: float, reach: float) -> Figure:
        interval = Interval(value, value - reach, value + reach)
        return Figure.of(name, interval, count=COUNT, identity="frechet/x@1/N=30", better="lower")

    floor = 40.0
    found = [
        figure("frechet_distance_brand", brand, 5),
        figure("frechet_distance_unadapted", unadapted, 5),
        figure("frechet_distance_floor", floor, 5),
        figure("gap_closed", (unadapted - brand) / (unadapted - floor), 0.06),
        Figure.of("memorisation_excess", Interval(*excess), count=COUNT, identity="m/N=30", better="lower"),
    ]
    return {each.name: each for each in found}


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    generator = torch.Generator().manual_seed(0)

    def column(title: str) -> Column:
        pictures = torch.randint(0, 256, (COUNT, 3, 64, 64), generator=generator, dtype=torch.uint8)
        return Column(title=title, short=title, pictures=pictures, features=torch.rand(COUNT, 8, generator=generator))

    figures = _figures()
    learnt = column("learnt").pictures
    grid = Grid(
        title="Most like what was learnt",
        note="",
        rows=tuple(
            Row(tiles=(Tile(label="learnt: a <b>bold</b> caption", picture=learnt[row]),), remark="0.9")
            for row in range(3)
        ),
    )
    versions = Line(label="with the adapter", points=((1, 90.0), (2, 80.0)), bounds=((85.0, 95.0), (75.0, 85.0)))
    steps = Line(label="every step", points=tuple((float(x), 0.5 + x / 90) for x in range(40)))
    sections = (
        Section(
            name="distribution",
            title="Distance",
            note="How far apart.",
            figures=tuple(figures.values()),
            charts=(Chart(title="Fréchet distance", note="", bars=tuple((f.name, f) for f in figures.values())),),
            curves=(
                Curve(title="Over versions", note="", x_label="version", y_label="distance", lines=(versions,)),
                Curve(
                    title="Steps", note="", x_label="step", y_label="", lines=(steps, versions), marks=((20.0, "now"),)
                ),
            ),
        ),
        Section(
            name="memorisation",
            title="Copying",
            note="How alike.",
            findings=(Finding(tone="unsure", sentence="Perhaps."),),
            histograms=(
                Histogram(
                    title="Likeness",
                    note="",
                    x_label="cosine",
                    values=tuple(
                        (label, torch.rand(COUNT, generator=generator)) for label in ("made", "real", "third")
                    ),
                    marks=((0.9, "1 %"),),
                ),
            ),
            tables=(Table(title="Palette", note="", headings=("colour", "share"), rows=(("#1e50a0 <b>", "12 %"),)),),
            grids=(grid,),
        ),
        Section(name="style", title="Style", note="A style.", missing="no descriptor: pass suite.style=FILE"),
    )
    return Measurement(
        suite="brand",
        seed=0,
        reference="models:/brand-x@challenger",
        digest="ab" * 32,
        title="x & y",
        sections=sections,
        verdict=brand_verdict("x", figures),
        captions=tuple(f"caption {number} with a long-ish-unbreakable-word" for number in range(COUNT)),
        columns=(column("real"), column("adapter"), column("without")),
        sources=(Source(role="judged by", name="judge", version="0" * 64, pictures=60, licences={"MIT": 60}),),
        settings={"num_inference_steps": 2},
        extractor="x@1/none",
        cards=({"kind": "backbone", "name": "b", "licence": "Apache-2.0", "obligations": ["Name the creators."]},),
        notes=("A note.",),
    )


def test_the_page_refers_to_nothing_outside_itself(measurement: Measurement) -> None:
    page = render_report(measurement)
    sources = re.findall(r"""(?:src|href|url|data|srcset)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    inside = {source for source in sources if source.startswith("#")}
    assert all(f'id="{source[1:]}"' in page for source in inside)
    sources = [source for source in sources if source not in inside]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "@import" not in page
    assert "<script" not in page
    assert not re.search(r"https?://", re.sub(r"data:[^\"]+", "", page))


def test_the_page_says_what_was_measured(measurement: Measurement) -> None:
    page = render_report(measurement)
    for told in ("ab" * 32, "0" * 64, "seed 0", "x@1/none", "frechet/x@1/N=30", "MIT (60)", "Name the creators."):
        assert told in page
    assert "Not measured: no descriptor: pass suite.style=FILE" in page
    assert '<i style="background:#1e50a0"></i><code>#1e50a0</code></span> &lt;b&gt;' in page
    assert "a &lt;b&gt;bold&lt;/b&gt; caption" in page
    assert "x &amp; y" in page


def test_all_files_are_written_whole(measurement: Measurement, tmp_path: Path) -> None:
    report = write_report(measurement, tmp_path / "new" / "folder")
    assert sorted(file.name for file in report.parent.iterdir()) == FILES
    figures = json.loads((report.parent / "figures.json").read_text())
    assert figures["model"] == {"reference": "models:/brand-x@challenger", "digest": "ab" * 32}
    assert [f["name"] for f in figures["figures"]] == [f.name for f in measurement.figures]


def test_a_report_that_fails_leaves_no_figures(measurement: Measurement, tmp_path: Path) -> None:
    broken = replace(measurement, settings={"value": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(broken, tmp_path)
    assert not (tmp_path / "figures.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_the_report_that_was_there(
    measurement: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(measurement, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    whole = Path.write_bytes

    def full(file: Path, content: bytes) -> int:
        if "report.html" in file.name:
            whole(file, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return whole(file, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EvaluationError, match=r"could not be written into .*: No space left on device; pass out=DIR"):
        write_report(replace(measurement, title="another"), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_have_the_contrast_that_wcag_asks(theme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(), re.DOTALL)[theme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))

    def contrast(one: str, other: str) -> float:
        light, dark = sorted((_luminance(colours[one]), _luminance(colours[other])), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for ground in ("ground", "card"):
        assert contrast("ink", ground) > 7
        assert contrast("muted", ground) > 4.5
        for line in ("one", "two", "three", "four", "five", "six"):
            assert contrast(line, ground) > 3, line
    for tone in ("good", "unsure", "bad"):
        assert contrast(tone, f"{tone}-ground") > 4.5, tone
        assert contrast("ink", f"{tone}-ground") > 4.5, tone


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the page is not rendered")
@pytest.mark.parametrize("width_px", [1280, 400])
def test_the_page_renders_in_a_browser(measurement: Measurement, tmp_path: Path, width_px: int) -> None:
    # A window has a least width, a frame has none.
    inside = html.escape(render_report(measurement) + PROBE)
    page = tmp_path / "page.html"
    page.write_text(f'<body><iframe width="{width_px}" height="900" style="border:0" srcdoc="{inside}"></iframe>')
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [str(CHROMIUM), *flags, "--window-size=1400,1000", "--dump-dom", page.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<body data-probe="([^"]+)"', dumped)
    assert found
    probe = json.loads(html.unescape(found[1]))
    assert probe["inner"] == width_px
    assert probe["scroll"] <= width_px
    assert probe["images"] > 3 * 24
    assert probe["broken"] == probe["fetched"] == 0
    assert probe["heading"] == "The adapter clearly brings the pictures closer to x."


@pytest.mark.parametrize(
    ("figures", "tone", "headline"),
    [
        (_figures(brand=90), "good", "clearly brings the pictures closer"),
        (_figures(brand=122), "unsure", "a little closer"),
        (_figures(brand=129), "unsure", "No proof"),
        (_figures(brand=150), "bad", "further away"),
    ],
)
def test_the_verdict_claims_what_the_intervals_carry(figures: dict[str, Figure], tone: str, headline: str) -> None:
    verdict = brand_verdict("x", figures)
    assert isinstance(verdict, Verdict)
    assert verdict.tone == tone
    assert headline in verdict.headline


def test_examples_are_spread_and_the_worst_found() -> None:
    features = torch.tensor([[0.0, 0.1], [0.1, 0.0], [9.0, 0.0], [0.0, 9.0], [0.05, 0.05]])
    assert set(best_spread(features, 3)) >= {2, 3}
    assert len(set(best_spread(features, 99))) == 5
    rows, distance = farthest_pairs(torch.eye(3), torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]]), 1)
    assert rows == [1]
    assert distance.tolist() == pytest.approx([0, 1, 0])
