"""What each source offers, what it refuses and why, and that a new one is a small class."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from pyarrow import parquet

from atelier import CONF_FOLDER
from data.build import BuildSettings, Source, build_dataset
from data.errors import SourceError
from data.notes import Columns, Note, Unreadable, Whole, note_of
from data.parquet import ParquetSource
from data.pictures import FolderSource
from data.policy import load_policy
from data.record import Drawing, Origin, Refused, sample_key
from data.tabular import TableSource
from data.tarred import TarSource


def png(colour: str, side_px: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w" if file.suffix == ".tar" else "w:gz") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file


def offered(source: Source) -> tuple[dict[str, Drawing], dict[str, tuple[str, str]]]:
    """Return drawings by key and refusals by key, and see that a second reading gives the same."""
    items, again = list(source.drawings()), list(source.drawings())
    assert items == again
    assert len({item.key for item in items}) == len(items)
    assert source.origins() == source.origins()
    drawings = {item.key: item for item in items if isinstance(item, Drawing)}
    return drawings, {item.key: (item.reason, item.detail) for item in items if isinstance(item, Refused)}


def reasons(source: Source) -> dict[str, str]:
    return {key: reason for key, (reason, _) in offered(source)[1].items()}


# A folder


def test_a_folder_reads_regular_files_of_its_own_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "good.png").write_bytes(png("red"))
    (folder / "good.txt").write_text("a red field")
    (folder / "inside.png").symlink_to(folder / "good.png")
    (tmp_path / "secret.png").write_bytes(png("blue"))
    (folder / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "folder.png").mkdir()
    (folder / "away").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(folder)  # a socket's path may be no longer than 107 bytes
        listening.bind("socket.png")
    (folder / "two\nlines.png").write_bytes(png("green"))
    (folder / os.fsdecode(b"bytes\xff.png")).write_bytes(png("green"))
    (folder / ("deep" * 30)).mkdir()
    (folder / ("deep" * 30) / ("deep" * 40)).mkdir()
    (folder / ("deep" * 30) / ("deep" * 40) / ("x" * 200 + ".png")).write_bytes(png("green"))
    drawings, refused = offered(FolderSource(folder, licence="MIT"))
    assert list(drawings) == ["mine__good"]
    assert sorted(reason for reason, _ in refused.values()) == [
        "caption missing",  # inside.png, whose picture may be read
        *["not a regular file"] * 5,
        *["unreadable file"] * 2,
        *["unsafe file name"] * 3,
    ]
    assert refused["mine__outside"][1] == refused["mine__away"][1] == "a link that leads out of the folder"
    assert refused["mine__pipe"][1] == "it is a pipe" and refused["mine__socket"][1] == "it is a socket"


@pytest.mark.parametrize(
    ("name", "content", "detail"),
    [
        ("p.json", b"{", "not a JSON object"),
        ("p.json", b"[" * 100_000, "not a JSON object"),
        ("p.json", b'{"caption": 3}', "'3', not text"),
        ("p.json", b'{"caption": "a", "licence": ["MIT"]}', "licence is"),
        ("p.txt", b"\xff\xfe\xff", "is not UTF-8"),
        ("p.txt", b"a" * 1_000_001, "has over 1,000,000 bytes"),
    ],
)
def test_a_broken_caption_file_costs_its_own_picture_alone(
    name: str, content: bytes, detail: str, tmp_path: Path
) -> None:
    for stem in ("o", "p"):
        (tmp_path / f"{stem}.png").write_bytes(png("red"))
        (tmp_path / f"{stem}.txt").write_text("a field")
    (tmp_path / name).write_bytes(content)
    drawings, refused = offered(FolderSource(tmp_path, licence="MIT", collection="mine"))
    assert list(drawings) == ["mine__o"]
    assert refused["mine__p"][0] == "caption unreadable" and detail in refused["mine__p"][1]


def test_a_caption_file_that_is_a_pipe_or_leads_out_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for stem in ("a", "b"):
        (folder / f"{stem}.png").write_bytes(png("red"))
    os.mkfifo(folder / "a.txt")
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "b.txt").symlink_to(tmp_path / "secret.txt")
    _, refused = offered(FolderSource(folder, licence="MIT"))
    assert refused["mine__a"] == ("caption unreadable", "a.txt: not a regular file: it is a pipe")
    assert refused["mine__b"][1] == "b.txt: not a regular file: a link that leads out of the folder"


def test_captions_say_whether_a_file_or_a_table_gave_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "a.json").write_text(json.dumps({"caption": "a fox", "tags": ["forest", "fox_tail"]}))
    (tmp_path / "captions.csv").write_text("file,caption\na.png,a red fox\n")
    (drawing,) = offered(FolderSource(tmp_path, licence="MIT", collection="mine"))[0].values()
    assert dict(zip(drawing.captions, drawing.caption_sources, strict=True)) == {
        "a fox": "sidecar",
        "a red fox": "table",
        "forest, fox tail": "tag",
    }


# A table


def write_table(file: Path, rows: list[dict[str, Any]]) -> Path:
    if file.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return file
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_says_what_each_picture_is(suffix: str, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(png("red"))
    (tmp_path / "secret.png").write_bytes(png("blue"))
    row = {
        "file": "a.png",
        "title": "A red fox",
        "licence": "CC-BY-4.0",
        "author": "A. Drawer",
        "url": "https://x.org/1",
    }
    rows = [
        row,
        row | {"title": "A fox, resting"},
        row | {"file": "b.png", "licence": ""},
        row | {"file": "a.png"},
        row | {"file": "../secret.png"},
        row | {"file": "/etc/passwd"},
        row | {"file": "missing.png"},
        row | {"file": "c.png", "title": ""},
        row | {"file": ""},
    ]
    source = TableSource(write_table(tmp_path / f"list{suffix}", rows), columns={"caption": "title"})
    drawings, refused = offered(source)
    first, second = drawings.values()
    assert first.captions == ("A red fox", "A fox, resting") and first.caption_sources == ("table", "table")
    assert (first.licence, first.creator, first.source_uri) == ("CC-BY-4.0", "A. Drawer", "https://x.org/1")
    assert second.licence is None, "the policy refuses it, with that reason"
    assert sorted(reason for reason, _ in refused.values()) == [
        "broken row",
        "caption missing",
        "listed twice",
        "unreadable file",
        "unsafe file name",
        "unsafe file name",
    ]


def test_a_broken_row_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png("red"))
    (tmp_path / "list.csv").write_bytes(b"file,caption\na.png,one,two\nb.png,h\xe9ron\n")
    drawings, refused = offered(TableSource(tmp_path / "list.csv", licence="MIT"))
    assert [drawing.caption_sources for drawing in drawings.values()] == [("table",)]
    assert refused["list__row-1-" + key_digest("list", "row 1")] == (
        "broken row",
        "list.csv row 1: 3 cells under 2 columns",
    )


def key_digest(collection: str, name: str) -> str:
    return sample_key(collection, name).rsplit("-", 1)[-1]


def test_what_is_no_table_is_one_line(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.csv", b"picture,words\n", r"lacks the column 'file'; it has picture, words"),
        ("a.csv", b"", "lacks the column 'file'; it has none"),
        ("a.parquet", b"PAR1 no", "is not a whole Parquet file"),
        ("a.xlsx", b"", "wants a .csv, .tsv or .parquet file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=message) as told:
            list(TableSource(tmp_path / name).drawings())
        assert "\n" not in str(told.value)
    with pytest.raises(SourceError, match="does not exist"):
        TableSource(tmp_path / "nowhere.csv").origins()
    with pytest.raises(SourceError, match=r"source\.columns has 'title': it may name caption, creator"):
        list(TableSource(tmp_path / "a.csv", columns={"title": "caption"}).drawings())


def test_another_byte_of_a_picture_or_a_table_is_another_origin(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    table = write_table(tmp_path / "list.csv", [{"file": "a.png", "caption": "red"}])
    seen = {TableSource(table).origins()[0].sha256}
    (tmp_path / "a.png").write_bytes(png("blue"))
    seen.add(TableSource(table).origins()[0].sha256)
    write_table(table, [{"file": "a.png", "caption": "blue"}])
    seen.add(TableSource(table).origins()[0].sha256)
    assert len(seen) == 3


# Tars


def test_tars_of_webdataset_and_img2dataset_are_read(tmp_path: Path) -> None:
    said = {"caption": "a red fox", "url": "https://x.org/1.jpg", "license": "CC-BY-4.0", "author": "A", "width": 40}
    write_tar(
        tmp_path / "00000.tar",
        {
            "000000000.json": json.dumps(said).encode(),
            "000000000.png": png("red"),
            "000000000.txt": b"a red fox\n",
            "000000002.webp": png("green"),
            "000000002.txt": b"green",
        },
    )
    rows = [
        {"key": "000000000", "status": "success", "error_message": None, "caption": "a red fox", "LICENSE": None},
        {"key": "000000001", "status": "failed_to_download", "error_message": "404", "caption": "x", "LICENSE": None},
        {"key": "000000002", "status": "success", "error_message": None, "caption": "green", "LICENSE": "CC0-1.0"},
        {"key": "000000003", "status": "success", "error_message": None, "caption": "lost", "LICENSE": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "00000.parquet")
    write_tar(tmp_path / "00001.tar.gz", {"sub/a.jpg": png("blue"), "sub/a.txt": b"blue"})
    drawings, refused = offered(TarSource(tmp_path, collection="web"))
    fox, green, blue = drawings.values()
    assert fox.captions == ("a red fox",) and fox.caption_sources == ("sidecar",)
    assert (fox.licence, fox.creator, fox.source_uri) == ("CC-BY-4.0", "A", "https://x.org/1.jpg")
    assert (green.licence, green.evidence) == ("CC0-1.0", "stated in 00000.tar")
    assert (blue.licence, blue.source_uri, blue.content) == (None, "wds:web/00001/sub/a", png("blue"))
    assert sorted(refused.values()) == [("never downloaded", "404"), ("picture missing", "success")]


class Bomb:
    """Says so if anybody unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_what_a_tar_may_do_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(Bomb())
    members = {"a.pkl": bomb, "a.pyd": bomb, "a.pth": bomb, "a.png": png("red"), "a.txt": b"red"}
    members |= {"b.left.png": png("red"), "b.right.png": png("blue"), "b.txt": b"two"}
    members |= {"c.txt": b"no picture", "d.png": png("red"), "d.json": b"[1]", "e.png": png("red"), "e.txt": b"\xff"}
    members |= {"a.webp": png("red"), "../../up.png": png("red"), "../../up.txt": b"climbing"}
    file = write_tar(tmp_path / "x.tar", members)
    with tarfile.open(file, "a") as archive:
        for name, kind in (("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE), ("p.png", tarfile.FIFOTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
    drawings, refused = offered(TarSource(file))
    assert [drawing.captions for drawing in drawings.values()] == [("red",), ("climbing",)]
    assert sorted(reason for reason, _ in refused.values()) == [
        "caption missing",  # the second a, which has no text
        "caption unreadable",
        "caption unreadable",
        "not a regular file",
        "not a regular file",
        "not a regular file",
        "picture missing",
        "several pictures",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar"}


def cut_short(content: bytes) -> bytes:
    return content[: 2 * 2048 + 700]


def cut_between_members(content: bytes) -> bytes:
    return content[: 2 * 2048 + 1024]


def spoil_a_header(content: bytes) -> bytes:
    return content[: 2 * 2048 + 1024] + b"\xaa" * 512 + content[2 * 2048 + 1536 :]


@pytest.mark.parametrize("damage", [cut_short, cut_between_members, spoil_a_header])
def test_a_damaged_tar_gives_what_lies_before_and_says_so(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A sample takes 2,048 bytes here; the one at the damage may lack its licence, so it does not count as whole."""
    sample = {f"{name}.{end}": content for name in "abc" for end, content in (("png", png("red")), ("txt", b"red"))}
    file = write_tar(tmp_path / "x.tar", sample)
    file.write_bytes(damage(file.read_bytes()))
    write_tar(tmp_path / "y.tar", {"d.png": png("green"), "d.txt": b"green"})
    drawings, refused = offered(TarSource(tmp_path, collection="web"))
    assert [drawing.captions for drawing in drawings.values()] == [("red",), ("red",), ("green",)]
    ((reason, detail),) = refused.values()
    assert reason == "broken tar" and "x.tar is damaged after" in detail


def test_what_holds_no_tars_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no tars"):
        list(TarSource(tmp_path).drawings())
    with pytest.raises(SourceError, match="holds no tars"):
        list(TarSource("pipe:cat /etc/passwd").drawings())
    (tmp_path / "x.tar").write_bytes(b"not a tar" * 100)
    assert list(reasons(TarSource(tmp_path / "x.tar")).values()) == ["broken tar"]
    (tmp_path / "y.tar.gz").write_bytes(b"\x1f\x8b not a tar" * 100)
    assert list(reasons(TarSource(tmp_path / "y.tar.gz")).values()) == ["broken tar"]


def test_a_tar_is_streamed_a_sample_at_a_time(tmp_path: Path) -> None:
    """Each member is a megabyte and is let go before the next."""
    import tracemalloc

    noise = os.urandom(1_000_000)
    write_tar(tmp_path / "x.tar", {f"{n}.{end}": noise for n in range(40) for end in ("png", "txt")} | {"z.txt": b"z"})
    tracemalloc.start()
    for _ in TarSource(tmp_path).drawings():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


# Hugging Face


def write_hub(file: Path, rows: list[dict[str, Any]], **rest: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kinds = {"image": picture, "text": pyarrow.string(), "license": pyarrow.string()}
    columns = {name: pyarrow.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    parquet.write_table(pyarrow.table(columns), file, **rest)
    return file


def test_a_hugging_face_folder_is_read(tmp_path: Path) -> None:
    image = {"bytes": png("red"), "path": "1.png"}
    rows: list[dict[str, Any]] = [
        {"image": image, "text": "a red field", "license": "CC0-1.0"},
        {"image": image, "text": None},
        {"image": {"bytes": None, "path": "/elsewhere/2.png"}, "text": "elsewhere"},
        {"image": None, "text": "nothing"},
    ]
    write_hub(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    drawings, refused = offered(ParquetSource(tmp_path, collection="hub"))
    (drawing,) = drawings.values()
    assert drawing.key == "hub__data-train-00000-of-00001-0-" + key_digest("hub", "data/train-00000-of-00001/0")
    assert (drawing.captions, drawing.licence, drawing.content) == (("a red field",), "CC0-1.0", png("red"))
    assert [reason for reason, _ in refused.values()] == ["caption missing", "picture missing", "picture missing"]


def test_plain_bytes_and_other_names_are_read_too(tmp_path: Path) -> None:
    table = pyarrow.table({"jpg": [png("red")], "TEXT": ["red"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (drawing,) = offered(ParquetSource(tmp_path / "a.parquet", picture_column="jpg", licence="MIT"))[0].values()
    assert drawing.captions == ("red",)
    with pytest.raises(SourceError, match=r"a\.parquet lacks the column 'image'; it has jpg, TEXT"):
        list(ParquetSource(tmp_path / "a.parquet").drawings())


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    file = write_hub(tmp_path / "a.parquet", [{"image": {"bytes": png("red"), "path": "a"}, "text": "red"}])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SourceError, match="is not a whole Parquet file"):
        list(ParquetSource(tmp_path).drawings())
    with pytest.raises(SourceError, match="holds no Parquet files"):
        list(ParquetSource(tmp_path / "nowhere").drawings())


def test_row_groups_are_read_one_at_a_time(tmp_path: Path) -> None:
    noise = [{"image": {"bytes": os.urandom(200_000), "path": ""}, "text": str(n)} for n in range(100)]
    write_hub(tmp_path / "a.parquet", noise, row_group_size=5)
    before = pyarrow.total_allocated_bytes()
    peak = max(pyarrow.total_allocated_bytes() - before for _ in ParquetSource(tmp_path).drawings())
    assert peak < 10_000_000, "of 20 MB"


# What all have in common


def test_a_note_is_of_one_line_each_and_cut() -> None:
    values = {"caption": ["a\tb\n c", "a b c", "x" * 900], "tags": "one; two,two|three", "licence": " MIT "}
    note = note_of(values, Columns(), source="table")
    assert isinstance(note, Note)
    assert note.captions == ("a b c", "x" * 500, "one, two, three") and note.licence == "MIT"
    assert note.caption_sources == ("table", "table", "tag")
    assert isinstance(note_of({"caption": "a", "licence": "M" * 3000}, Columns(), source="table"), Unreadable)
    assert note_of({"caption": "a\ud800"}, Columns(), source="table") == Note(("a?",), ("table",))


@pytest.mark.parametrize("name", ["table", "webdataset", "parquet"])
def test_the_settings_name_the_columns_that_the_code_knows(name: str) -> None:
    settings = OmegaConf.load(CONF_FOLDER / "source" / f"{name}.yaml")
    assert Columns.named(OmegaConf.to_container(settings.columns)) == Columns()  # type: ignore[arg-type]


class Swatches:
    """A new source, as docs/sources.md shows it: plain colours by name, from a text file of two words a line."""

    def __init__(self, path: str, licence: str) -> None:
        self.path, self.whole = Path(path), Whole(collection="swatches", licence=licence)

    def origins(self) -> list[Origin]:
        return [self.whole.origin("file:swatches", hashlib.sha256(self.path.read_bytes()).hexdigest())]

    def drawings(self) -> Iterator[Drawing | Refused]:
        for line in self.path.read_text().splitlines():
            name, colour = line.split()
            yield self.whole.drawing(
                Note(captions=(name,), caption_sources=("name",)),
                name=name,
                content=png(colour),
                uri=f"file:swatches#{name}",
                evidence="",
                retrieved="2026-01-31",
            )


def test_a_new_source_is_one_small_class(tmp_path: Path) -> None:
    (tmp_path / "colours.txt").write_text("rose #e34\nsky #39f\n")
    settings = {"_target_": f"{__name__}.Swatches", "path": str(tmp_path / "colours.txt"), "licence": "CC0-1.0"}
    source = instantiate(settings)
    settings_of_build = BuildSettings(name="swatches", picture_px=32, workers=1)
    dataset = build_dataset(source, load_policy("commercial"), tmp_path / "out", settings_of_build)
    assert sorted(record.caption for record in dataset.records) == ["rose", "sky"]


@pytest.mark.parametrize("kind", ["table", "webdataset", "parquet"])
def test_a_source_is_ingested_from_its_settings(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("red"))
    path = {
        "table": lambda: write_table(tmp_path / "list.csv", [{"file": "a.png", "caption": "red", "licence": "MIT"}]),
        "webdataset": lambda: write_tar(
            tmp_path / "x.tar", {"a.png": png("red"), "a.txt": b"red", "a.json": b'{"license": "MIT"}'}
        ),
        "parquet": lambda: write_hub(
            tmp_path / "x.parquet", [{"image": {"bytes": png("red"), "path": ""}, "text": "red", "license": "MIT"}]
        ),
    }[kind]()
    settings = OmegaConf.load(CONF_FOLDER / "source" / f"{kind}.yaml")
    source = instantiate(OmegaConf.merge(settings, {"path": str(path)}))
    build = BuildSettings(name="one", picture_px=32, workers=1)
    (record,) = build_dataset(source, load_policy("commercial"), tmp_path / "out", build).records
    assert (record.caption, record.licence, record.subject) == ("red", "MIT", "red")
    assert record.caption_sources == (("table",) if kind != "webdataset" else ("sidecar",))
