"""An ingest that stops, however it stops, and goes on: nothing half-written, nothing finished drawn again."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest

from data.build import BuildSettings, build_dataset
from data.dataset import Dataset
from data.draw import Chunk
from data.errors import DatasetError, SourceError
from data.iconify import IconifySource
from data.partial import partial_file
from data.parts import PartWriter
from data.policy import load_policy
from data.shards import ShardWriter
from data.workers import LocalEngine, Result, Task

ICONS, PART = 60, 8
SETTINGS = BuildSettings(name="tiny", picture_px=32, samples_per_shard=7, workers=1, part_drawings=PART)
RUN = """
import sys
from pathlib import Path
from data.build import BuildSettings, build_dataset
from data.iconify import IconifySource
from data.policy import load_policy

path, out, part = sys.argv[1:]
settings = BuildSettings(name="tiny", picture_px=32, samples_per_shard=7, workers=1, part_drawings=int(part))
build_dataset(IconifySource(path), load_policy("commercial"), Path(out), settings)
"""


class MakeSet(Protocol):
    def __call__(self, prefix: str, icons: dict[str, Any], **rest: Any) -> Path: ...


class Counting:
    """The local engine, counting the drawings that it is given; stops like a person after some of them."""

    def __init__(self, most: int | None = None, stop: BaseException | None = None) -> None:
        self.drawings = 0
        self._most, self._stop = most, stop

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        for task in tasks:
            assert isinstance(task, Chunk)
            if self._stop is not None and self._most is not None and self.drawings >= self._most:
                raise self._stop
            self.drawings += len(task.items)
            yield from LocalEngine(workers=1).map(work, [task])


@pytest.fixture
def packages(make_set: MakeSet) -> Path:
    """Drawings that take a few milliseconds each."""
    heavy = "".join(f'<circle cx="12" cy="12" r="{9 + n / 1000}" opacity=".5"/>' for n in range(60))
    return make_set("dots", {f"dot-{n:02d}": {"body": f'<g>{heavy}<path d="M0 0h{n}v9z"/></g>'} for n in range(ICONS)})


def build(packages: Path, out: Path, engine: Counting | None = None) -> Dataset:
    return build_dataset(IconifySource(packages), load_policy("commercial"), out, SETTINGS, engine=engine)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def partial_folders(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f".{out.name}.partial-*"))


def parts(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f".{out.name}.partial-*/parts/part-*"))


def test_a_killed_ingest_goes_on_where_it_stopped(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", RUN, packages, out, str(PART)]) as process:
        deadline = time.monotonic() + 60
        while len(parts(out)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    finished = len(parts(out))
    assert finished >= 2 and not out.exists()
    engine = Counting()
    resumed = build(packages, out, engine)
    assert engine.drawings == ICONS - finished * PART
    assert not partial_folders(out)
    whole = build(packages, tmp_path / "whole")
    assert resumed.card.version == whole.card.version
    assert files(resumed.folder) == files(whole.folder)


def test_an_interruption_keeps_finished_parts_and_says_so(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt, match="3 finished parts are kept"):
        build(packages, out, Counting(3 * PART, KeyboardInterrupt()))
    assert len(parts(out)) == 3 and not out.exists()
    engine = Counting()
    build(packages, out, engine)
    assert engine.drawings == ICONS - 3 * PART


def test_an_interruption_before_the_first_part_leaves_nothing(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(packages, tmp_path / "out", Counting(0, KeyboardInterrupt()))
    assert not partial_folders(tmp_path / "out")


@pytest.mark.parametrize("where", [(PartWriter, "add"), (ShardWriter, "write")])
def test_a_full_disk_is_told_and_leaves_what_is_finished(
    where: tuple[type, str], packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, method = where
    real, calls = getattr(writer, method), iter(range(ICONS))

    def until_it_is_full(self: Any, *sample: Any) -> Any:
        if next(calls) == 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *sample)

    with monkeypatch.context() as full:
        full.setattr(writer, method, until_it_is_full)
        with pytest.raises(DatasetError, match=r"no space is left in .* run the same command again to go on"):
            build(packages, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    finished = len(parts(tmp_path / "out"))
    assert finished >= 2
    engine = Counting()
    build(packages, tmp_path / "out", engine)
    assert engine.drawings == max(0, ICONS - finished * PART)


def test_what_was_left_for_other_inputs_is_removed_unless_someone_is_at_work(packages: Path, tmp_path: Path) -> None:
    left, held = tmp_path / ".out.partial-1111", tmp_path / ".out.partial-2222"
    for folder in (left, held):
        (folder / "parts" / "part-000000").mkdir(parents=True)
    descriptor = os.open(held / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        build(packages, tmp_path / "out")
        assert partial_folders(tmp_path / "out") == [held]
    finally:
        os.close(descriptor)


def test_two_processes_do_not_write_the_same(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build(packages, out, Counting(PART, KeyboardInterrupt()))
    descriptor = os.open(partial_folders(out)[0] / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another process is making"):
            build(packages, out)
    finally:
        os.close(descriptor)
    assert len(build(packages, out)) > 0


def test_a_source_that_gives_nothing_leaves_nothing(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set("dots", {"a": {"body": "<g/>"}})
    with pytest.raises(SourceError, match=r"no picture was admitted \(empty picture: 1\)"):
        build(path, tmp_path / "out")
    assert not partial_folders(tmp_path / "out")


def test_a_file_takes_its_place_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "new" / "table.csv"
    with partial_file(out) as partial:
        partial.write_text("whole")
    with pytest.raises(KeyboardInterrupt), partial_file(out) as partial:
        partial.write_text("torn")
        raise KeyboardInterrupt
    assert [(file.name, file.read_text()) for file in out.parent.iterdir()] == [("table.csv", "whole")]
