"""How many pictures a second become features, and for what share of that time the network is at work.

    python tests/benchmarks/bench_extraction.py [--device cuda] [--pictures 20000] [--px 64]      or, small, make bench

Beside it: the same network in a loop that decodes, looks and waits, a batch at a time, as most scripts do; and the
network alone on pictures that lie on its device, which nothing can be faster than.  The pictures are PNG files made on
the spot.  Where torch-fidelity is installed (it needs torchvision), its Inception runs beside ours of equal weights.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.feeding import CPU_BATCH, CUDA_BATCH, exact_float32, fed
from evaluation.extractors.inception import FidInception, inception
from evaluation.extractors.pictures import PicturesInMemory, PicturesOnDisk
from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.extractors.store import FeatureStore

LOOP_BATCH = 64


def drawn_files(folder: Path, count: int, px: int) -> list[Path]:
    """Return so many PNG files of shapes, all different."""
    files = []
    for number in range(count):
        chance = np.random.default_rng(number)
        picture = Image.new("RGB", (px, px), "white")
        pen = ImageDraw.Draw(picture)
        for _ in range(4):
            left, top, width, height = (int(value) for value in chance.integers(2, px // 2, 4))
            pen.ellipse((left, top, left + width, top + height), fill=tuple(chance.integers(0, 256, 3).tolist()))
        files.append(folder / f"{number:06}.png")
        picture.save(files[-1])
    return files


def plain_loop(extractor: Extractor, files: Sequence[Path]) -> None:
    """Decode a batch, look at it, fetch it, and begin anew."""
    for begin in range(0, len(files), LOOP_BATCH):
        arrays = [np.array(Image.open(file).convert("RGB")) for file in files[begin : begin + LOOP_BATCH]]
        extractor(torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)).cpu()


def alone(extractor: Extractor, batch: Tensor, count: int) -> None:
    """Look at one batch on the device again and again, and wait at the end."""
    for begin in range(0, count, len(batch)):
        last = extractor(batch[: min(len(batch), count - begin)])
    last.cpu()


def seconds(device: str, work: object, *given: object) -> float:
    begin = time.perf_counter()
    work(*given)  # type: ignore[operator]
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


class Timed:
    """An extractor that measures for how long its network is at work: by CUDA's events, or by the clock."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self.name, self.digest, self.family = extractor.name, extractor.digest, extractor.family
        self.dimensions, self.preprocessing = extractor.dimensions, extractor.preprocessing
        self.device = extractor.device
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds = 0.0

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return the extractor's features."""
        if self.device.type != "cuda":
            begin = time.perf_counter()
            features = self._extractor(pictures_B3HW)
            self._seconds += time.perf_counter() - begin
            return features
        span = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        arrived = pictures_B3HW.to(self.device, non_blocking=True)
        span[0].record()
        features = self._extractor(arrived)
        span[1].record()
        self._spans.append(span)
        return features

    def busy_seconds(self) -> float:
        """Return how long the network was at work, resizing and normalising on the device included."""
        milliseconds: float = sum(begin.elapsed_time(end) for begin, end in self._spans)
        return self._seconds + milliseconds / 1000


@contextlib.contextmanager
def random_inception(folder: Path, device: str) -> Iterator[Extractor]:
    """Yield FID's Inception with random weights: how fast it is does not depend on them."""
    torch.manual_seed(0)
    torch.save(FidInception().state_dict(), folder / "inception.pth")
    yield inception(folder / "inception.pth", resize="tf1-bilinear", device=device)


def report(extractor: Extractor, files: Sequence[Path], px: int) -> None:
    """Print pictures a second of each way."""
    device = extractor.device.type
    batch = CUDA_BATCH if device == "cuda" else CPU_BATCH
    shown = torch.randint(0, 256, (min(batch, len(files)), 3, px, px), dtype=torch.uint8)
    on_device = shown.to(extractor.device)
    alone(extractor, on_device, 2 * batch)  # what is prepared once is not measured
    count, disk = len(files), PicturesOnDisk(files, px)
    memory = PicturesInMemory(disk.batch(range(count)))
    print(f"{extractor_identity(extractor)}, {count:,} pictures of {px} px on {device}, batches of {batch}")
    limit = count / seconds(device, alone, extractor, on_device, count)
    print(f"  the network alone              {limit:10,.0f} pictures/s")
    loop = count / seconds(device, plain_loop, extractor, files)
    print(f"  a plain loop over files        {loop:10,.0f} pictures/s  {loop / limit:5.2f} of the network alone")
    for label, pictures in (("files", disk), ("pictures in memory", memory)):
        timed = Timed(extractor)
        took = seconds(device, lambda: [None for _ in fed(timed, pictures, range(count))])  # noqa: B023
        print(
            f"  fed from {label:<22}{count / took:10,.0f} pictures/s  {count / took / limit:5.2f} of the network alone,"
            f" at work {timed.busy_seconds() / took:.2f} of the time"
        )
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("filling the cache", "from the cache"):
                timed = Timed(extractor)
                took = seconds(device, FeatureStore(timed, Path(folder)), pictures)
                told = f" at work {timed.busy_seconds() / took:.2f} of the time" if "filling" in kind else ""
                print(f"    {kind:<28} {count / took:10,.0f} pictures/s {told}")


def beside_torch_fidelity(files: Sequence[Path], folder: Path, device: str, px: int) -> None:
    """Print torch-fidelity's own way with the weights of ``random_inception``, where it is installed."""
    try:
        import torch_fidelity
    except ImportError:
        print("  torch-fidelity is not installed here (it needs torchvision): no figure beside it")
        return
    begin = time.perf_counter()
    torch_fidelity.calculate_metrics(
        input1=str(folder / "pictures"),
        isc=True,
        cuda=device == "cuda",
        batch_size=LOOP_BATCH,
        feature_extractor_weights_path=str(folder / "inception.pth"),
        cache=False,
        verbose=False,
    )
    print(f"  torch-fidelity, Inception      {len(files) / (time.perf_counter() - begin):10,.0f} pictures/s")


def run(device: str, count: int, px: int, *, with_inception: bool) -> None:
    """Make the files and print all figures."""
    with tempfile.TemporaryDirectory() as name, exact_float32():
        folder = Path(name)
        (folder / "pictures").mkdir()
        files = drawn_files(folder / "pictures", count, px)
        report(EfficientNetLite0(device=device), files, px)
        if with_inception:
            with random_inception(folder, device) as extractor:
                report(extractor, files, px)
            beside_torch_fidelity(files, folder, device, px)


def test_pictures_become_features() -> None:
    """Print the figures for a few pictures."""
    run("cpu", 96, 64, with_inception=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--pictures", type=int, default=None)
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--no-inception", action="store_true")
    told = parser.parse_args()
    run(
        told.device,
        told.pictures or (20_000 if told.device == "cuda" else 512),
        told.px,
        with_inception=not told.no_inception,
    )
