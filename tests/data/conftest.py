"""Small icon sets and pictures to ingest."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.build import BuildSettings, build_dataset
from data.dataset import Dataset
from data.iconify import IconifySource
from data.policy import load_policy

SQUARE = '<path fill="{fill}" d="M2 2h{side}v{side}H2z"/>'

Square = Callable[..., dict[str, Any]]
MakeSet = Callable[..., Path]
MakeDataset = Callable[..., Dataset]


@pytest.fixture(scope="session")
def square() -> Square:
    """Return a function that gives an icon of a filled square; different sides are different pictures."""

    def icon(side: int, fill: str = "currentColor") -> dict[str, Any]:
        return {"body": SQUARE.format(fill=fill, side=side)}

    return icon


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Return a function that writes an icon set as npm packs it, and returns the tarball."""

    def make(
        prefix: str,
        icons: dict[str, dict[str, Any]],
        *,
        licence: str | None = "MIT",
        palette: bool = False,
        metadata: dict[str, Any] | None = None,
        aliases: dict[str, Any] | None = None,
        category: str = "General",
        version: str = "1.0.0",
    ) -> Path:
        folder = tmp_path / "packages"
        content = {
            "icons": {"prefix": prefix, "width": 24, "height": 24, "icons": icons, "aliases": aliases or {}},
            "info": {
                "name": prefix.title(),
                "author": {"name": "A. Drawer", "url": "https://example.org"},
                "license": {"title": licence, "spdx": licence} if licence else {},
                "palette": palette,
                "category": category,
            },
            "metadata": metadata or {},
            "package": {"version": version},
        }
        folder.mkdir(exist_ok=True)
        for part, values in content.items():
            (tmp_path / f"{part}.json").write_text(json.dumps(values))
        path = folder / f"iconify-json-{prefix}-{version}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for part in content:
                archive.add(tmp_path / f"{part}.json", f"package/{part}.json")
        return path

    return make


@pytest.fixture
def make_dataset(make_set: MakeSet, square: Square, tmp_path: Path) -> MakeDataset:
    """Return a function that ingests two small sets, one coloured, and returns the dataset."""

    def make(out: str = "dataset", *, icons: int = 12, workers: int | None = 1, per_shard: int = 5) -> Dataset:
        if not (tmp_path / "packages").exists():  # packing again would give another tarball
            make_set("dots", {f"dot-{side}": square(side) for side in range(2, 2 + icons)})
            make_set("tiles", {f"dot-{side}": square(side, "#c33") for side in range(2, 2 + icons)}, palette=True)
        settings = BuildSettings(name="tiny", picture_px=32, samples_per_shard=per_shard, workers=workers)
        source = IconifySource(tmp_path / "packages")
        return build_dataset(source, load_policy("commercial"), tmp_path / out, settings)

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of three captioned PNG pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (64, 48), colour).save(folder / f"p{number}.png")
        (folder / f"p{number}.txt").write_text(f"a {colour} field\n")
    return folder
