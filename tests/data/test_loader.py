"""The streaming loader: one sequence whatever the ranks and workers, the same again after a kill, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from atelier import PROJECT_ROOT
from data.dataset import Dataset, on_ground, open_dataset
from data.decode import decode, decode_into, over_ground, resized
from data.errors import DataError, DatasetError
from data.fetch import Batch
from data.ledger import check_ledger
from data.loader import StreamLoader, StreamSettings
from tests.data.loading import SHAPES, colour_of, write_dataset

COUNT = 37


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return 37 flat pictures of one shape."""
    return write_dataset(tmp_path_factory.mktemp("flat") / "dataset", COUNT)


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return 37 flat pictures of three shapes."""
    return write_dataset(tmp_path_factory.mktemp("shaped") / "dataset", COUNT, shaped=True)


def settings(**values: Any) -> StreamSettings:
    return StreamSettings(**{"batch": 8, "seed": 4} | values)


def sequence(dataset: Dataset, ranks: int, steps: int, position: int = 0, **values: Any) -> list[list[int]]:
    """Return the rows of each step over all ranks, and check that each picture is its row's."""
    loaders = [StreamLoader(dataset, settings(**values), rank=rank, ranks=ranks) for rank in range(ranks)]
    for loader in loaders:
        loader.position = position
    found = []
    for step in islice(zip(*loaders, strict=True), steps):
        for batch in step:
            check_pictures(batch)
        found.append([row for batch in step for row in batch.rows[batch.real].tolist()])
    return found


def check_pictures(batch: Batch) -> None:
    assert batch.pictures.dtype == torch.uint8
    for row, picture in zip(batch.rows.tolist(), batch.pictures, strict=True):
        assert picture.flatten(1).unique(dim=1).T.tolist() == [list(colour_of(row))]


