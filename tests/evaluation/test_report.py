"""The report is one file that fetches nothing, fits a telephone and a desk, and says what the intervals carry."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluation.figures import Figure
from evaluation.intervals import Interval
from evaluation.measurement import Chart, Column, Likeness, Measurement, Source, Verdict
from evaluation.report import render_report, write_report
from evaluation.selection import best_spread, farthest_pairs
from evaluation.verdicts import brand_verdict

CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
COUNT = 30
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
    likeness = Likeness(
        made=torch.rand(COUNT, generator=generator),
        control=torch.rand(2 * COUNT, generator=generator),
        nearest=torch.zeros(COUNT, dtype=torch.int64),
        learning=column("learnt").pictures,
        learning_captions=("a <b>bold</b> caption",) * COUNT,
    )
    return Measurement(
        suite="brand",
        seed=0,
        reference="models:/brand-x@challenger",
        digest="ab" * 32,
        title="x & y",
        figures=tuple(figures.values()),
        charts=(Chart(title="Fréchet distance", note="", bars=tuple((f.name, f) for f in figures.values())),),
        verdict=brand_verdict("x", figures),
        captions=tuple(f"caption {number} with a long-ish-unbreakable-word" for number in range(COUNT)),
        columns=(column("real"), column("adapter"), column("without")),
        sources=(Source(role="judged by", name="judge", version="0" * 64, pictures=60, licences={"MIT": 60}),),
        settings={"num_inference_steps": 2},
        extractor="x@1/none",
        likeness=likeness,
        cards=({"kind": "backbone", "name": "b", "licence": "Apache-2.0", "obligations": ["Name the creators."]},),
        notes=("A note.",),
    )


def test_the_page_refers_to_nothing_outside_itself(measurement: Measurement) -> None:
    page = render_report(measurement)
    sources = re.findall(r"""(?:src|href|url|data|srcset)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "@import" not in page
    assert "<script" not in page
    assert not re.search(r"https?://", re.sub(r"data:[^\"]+", "", page))


def test_the_page_says_what_was_measured(measurement: Measurement) -> None:
    page = render_report(measurement)
    for told in ("ab" * 32, "0" * 64, "seed 0", "x@1/none", "frechet/x@1/N=30", "MIT (60)", "Name the creators."):
        assert told in page
    assert "a &lt;b&gt;bold&lt;/b&gt; caption" in page
    assert "x &amp; y" in page


def test_all_three_files_are_written_whole(measurement: Measurement, tmp_path: Path) -> None:
    report = write_report(measurement, tmp_path / "new" / "folder")
    assert sorted(file.name for file in report.parent.iterdir()) == ["figures.json", "grid.png", "report.html"]
    figures = json.loads((report.parent / "figures.json").read_text())
    assert figures["model"] == {"reference": "models:/brand-x@challenger", "digest": "ab" * 32}
    assert [f["name"] for f in figures["figures"]] == [f.name for f in measurement.figures]


def test_a_report_that_fails_leaves_no_figures(measurement: Measurement, tmp_path: Path) -> None:
    broken = replace(measurement, settings={"value": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(broken, tmp_path)
    assert not (tmp_path / "figures.json").exists()
    assert not list(tmp_path.glob(".*"))


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
        (_figures(excess=(0.2, 0.1, 0.3)), "bad", "copies drawings"),
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
