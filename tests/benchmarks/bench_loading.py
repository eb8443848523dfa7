"""How fast are pictures read, decoded and batched, by us and by others, in one run?

The same WebP pictures, the same batch, the same uint8 [B,4,S,S]; shuffled; the files are in the system's cache. Peers:
``webdataset`` (shards resampled, a buffer shuffled, batched in the worker, WebLoader), ``mosaicml-streaming`` (MDS,
local), a folder of files with torch's DataLoader, and that folder with our decoder, to tell decoding from the rest.
Rounds go round all loaders in turn, so that a drifting machine slows all alike; the medians are printed, and the
ratio to the best peer. mosaicml-streaming asks for torchvision, which it uses for data sets of its own alone:

    pip install --no-deps --target var/peers mosaicml-streaming Brotli python-snappy cramjam zstd catalogue

Run with: python tests/benchmarks/bench_loading.py [--pictures N] [--device cuda]
"""

from __future__ import annotations

import argparse
import importlib.machinery
import io
import os
import statistics
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
sys.path.append(str(ROOT / "var" / "peers"))

from data.bank import Augmentation, PictureBank  # noqa: E402
from data.dataset import Dataset, open_dataset  # noqa: E402
from data.decode import decode  # noqa: E402
from data.loader import StreamLoader, StreamSettings  # noqa: E402
from data.order import SampleOrder  # noqa: E402
from data.shards import ShardWriter  # noqa: E402

Loader = Callable[[int], Iterator[Any]]
SHARD_SAMPLES = 200
ROUNDS = 5


def by_pillow(content: bytes) -> torch.Tensor:
    """Decode as torch's and streaming's examples do: [4,S,S] uint8."""
    picture = np.array(Image.open(io.BytesIO(content)).convert("RGBA"))
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous()


class Folder(TorchDataset[torch.Tensor]):
    """A file a picture."""

    def __init__(self, folder: Path, decoder: Callable[[bytes], torch.Tensor] = by_pillow) -> None:
        self.files = sorted(folder.glob("*.webp"))
        self.decoder = decoder

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.decoder(self.files[row].read_bytes())


def by_ours(content: bytes) -> torch.Tensor:
    """Our decoder in somebody else's loader."""
    return torch.from_numpy(decode(content)).permute(2, 0, 1)


def epochs(loader: Any) -> Iterator[Any]:
    """The loader again and again."""
    while True:
        yield from loader


def torch_loader(dataset: Any, batch: int, workers: int, *, shuffle: bool = True) -> Iterator[Any]:
    """torch's DataLoader as its guide advises: workers that stay."""
    return epochs(DataLoader(dataset, batch, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0))


def webdataset_loader(folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """As webdataset's guide has it: shuffle encoded samples, batch in the worker, WebLoader."""
    import webdataset

    shards = sorted(str(file) for file in folder.glob("*.tar"))
    dataset = webdataset.WebDataset(shards, resampled=True)
    pictures = dataset.shuffle(1000).decode("torchrgba8").to_tuple("webp").batched(batch)
    return (pictures for (pictures,) in webdataset.WebLoader(pictures, batch_size=None, num_workers=workers))


def write_mds(folder: Path, contents: list[bytes]) -> None:
    """Convert to mosaicml-streaming's format."""
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"picture": "bytes"}) as writer:
        for content in contents:
            writer.write({"picture": content})


