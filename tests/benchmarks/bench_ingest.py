"""How fast is an ingest, a core, and does its memory grow with the corpus?

Draws synthetic icons in streams of growing length, each in a process of its own with one worker, and prints samples a
second and the peak resident memory. The peak must not grow with the stream but for the arrays that decide: about a
hundred bytes a sample. Prints; asserts only that growth. Run with: make bench, or for other lengths
python tests/benchmarks/bench_ingest.py 1000 10000 100000
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from data.build import BuildSettings, build_dataset
from data.policy import load_policy
from data.record import Drawing, Origin, Refused

LENGTHS = (500, 2000, 4000)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
    '<rect x="{x}" y="{y}" width="{w}" height="20" fill="#{colour:06x}"/><circle cx="{y}" cy="{x}" r="{r}"/></svg>'
)
BYTES_A_SAMPLE = 2048


class Stream:
    """Offers drawings that are made as they are asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def origins(self) -> list[Origin]:
        """Return the one origin."""
        values = dict.fromkeys(("creator", "creator_url", "licence_url", "uri", "sha256"), "")
        return [Origin(collection="made", title=f"made {self.length}", licence="MIT", **values)]

    def drawings(self) -> Iterator[Drawing | Refused]:
        """Yield each drawing."""
        for number in range(self.length):
            yield Drawing(
                key=f"made__{number}",
                captions=(f"shape {number}",),
                subject=f"shape-{number}",
                collection="made",
                style="made",
                monochrome=False,
                licence="MIT",
                creator="",
                creator_url="",
                source_uri="",
                evidence="",
                retrieved="2026-01-01",
                content=_svg(number),
            )


def _svg(number: int) -> bytes:
    mixed = number * 2654435761 % 2**32
    x, y, w, r = (mixed >> shift & 31 for shift in (0, 5, 10, 15))
    return SVG.format(x=x, y=y, w=w + 4, r=r + 2, colour=(number * 40503 + 7) % 2**24).encode()


def measure(length: int) -> tuple[float, float]:
    """Return samples a second and the peak in MiB of an ingest in a process of its own."""
    command = [sys.executable, __file__, "--one", str(length)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rate, peak_mib = map(float, result.stdout.split()[-2:])
    return rate, peak_mib


def one(length: int) -> None:
    """Ingest one stream and print its figures."""
    folder = Path(tempfile.mkdtemp())
    try:
        begin = time.perf_counter()
        settings = BuildSettings(name="made", workers=1)
        build_dataset(Stream(length), load_policy("commercial"), folder / "out", settings)
        seconds = time.perf_counter() - begin
    finally:
        shutil.rmtree(folder)
    print(length / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def test_memory_does_not_grow_with_the_stream() -> None:
    """Prints a line a length."""
    figures = [(length, *measure(length)) for length in LENGTHS]
    print()
    for length, rate, peak_mib in figures:
        print(f"{length:>9,} drawings: {rate:6.0f} samples a second on one core, peak {peak_mib:6.0f} MiB")
    (short, _, least), (long, _, most) = figures[0], figures[-1]
    assert (most - least) * 2**20 < (long - short) * BYTES_A_SAMPLE + 64 * 2**20


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]))
    else:
        for each in map(int, sys.argv[1:] or LENGTHS):
            speed, peak = measure(each)
            print(f"{each:>9,} drawings: {speed:6.0f} samples a second on one core, peak {peak:6.0f} MiB", flush=True)
