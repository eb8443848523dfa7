"""How long a run waits for its caption features: from the encoder alone, through an empty cache, from a full one.

    python tests/benchmarks/bench_caption_cache.py [CAPTIONS]      or, with a few, make bench

The captions are made of the words of the shipped drawings' captions, so that their lengths are those of real ones.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from atelier import PROJECT_ROOT
from data.dataset import open_dataset
from synthesis.text import TextEncoder
from training.corpus import encode_all

BATCH = 512


def captions(count: int) -> list[str]:
    """Return so many different captions."""
    records = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base").records
    known = list(dict.fromkeys(caption for record in records for caption in record.captions))
    pairs = (f"{one}, {other}" for other in known for one in known)
    return list(itertools.islice(itertools.chain(known, pairs), count))


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def test_a_second_start_finds_its_captions() -> None:
    """Print the figures for a few captions."""
    report(400)


def report(count: int) -> None:
    """Encode so many captions in three ways and print how long each took."""
    texts = captions(count)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = TextEncoder().to(device)
    encoder.encode(texts[:1])
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        alone = seconds(lambda: [encoder.encode(texts[begin : begin + BATCH]) for begin in range(0, count, BATCH)])
        first = seconds(lambda: encode_all(texts, encoder, BATCH, cache))
        second = seconds(lambda: encode_all(texts, encoder, BATCH, cache))
        size = sum(file.stat().st_size for file in cache.rglob("*.safetensors"))
    print(f"{count:,} captions on {device}, {torch.get_num_threads()} threads")
    print(f"  encoder alone         {alone:8.2f} s")
    print(f"  first start, filling  {first:8.2f} s  {first / alone:7.3f} of the encoder alone")
    print(f"  second start, finding {second:8.2f} s  {second / alone:7.3f} of the encoder alone")
    print(f"  on disk               {size / count:8,.0f} bytes a caption")


if __name__ == "__main__":
    report(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
