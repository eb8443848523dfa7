"""How long do all distribution metrics take on the features of many pictures, intervals included, and in what memory?

Features are synthetic, with a spectrum that falls as those of networks do, and the made ones a little off.
Printed a metric: the figure with its 95 % interval, seconds on the clock, and seconds of the processor over the number
of cores, which is what the clock would show on a machine that nobody else uses.

Run with: python tests/benchmarks/bench_distances.py [--pictures 50000] [--dimensions 2048] [--latent 64]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from evaluation.metrics.catalogue import METRICS, NEIGHBOURS, measured  # noqa: E402

TOGETHER = (["frechet", "frechet_infinity"], ["kernel"], ["cmmd", "cmmd_biased"], ["mind"], [*NEIGHBOURS])


def synthetic(pictures: int, dimensions: int, seed: int, *, latent: int = 64, moved: float = 0.0) -> Tensor:
    """Return float32 [N,D] features as a network's are: of ``latent`` dimensions, rectified, with a little noise.

    With ``latent`` 0 all D dimensions are independent, which no network's are: then every picture is about as far from
    every other, and crowds of two laws lie within all of each other's balls, which takes longest.
    """
    generator = torch.Generator().manual_seed(seed)
    scale_D = torch.linspace(0, 3, dimensions).neg().exp()
    mixing_LD = torch.randn(latent, dimensions, generator=torch.Generator().manual_seed(99)) / max(latent, 1) ** 0.5
    features_ND = torch.empty(pictures, dimensions).normal_(generator=generator)
    for piece in features_ND.split(1000):
        if latent:
            drawn = torch.randn(len(piece), latent, generator=generator) * (1 + moved) + moved
            piece.mul_(0.1).addmm_(drawn, mixing_LD).mul_(scale_D).relu_()
        else:
            piece.add_(0.5 + moved).mul_(scale_D * (1 + moved)).abs_()
    return features_ND


def main() -> None:
    """Time each metric; those that share their work are timed together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--metrics", default=",".join(METRICS))
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    real_ND = synthetic(settings.pictures, settings.dimensions, 0, latent=settings.latent)
    made_ND = synthetic(settings.pictures, settings.dimensions, 1, latent=settings.latent, moved=0.05)
    keys = settings.metrics.split(",")
    jobs = [job for group in TOGETHER if (job := [key for key in group if key in keys])]
    print(
        f"{settings.pictures} pictures a side, {settings.dimensions} dimensions of {settings.latent},"
        f" {settings.threads} threads"
    )
    totals = [0.0, 0.0]
    for job in jobs:
        began = time.perf_counter(), time.process_time()
        for key, estimate in measured(real_ND, made_ND, job).estimates.items():
            interval = estimate.interval()
            print(f"  {key:17} {interval.value:10.5f}   {interval.low:.5f} to {interval.high:.5f}")
        took = time.perf_counter() - began[0], (time.process_time() - began[1]) / settings.threads
        totals = [total + part for total, part in zip(totals, took, strict=True)]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{took[0]:7.1f} s, {took[1]:6.1f} s of all cores, peak {memory:.2f} GiB: {', '.join(job)}", flush=True)
    print(f"{totals[0]:7.1f} s, {totals[1]:6.1f} s of all cores, peak {memory:.2f} GiB: all, with their intervals")


if __name__ == "__main__":
    main()
