"""From icon sets to a dataset: what is kept, what is refused, and that the bytes depend on the input alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import pytest

from data.build import BuildSettings, build_dataset
from data.dataset import Dataset, open_dataset
from data.errors import DataError, DatasetError, SourceError
from data.iconify import IconifySource
from data.policy import load_policy

ATELIER = Path(sys.executable).with_name("atelier")
SETTINGS = BuildSettings(name="tiny", picture_px=32, workers=1)


class MakeSet(Protocol):
    def __call__(self, prefix: str, icons: dict[str, Any], **rest: Any) -> Path: ...


class Square(Protocol):
    def __call__(self, side: int, fill: str = ...) -> dict[str, Any]: ...


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, icons: int = ..., workers: int | None = ...) -> Dataset: ...


def build(path: Path, out: Path, policy: str = "commercial") -> Dataset:
    return build_dataset(IconifySource(path), load_policy(policy), out, SETTINGS)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_bytes_are_the_same_whatever_the_number_of_workers(make_dataset: MakeDataset) -> None:
    one = make_dataset("one", workers=1)
    for workers in (2, 4):
        other = make_dataset(str(workers), workers=workers)
        assert one.card.version == other.card.version
        assert files(one.folder) == files(other.folder)


def test_records_say_where_a_picture_comes_from(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    path = make_set(
        "ph",
        {"cat-bold": square(9)},
        metadata={"suffixes": {"": "Regular", "bold": "Bold"}, "categories": {"Nature": ["cat-bold"]}},
        aliases={"tomcat-bold": {"parent": "cat-bold"}, "cat-left-bold": {"parent": "cat-bold", "hFlip": True}},
    )
    record = build(path, tmp_path / "out").records[0]
    assert (record.key, record.subject, record.style) == ("ph__cat-bold", "cat", "ph-bold")
    assert record.captions == ("cat", "tomcat", "cat, nature")
    assert (record.licence, record.creator, record.monochrome) == ("MIT", "A. Drawer", True)
    assert record.source_uri == "pkg:npm/%40iconify-json/ph@1.0.0#cat-bold"
    assert "license.spdx" in record.evidence


def test_each_refusal_is_counted_and_listed(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    make_set(
        "emoji-tiny",
        {
            "cat": square(3, "#111"),
            "dog": square(4, "#111"),
            "dog-again": square(4, "#111"),
            "judge-light-skin-tone": square(5, "#111"),
            "flag-france": square(6, "#111"),
            "old": square(7, "#111") | {"hidden": True},
            "nothing": {"body": "<g/>"},
            "active": {"body": "<script>1</script>"},
            "wave-16": square(8, "#111"),
            "wave-24": square(9, "#111"),
        },
        palette=True,
        metadata={"suffixes": {"16": "16", "24": "24"}},
    )
    make_set("shared", {"a": square(3)}, licence="CC-BY-SA-4.0")
    make_set("bare", {"b": square(3)}, licence=None)
    make_set("odd", {"c": square(3)}, licence="do as you like")
    make_set("logos", {"d": square(3)}, licence="CC0-1.0")
    dataset = build(tmp_path / "packages", tmp_path / "out")
    assert sorted(record.key for record in dataset.records if "dog" not in record.key) == [
        "emoji-tiny__cat",
        "emoji-tiny__wave-24",
    ]
    assert len(dataset) == 3
    assert dataset.card.refused == {
        "empty picture": 1,
        "exact duplicate": 1,
        "flag": 1,
        "hidden by its set": 1,
        "licence missing": 1,
        "licence not in policy": 1,
        "licence unknown": 1,
        "size variant": 1,
        "skin tone variant": 1,
        "trademark": 1,
        "unsafe or broken SVG": 1,
    }
    listed = [json.loads(line) for line in (dataset.folder / "refusals.jsonl").read_text().splitlines()]
    assert len(listed) == sum(dataset.card.refused.values())
    assert {"logos__d", "bare__b"} <= {item["key"] for item in listed}
    attribution = (dataset.folder / "ATTRIBUTION.md").read_text()
    assert "A. Drawer" in attribution and "logos" not in attribution


def test_share_alike_is_admitted_where_the_policy_says_so(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    path = make_set("shared", {"a": square(3)}, licence="CC-BY-SA-4.0")
    with pytest.raises(SourceError, match=r"no picture was admitted .*policy commercial"):
        build(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert build(path, tmp_path / "out", "share_alike").card.licences == {"CC-BY-SA-4.0": 1}


def test_a_finished_dataset_is_returned_and_another_is_left_alone(
    make_set: MakeSet, square: Square, tmp_path: Path
) -> None:
    path, out = make_set("dots", {"a": square(3)}), tmp_path / "out"
    first = build(path, out)
    before = (out / "dataset.json").stat().st_mtime_ns
    assert build(path, out).card == first.card
    assert (out / "dataset.json").stat().st_mtime_ns == before
    other = make_set("tiles", {"a": square(4)})
    with pytest.raises(DatasetError, match="made from other inputs"):
        build(other, out)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is not a dataset"):
        build(path, tmp_path / "letters")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_command_says_so_in_one_line(
    stop: signal.Signals, make_set: MakeSet, square: Square, tmp_path: Path
) -> None:
    heavy = "".join(f'<circle cx="12" cy="12" r="{9 + n / 1000}" opacity=".5"/>' for n in range(1500))
    path = make_set("dots", {f"dot-{n}": {"body": f'<g id="g{n}">{heavy}</g>'} for n in range(300)})
    arguments = ["ingest", "source=iconify", f"source.path={path}", f"out={tmp_path / 'out'}", "workers=1"]
    # A job started in the background ignores Ctrl-C; a person's does not.
    start = f"import signal; signal.signal(2, signal.default_int_handler); import atelier; atelier.main({arguments})"
    with subprocess.Popen([sys.executable, "-c", start], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.partial-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(stop)
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(30) == 130
    assert "interrupted; run the same command again" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not an icon set"),
        ("a.json", b"{}", "has no 'prefix' and 'icons'"),
        ("a.tgz", b"not a tarball", "is not an icon set"),
    ],
)
def test_what_is_no_icon_set(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        build(tmp_path / name, tmp_path / "out")


def test_sources_say_what_is_missing(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        build(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no icon sets"):
        build(tmp_path / "empty", tmp_path / "out")
    make_set("dots", {"a": square(3)})
    with pytest.raises(SourceError, match="lacks tiles: fetch with npm pack @iconify-json/tiles"):
        _ = IconifySource(tmp_path / "packages", ["dots", "tiles"]).sets
    with pytest.raises(SourceError, match=r"holds dots 1\.0\.0, not 1\.2\.3"):
        _ = IconifySource(tmp_path / "packages", {"dots": "1.2.3"}).sets
    make_set("dots", {"a": square(3)}, version="1.0.1")
    with pytest.raises(SourceError, match="two versions of set dots"):
        _ = IconifySource(tmp_path / "packages").sets


def test_an_unpacked_package_and_a_bare_file_are_read_too(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    make_set("dots", {"a": square(3)})
    package = tmp_path / "package"
    package.mkdir()
    for part in ("icons", "info"):
        (tmp_path / f"{part}.json").rename(package / f"{part}.json")
    assert len(build(package, tmp_path / "one")) == 1
    icons = json.loads((package / "icons.json").read_text())
    icons["info"] = json.loads((package / "info.json").read_text())
    (tmp_path / "dots.json").write_text(json.dumps(icons))
    assert build(tmp_path / "dots.json", tmp_path / "two").records[0].licence == "MIT"


@pytest.mark.parametrize(
    "wrong",
    [{"picture_px": 8}, {"picture_px": 4096}, {"samples_per_shard": 0}, {"workers": 0}, {"part_drawings": 0}],
)
def test_settings_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        BuildSettings(name="x", **wrong)


def test_the_command_ends_with_a_table_and_verifies(make_set: MakeSet, square: Square, tmp_path: Path) -> None:
    path, out = make_set("dots", {"a": square(3), "b": square(4)}), tmp_path / "out dir"
    command = [str(ATELIER), "ingest", "source=iconify", f"source.path={path}", "policy=commercial", f"out={out}"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "dots" in first.stdout and f"version {open_dataset(out).card.version}" in first.stdout
    sound = subprocess.run([ATELIER, "verify", str(out)], capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stderr
    assert "every digest, count and the version are right" in sound.stdout
    shard = out / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    broken = subprocess.run([ATELIER, "verify", str(out)], capture_output=True, text=True, check=False)
    assert broken.returncode == 2
    assert "shard-000000.tar: sample dots__" in broken.stderr
    assert "Traceback" not in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source=iconify", "out=x"], "source.path is not given"),
        (["source=iconify", "source.path=nowhere"], "out is not given"),
        (["source=iconfy", "source.path=a", "out=x"], "iconfy"),
        (["source=iconify", "source.path=nowhere", "out=x", "policies=commercial"], "policies"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = subprocess.run([ATELIER, "ingest", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