def mds_loader(folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """As streaming's guide has it: a StreamingDataset in torch's DataLoader."""
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    class Pictures(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, at: Any) -> Any:
            return by_pillow(super().__getitem__(at)["picture"])

    clean_stale_shared_memory()
    return torch_loader(Pictures(local=str(folder), shuffle=True, batch_size=batch), batch, workers, shuffle=False)


def stand_in_for_torchvision() -> None:
    """streaming imports torchvision for data sets that are not used here; it has no build for every torch."""

    class Missing(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    for name in ("", ".transforms", ".transforms.functional", ".datasets"):
        module = Missing(f"torchvision{name}")
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        module.__path__ = []
        sys.modules[module.__name__] = module


def ours(dataset: Dataset, batch: int, workers: int, *, processes: bool = False) -> Iterator[Any]:
    """The loader of this project."""
    settings = StreamSettings(batch=batch, workers=workers, processes=processes)
    rows = np.arange(len(dataset))
    return (made.pictures for made in StreamLoader(dataset, settings, rows=rows, rank=0, ranks=1))


def resident(dataset: Dataset, batch: int, device: str, *, painted: bool) -> Iterator[Any]:
    """The pictures on the device; ``painted``: moved, coloured and grounded there as well."""
    rows = list(range(len(dataset)))
    bank = PictureBank.of(dataset, rows).to(device)
    order = SampleOrder(rows, seed=0)
    generator = torch.Generator(device=device).manual_seed(0)
    position = 0
    while True:
        chosen = torch.from_numpy(order.at(position, batch)).to(device)
        position += batch
        placement = bank.place(chosen, Augmentation(), generator) if painted else None
        yield bank.paint(chosen, placement, 64) if placement else bank.layers[chosen]


def rate(batches: Iterator[Any], pictures: int, *, wait: Callable[[], None]) -> float:
    """Pictures a second behind the first batch."""
    next(batches)
    wait()
    begin, seen = time.perf_counter(), 0
    while seen < pictures:
        seen += len(next(batches))
    wait()
    return seen / (time.perf_counter() - begin)


def check(name: str, batches: Iterator[Any], known: set[int], batch: int, side_px: int) -> None:
    """Refuse a loader that does not give the pictures that the others give."""
    made = next(batches)
    assert made.dtype == torch.uint8 and tuple(made.shape) == (batch, 4, side_px, side_px), (name, made.shape)
    assert {int(picture.long().sum()) for picture in made} <= known, f"{name} decodes other pixels"


def prepare(source: Dataset, folder: Path) -> tuple[Dataset, Path, Path]:
    """The same pictures as shards, as files and as MDS."""
    for name in ("shards", "files"):
        (folder / name).mkdir()
    writer = ShardWriter(folder / "shards", SHARD_SAMPLES)
    contents = []
    for row, record in enumerate(source.records):
        contents.append(source.picture_bytes(row))
        writer.write(record, contents[-1])
        (folder / "files" / f"{record.key}.webp").write_bytes(contents[-1])
    writer.close()
    told = dict(vars(source.card)) | {"shards": writer.cards, "index_sha256": writer.index_sha256}
    (folder / "shards" / "dataset.json").write_text(type(source.card)(**told).to_json())
    write_mds(folder / "mds", contents)
    return open_dataset(folder / "shards"), folder / "files", folder / "mds"


def compare(source: Dataset, batch: int, pictures: int, workers_to_try: list[int]) -> None:
    """Print a table for each number of workers."""
    side_px = source.card.picture_px
    known = {int(np.asarray(source.picture(row)).astype(np.int64).sum()) for row in range(len(source))}
    with tempfile.TemporaryDirectory() as folder:
        dataset, files, mds = prepare(source, Path(folder))
        peers: dict[str, Loader] = {
            "webdataset": lambda workers: webdataset_loader(dataset.folder, batch, workers),
            "mosaicml-streaming": lambda workers: mds_loader(mds, batch, workers),
            "folder, DataLoader": lambda workers: torch_loader(Folder(files), batch, workers),
        }
        apart: dict[str, Loader] = {"folder, our decoder": lambda n: torch_loader(Folder(files, by_ours), batch, n)}
        own: dict[str, Loader] = {"ours": lambda workers: ours(dataset, batch, workers)}
        for workers in workers_to_try:
            if workers:
                own["ours, processes"] = lambda workers: ours(dataset, batch, workers, processes=True)
            loaders = peers | apart | own
            for name, loader in loaders.items():
                check(name, loader(workers), known, batch, side_px)
            rates: dict[str, list[float]] = {name: [] for name in loaders}
            for _ in range(ROUNDS):
                for name, loader in loaders.items():
                    rates[name].append(rate(loader(workers), pictures, wait=lambda: None))
            print_table(workers, rates, list(peers), pictures)


def print_table(workers: int, rates: dict[str, list[float]], peers: list[str], pictures: int) -> None:
    """Medians, spread and the ratio to the best peer, taken round by round."""
    best = max(peers, key=lambda name: statistics.median(rates[name]))
    print(f"\n{workers} workers: pictures a second, median of {ROUNDS} rounds of N={pictures:,}; best peer: {best}")
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, rates[best], strict=True))
        print(f"  {name:22} {statistics.median(found):8,.0f}  ({min(found):,.0f} to {max(found):,.0f})  x {ratio:.2f}")


def show_resident(source: Dataset, batch: int, pictures: int, device: str) -> None:
    """Print the resident path's rates."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"\nresident on {name}: pictures a second, median of {ROUNDS} rounds")
    for painted, what in ((False, "taken as they are, 128 px"), (True, "moved, coloured and grounded, 64 px")):
        batches = resident(source, batch, device, painted=painted)
        found = [rate(batches, pictures * (20 if device == "cuda" else 2), wait=wait) for _ in range(ROUNDS)]
        print(f"  {what:36} {statistics.median(found):12,.0f}  ({min(found):,.0f} to {max(found):,.0f})")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=str(ROOT / "assets" / "sample" / "base"))
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    told = parser.parse_args()
    warnings.filterwarnings("ignore")
    stand_in_for_torchvision()
    print(f"{os.cpu_count()} cores, batch {told.batch}, torch {torch.__version__}")
    source = open_dataset(told.dataset)
    compare(source, told.batch, told.pictures, told.workers)
    show_resident(source, told.batch, told.pictures, told.device)


if __name__ == "__main__":
    main()
