"""Of a hundred 95 % intervals, how many hold what they are of?  Printed a metric, with how wide they are.

Crowds of known law are drawn again and again.  An interval is of the figure at this number of pictures
(docs/adr/0007-jackknife-intervals.md), so it should hold the mean of all repeated figures; that of infinitely many
pictures should hold the distance of the laws themselves, |Δμ|² + tr(Σr + Σm - 2(ΣrΣm)^½).  ``width`` is that of the
interval over that of the true spread (2·1.96 standard deviations): 1 is right, more leans to the safe side.

Run with: python tests/benchmarks/bench_intervals.py [--repeats 200]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from evaluation.intervals import Interval  # noqa: E402
from evaluation.metrics.catalogue import METRICS, measured  # noqa: E402

CROWDS = ((64, 128), (256, 128), (600, 32), (1000, 128))
SCALE, SHIFT = 1.15, 0.1


def crowd(count: int, dimensions: int, generator: torch.Generator, *, moved: bool) -> Tensor:
    """Return [N,D] Gaussian pictures whose spectrum falls; ``moved`` ones are scaled and shifted by the spectrum."""
    spread_D = torch.linspace(0, 3, dimensions).neg().exp()
    drawn_ND = torch.randn(count, dimensions, generator=generator)
    return spread_D * (SCALE * drawn_ND + SHIFT) if moved else spread_D * drawn_ND


def distance_of_laws(dimensions: int, *, moved: bool) -> float:
    """Return the Fréchet distance of the two laws: Σ s²·((SCALE - 1)² + SHIFT²)."""
    squares = float(torch.linspace(0, 3, dimensions).neg().exp().square().sum())
    return squares * ((SCALE - 1) ** 2 + SHIFT**2) if moved else 0.0


def told(key: str, intervals: list[Interval], truth: float | None) -> str:
    """Return a line of the table."""
    values = torch.tensor([interval.value for interval in intervals], dtype=torch.float64)
    centre = float(values.mean()) if truth is None else truth
    held = sum(interval.low <= centre <= interval.high for interval in intervals) / len(intervals)
    width = sum(interval.high - interval.low for interval in intervals) / len(intervals)
    return f"{key:17} {float(values.mean()):9.4f}  {100 * held:5.1f} %  {width / (2 * 1.96 * float(values.std())):5.2f}"


def main() -> None:
    """Draw, measure and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    for count, dimensions in CROWDS:
        for moved in (True, False):
            generator = torch.Generator().manual_seed(0)
            keys = [key for key in METRICS if key != "frechet_infinity" or count >= 4 * dimensions]
            found: dict[str, list[Interval]] = {key: [] for key in keys}
            for _ in range(repeats):
                real = crowd(count, dimensions, generator, moved=False)
                made = crowd(count, dimensions, generator, moved=moved)
                for key, estimate in measured(real, made, keys).estimates.items():
                    found[key].append(estimate.interval())
            print(
                f"N={count}, D={dimensions}, {'two laws' if moved else 'one law'}, {repeats} times: mean, held, width"
            )
            for key, intervals in found.items():
                truth = distance_of_laws(dimensions, moved=moved) if key == "frechet_infinity" else None
                print("  " + told(key, intervals, truth), flush=True)


if __name__ == "__main__":
    main()