@pytest.mark.parametrize("last", ["across", "padded"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_and_workers_alter_nothing(dataset: Dataset, ranks: int, last: str) -> None:
    alone = sequence(dataset, 1, 12, last=last)
    for workers in (0, 1, 4):
        assert sequence(dataset, ranks, 12, last=last, workers=workers) == alone


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_worker_processes_give_the_same(dataset: Dataset) -> None:
    alone = sequence(dataset, 1, 6)
    assert sequence(dataset, 2, 6, workers=1, processes=True) == alone
    assert sequence(dataset, 1, 6, workers=4, processes=True) == alone


def test_padded_batches_end_with_their_epoch_and_lose_nothing(dataset: Dataset) -> None:
    steps = sequence(dataset, 2, 10, last="padded")
    for epoch in (steps[:5], steps[5:]):
        assert sorted(chain(*epoch)) == list(range(COUNT))
    assert sorted(map(len, steps[:5])) == [5, 8, 8, 8, 8]


@pytest.mark.parametrize("ranks", [1, 2])
def test_pictures_that_keep_their_shape_come_in_batches_of_one(shaped: Dataset, ranks: int) -> None:
    loaders = [StreamLoader(shaped, settings(workers=2), rank=rank, ranks=ranks) for rank in range(ranks)]
    seen = []
    for step in islice(zip(*loaders, strict=True), 6):
        for batch in step:
            check_pictures(batch)
            (shape,) = {SHAPES[row % 3] for row in batch.rows.tolist()}
            assert (batch.pictures.shape[3], batch.pictures.shape[2]) == shape
            seen += batch.rows[batch.real].tolist()
    assert sorted(seen) == list(range(COUNT)), "six steps of 8 hold 13, 12 and 12"


def test_its_state_is_the_same_on_every_rank_and_resumes_on_another_number(dataset: Dataset) -> None:
    whole = sequence(dataset, 1, 12)
    loaders = [StreamLoader(dataset, settings(workers=1), rank=rank, ranks=4) for rank in range(4)]
    for _ in islice(zip(*loaders, strict=True), 5):
        pass
    states = [loader.state_dict() for loader in loaders]
    assert all(state == states[0] for state in states)
    resumed = [StreamLoader(dataset, settings(), rank=rank, ranks=2) for rank in range(2)]
    for loader in resumed:
        loader.load_state_dict(json.loads(json.dumps(states[0])))
    rest = [[row for batch in step for row in batch.rows.tolist()] for step in islice(zip(*resumed, strict=True), 7)]
    assert rest == whole[5:]


class Noting(lightning.LightningModule):  # type: ignore[misc]
    """Learns nothing; notes the rows of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows: list[int] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.rows += batch.rows.tolist()
        return self.weight.sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
def test_lightning_takes_it_as_it_is(dataset: Dataset) -> None:
    module, loader = Noting(), StreamLoader(dataset, settings(workers=2))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    lightning.Trainer(max_steps=6, accelerator="cpu", enable_model_summary=False, **quiet).fit(module, loader)
    assert module.rows == loader.order.at(0, 6 * 8).tolist()


def test_a_state_of_another_order_is_refused(dataset: Dataset) -> None:
    state = StreamLoader(dataset, settings()).state_dict()
    with pytest.raises(DataError, match="samples, seed or way of batching are not those of the checkpoint"):
        StreamLoader(dataset, settings(seed=5)).load_state_dict(state)


KILLED = """
import json, os, sys, time
from pathlib import Path
import torch.distributed as dist
from data.dataset import open_dataset
from data.loader import StreamLoader, StreamSettings
folder, work, kill_at, workers, shape = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
settings = StreamSettings(batch=8, seed=4, workers=workers, processes=workers == 1)
loader = StreamLoader(open_dataset(folder), settings, ledger=work / "ledger")
checkpoint = work / "state.json"
if checkpoint.exists():
    loader.load_state_dict(json.loads(checkpoint.read_text()))
log = (work / f"seen-{ranks}-{rank}.jsonl").open("w")
for step, batch in enumerate(loader):
    print(json.dumps([batch.begin, batch.rows[batch.real].tolist()]), file=log, flush=True)
    dist.barrier()
    if step % 3 == 2:
        state = loader.state_dict()
        dist.barrier()
        if rank == 0:
            (work / "new.json").write_text(json.dumps(state))
            os.replace(work / "new.json", checkpoint)
        dist.barrier()
    if step == kill_at:
        os.kill(os.getpid(), 9)
    if batch.end >= 3 * 37:
        break
loader.state_dict()
"""


def run_ranks(dataset: Dataset, work: Path, *, ranks: int, kill_at: int, workers: int) -> list[int]:
    """Run ``KILLED`` as torchrun would, on free ports of this machine; returns the exit codes."""
    script = work / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT_ROOT),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(20_000 + os.getpid() % 20_000 + kill_at),
        "WORLD_SIZE": str(ranks),
    }
    arguments = [sys.executable, str(script), str(dataset.folder), str(work), str(kill_at), str(workers), "0"]
    running = [
        subprocess.Popen(arguments, env=environment | {"RANK": str(rank)}, stderr=subprocess.DEVNULL)
        for rank in range(ranks)
    ]
    codes = [running[0].wait(60)]
    deadline = time.monotonic() + 20
    for process in running[1:]:  # a rank that waits for a killed one has nothing more to do
        try:
            codes.append(process.wait(max(0.1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(process.wait())
    return codes


def seen_before(work: Path, ranks: int, end: int) -> dict[int, list[int]]:
    """Return what the run on so many ranks was handed up to ``end``, by position."""
    lines = [line for file in work.glob(f"seen-{ranks}-*.jsonl") for line in file.read_text().splitlines()]
    return {position: rows for position, rows in map(json.loads, lines) if position < end}


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [1, 7])
def test_killed_and_resumed_on_another_number_of_ranks_the_rest_is_the_same(
    dataset: Dataset, tmp_path: Path, kill_at: int
) -> None:
    whole = list(chain(*sequence(dataset, 1, 14)))
    codes = run_ranks(dataset, tmp_path, ranks=2, kill_at=kill_at, workers=1)
    assert -signal.SIGKILL in codes
    checkpoint = tmp_path / "state.json"
    resumed_at = json.loads(checkpoint.read_text())["position"] if checkpoint.exists() else 0
    assert resumed_at == (kill_at + 1) // 3 * 3 * 8
    seen = seen_before(tmp_path, 2, resumed_at)
    assert run_ranks(dataset, tmp_path, ranks=1, kill_at=-1, workers=2) == [0]
    seen |= seen_before(tmp_path, 1, 10**9)
    assert list(chain(*(seen[position] for position in sorted(seen)))) == whole
    told = check_ledger(tmp_path / "ledger")
    assert [epoch.samples for epoch in told] == [COUNT, COUNT, COUNT, 1]
    assert all(epoch.is_right for epoch in told[:3])


def test_what_is_revoked_meanwhile_is_blank_from_the_next_batch_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revocations = tmp_path / "revocations.jsonl"
    monkeypatch.setenv("ATELIER_REVOCATIONS", str(revocations))
    dataset = write_dataset(tmp_path / "dataset", 8)
    loader = StreamLoader(dataset, settings(workers=2), ledger=tmp_path / "ledger")
    batches = iter(loader)
    assert next(batches).real.all()
    revoke(revocations, "flat-3")
    batch = next(batches)
    assert batch.rows[~batch.real].tolist() == [3]
    assert not batch.pictures[~batch.real].any() and batch.pictures[batch.real].any(dim=(1, 2, 3)).all()
    state = loader.state_dict()
    del batches
    assert [str(epoch) for epoch in check_ledger(tmp_path / "ledger")] == [
        "epoch 0: 8 of 8 samples, each exactly once",
        "epoch 1: 8 of 8 samples, 1 of them revoked meanwhile",
    ]
    again = StreamLoader(open_dataset(dataset.folder), settings(batch=4))
    assert 3 not in again.order.rows
    again.load_state_dict(state)
    rows = [batch.rows[batch.real].tolist() for batch in islice(again, 2)]
    assert sorted(chain(*rows)) == [0, 1, 2, 4, 5, 6, 7]


def revoke(file: Path, key: str) -> None:
    """Write a list of one line, as the registry's journal does but for the signature."""
    told = {"time": "2026-11-22T10:00:00.000+00:00", "who": "me", "reason": "asked", "held": {}}
    line = told | {"action": "revoke", "kind": "key", "value": key, "sequence": 1, "previous": "0" * 64}
    raw = json.dumps(line, sort_keys=True).encode()
    file.write_bytes(raw + b"\n")
    head = {"count": 1, "last": hashlib.sha256(raw).hexdigest()}
    file.with_name(file.name + ".head").write_text(json.dumps(head))


def test_a_damaged_sample_stops_the_run_with_its_name(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", 8)
    span = dataset.span(5)
    shard = dataset.folder / dataset.card.shards[0].file
    damaged = span[:1060] + bytes([span[1060] ^ 1]) + span[1061:]
    shard.write_bytes(shard.read_bytes().replace(span, damaged))
    for values in (
        {"checked": True},
        {"checked": True, "workers": 1},
        {"checked": True, "workers": 1, "processes": True},
    ):
        with pytest.raises(DatasetError, match=r"^[^\n]*shard-000000\.tar: sample flat-5: [^\n]*$"):
            next(iter(StreamLoader(open_dataset(dataset.folder), settings(**values))))


def test_pictures_are_put_over_a_ground_and_resized(dataset: Dataset) -> None:
    batch = next(iter(StreamLoader(dataset, settings(ground="#ffffff", side_px=8))))
    assert batch.pictures.shape == (8, 3, 8, 8)
    assert batch.pictures[0, :, 4, 4].tolist() == list(colour_of(int(batch.rows[0]))[:3])


def test_decoding_and_grounding_agree_with_pillow() -> None:
    sample = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")
    for row in range(0, len(sample), 50):
        theirs = np.asarray(sample.picture(row))
        ours = decode(sample.picture_bytes(row))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(
            over_ground(ours[None], (255, 255, 255))[0].astype(int), np.asarray(on_ground(sample.picture(row))), atol=1
        )
        small = sample.picture(row).resize((64, 64), Image.Resampling.BOX)
        np.testing.assert_array_equal(resized(ours, 64), np.asarray(small))


@pytest.mark.parametrize(
    ("form", "mode"), [*product(("PNG", "WEBP"), ("L", "LA", "RGB", "RGBA")), ("JPEG", "L"), ("JPEG", "RGB")]
)
def test_png_and_jpeg_are_read_too(form: str, mode: str, tmp_path: Path) -> None:
    colours: dict[str, Any] = {"L": 90, "LA": (90, 40), "RGB": (9, 90, 200), "RGBA": (9, 90, 200, 40)}
    picture = Image.new(mode, (6, 4), colours[mode])
    picture.save(tmp_path / "picture", form, **({"lossless": True} if form == "WEBP" else {}))
    out = np.empty((4, 6, 4), np.uint8)
    decode_into((tmp_path / "picture").read_bytes(), out)
    expected = np.asarray(Image.open(tmp_path / "picture").convert("RGBA")).astype(int)
    np.testing.assert_allclose(out.astype(int), expected, atol=2 if form == "JPEG" else 0)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError, match="its picture cannot be read"):
        decode_into(content, np.empty((4, 4, 4), np.uint8))
    with pytest.raises(DatasetError, match="its picture cannot be read"):
        decode(content)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "batch is 0: it must be 1 or more"),
        ({"workers": -1}, "workers is -1"),
        ({"last": "dropped"}, "last is 'dropped': it must be across or padded"),
        ({"ground": "paper"}, "ground is 'paper': it must be a colour"),
        ({"side_px": 0}, "side_px is 0"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        settings(**values)


def test_shapes_that_are_kept_are_not_squared(shaped: Dataset) -> None:
    with pytest.raises(DataError, match="side_px is 8, but pictures keep their shapes"):
        StreamLoader(shaped, settings(side_px=8))
