"""Does the alarm of the suite ``serving`` ring where the look changes, and only there?

    python tests/benchmarks/bench_serving_drift.py [--folder DIR]

Colour drawings of ``assets/sample/openmoji-judge``, in the order of seed 0: 160 are the golden run, 140 others are
served.  Then the first 90 of these are served, and 50 colour drawings of ``noto`` from ``assets/sample/base`` after
them.  ``--folder`` keeps the folders, so that ``atelier evaluate`` shows their reports.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console

from atelier import PROJECT_ROOT
from data.dataset import open_dataset
from evaluation.drawings import colour_rows, in_drawn_order
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.measurement import Measurement
from evaluation.studio import Studio
from evaluation.suites.serving import ServingSuite
from evaluation.wording import interval_text, value_text

SAMPLE = PROJECT_ROOT / "assets/sample"
GOLDEN, SERVED, BEFORE, OTHERS, SEED = 160, 140, 90, 50, 0


def drawings(dataset: str, count: int, collection: str | None = None) -> list[Image.Image]:
    """Return colour drawings of a shipped dataset in the order of the seed, of one collection where it is named."""
    opened = open_dataset(SAMPLE / dataset)
    rows = [row for row in colour_rows(opened) if collection in (None, opened.records[row].collection)]
    return [opened.picture(row) for row in in_drawn_order(opened, rows, SEED)[:count]]


def write_folder(folder: Path, pictures: Sequence[Image.Image]) -> None:
    """Save pictures under the numbers of their order."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, 1):
        picture.save(folder / f"{number:04}.png")


def write_folders(root: Path) -> None:
    """Write ``golden``, ``quiet`` and ``changed``."""
    brand = drawings("openmoji-judge", GOLDEN + SERVED)
    write_folder(root / "golden", brand[:GOLDEN])
    write_folder(root / "quiet", brand[GOLDEN:])
    write_folder(root / "changed", [*brand[GOLDEN:][:BEFORE], *drawings("base", OTHERS, "noto")])


def measured(root: Path, served: str) -> Measurement:
    """Return what the suite says of a folder."""
    suite = ServingSuite(golden=str(root / "golden"), descriptor=str(PROJECT_ROOT / "assets/descriptor"))
    return suite.measure(str(root / served), Studio(EfficientNetLite0(), cache=root / "cache", console=Console()))


def told(measurement: Measurement) -> str:
    """Return the verdict and the drift in a line."""
    drift = measurement.figure("serving_drift")
    said = " ".join((measurement.verdict.headline, *measurement.verdict.sentences[:-1]))
    return f"{measurement.title}: {said} Drift {value_text(drift)} ({interval_text(drift)})."


def test_the_alarm_rings_for_another_set_alone(tmp_path: Path) -> None:
    """Run by ``make bench``."""
    write_folders(tmp_path)
    quiet, changed = (measured(tmp_path, served) for served in ("quiet", "changed"))
    print(f"\n{told(quiet)}\n{told(changed)}")
    assert quiet.verdict.tone == "good" and changed.verdict.tone == "bad"


def main() -> None:
    """Make the folders, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the folders are made, and stay")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        root = given or Path(scratch)
        write_folders(root)
        for served in ("quiet", "changed"):
            print(told(measured(root, served)))


if __name__ == "__main__":
    main()
