"""What admission costs: pictures a second and core with every check, with none, and with each check alone or left out.

Each row's two figures are milliseconds a picture that the check adds to bare rendering, and that leaving it out of all
others saves (of all but open_nsfw, beside which nothing shows).
Bare rendering is resvg or Pillow, scaling to 128 px and lossless WebP, as any ingestion does it: the peer in the run.
Prints; asserts nothing about time.  Run with: make bench
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import pytest
from PIL import Image

import data.render
from data.checks import FileChecks
from data.credentials import Claims
from data.render import Rendered, render
from tests.data.makers import XMP, blobs, p3_profile, saved, svg
from tests.data.signing import signed

PICTURES, ROUNDS, PICTURE_PX = 6, 5, 128
RIGHTS = XMP.format("<dc:rights>(c) A. Drawer</dc:rights>").encode()


def _unsafe_svg(document: bytes) -> tuple[str, ElementTree.Element]:
    text = document.decode()
    return text, ElementTree.fromstring(text)


# A check: what stands for it, by name in data.render, where it is left out.
CHECKS: dict[str, dict[str, Callable[..., object]]] = {
    "whole, one format": {"misfit": lambda *_: None},
    "SVG dangers and weight": {"safe_svg": _unsafe_svg, "_embedded_claims": lambda *_: Claims()},
    "Content Credentials": {"credentials": lambda *_: Claims()},
    "XMP, EXIF, IPTC, texts": {"picture_claims": lambda *_: Claims(), "svg_claims": lambda *_: Claims()},
    "profile, 16 bits, turn": {"upright_srgb": lambda picture: picture.convert("RGBA")},
    "open_nsfw": {"_indecent": lambda *_: None},
}


def drawing(seed: int) -> bytes:
    """An icon of a dozen curves, a kilobyte, as in the sets."""
    rng = random.Random(seed)
    curves = []
    for _ in range(12):
        start, *curve = [f"{rng.uniform(0, 8):.3f} {rng.uniform(0, 8):.3f}" for _ in range(4)]
        curves.append(f'<path fill="#{rng.randrange(1 << 24):06x}" d="M{start}C{" ".join(curve)}z"/>')
    return svg("".join(curves))


def photo(seed: int) -> Image.Image:
    """A picture of 1024 by 768 px with the grain of a photo."""
    return Image.blend(blobs(seed, 1024, 768), Image.effect_noise((1024, 768), 60).convert("RGB"), 0.2)


CORPORA: dict[str, Callable[[int], bytes]] = {
    "SVG drawings": drawing,
    "PNG, 128 px": lambda seed: saved(blobs(seed, 128, 128)),
    "JPEG, 1024 px": lambda seed: saved(photo(seed), "JPEG", quality=90),
    "JPEG, 1024 px, P3, XMP, C2PA": lambda seed: signed(
        saved(photo(seed), "JPEG", quality=90, icc_profile=p3_profile(), xmp=RIGHTS),
        "image/jpeg",
        {"cawg.ai_training": "allowed"},
    ),
}


@contextmanager
def without(names: set[str]) -> Iterator[None]:
    """Leave checks out of rendering."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            for function, nothing in CHECKS[name].items():
                patch.setattr(data.render, function, nothing)
        yield


def milliseconds(files: list[bytes], left_out: set[str]) -> float:
    """Processor time of a picture, so that the machine's other work does not count."""
    checks = FileChecks(unsafe_drawings=True, unsafe_threshold=1.0)
    with without(left_out):
        begin = time.process_time()
        for content in files:
            assert isinstance(render(content, monochrome=False, picture_px=PICTURE_PX, checks=checks), Rendered)
        return (time.process_time() - begin) * 1000 / len(files)


@pytest.mark.parametrize("corpus", CORPORA)
def test_what_each_check_costs(corpus: str) -> None:
    """Takes every arrangement in turn, so that a drifting machine slows all alike; medians of paired differences."""
    files = [CORPORA[corpus](seed) for seed in range(PICTURES)]
    every, dear = set(CHECKS), {"open_nsfw"}
    arrangements = {"all": set[str](), "cheap": dear, "none": every}
    arrangements |= {f"only {name}": every - {name} for name in CHECKS}
    arrangements |= {f"but {name}": {name} | dear for name in every - dear}
    milliseconds(files, set())  # loads what is loaded once
    rounds = [{name: milliseconds(files, out) for name, out in arrangements.items()} for _ in range(ROUNDS)]

    def median(name: str, less: str | None = None) -> float:
        return statistics.median(times[name] - (times[less] if less else 0) for times in rounds)

    print(f"\n{corpus}: {1000 / median('all'):.0f} pictures/s a core with all checks, ", end="")
    print(f"{1000 / median('cheap'):.0f} without open_nsfw, {1000 / median('none'):.0f} bare")
    print(f"  {'check':24} adds ms  saves ms")
    for name in CHECKS:
        saves = median("all", "cheap") if name in dear else median("cheap", f"but {name}")
        print(f"  {name:24} {median(f'only {name}', 'none'):7.2f}  {saves:8.2f}")
    assert len(rounds) == ROUNDS
