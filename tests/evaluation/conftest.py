"""Small datasets of painted shapes, and tiny random models: enough for every suite to run in seconds."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.core.config_store import ConfigStore
from PIL import Image, ImageDraw

from data.record import Record, sample_key
from data.writer import DatasetWriter, Provenance
from registry.artifacts import digest_folder
from registry.mlflow import ModelStore
from synthesis.testing import make_tiny_brand, make_tiny_pipeline

MakeDataset = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose from the files, not from what a verb that was imported before keeps in memory."""
    monkeypatch.delitem(ConfigStore.instance().repo, "registry", raising=False)


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Return a maker of dataset folders: ``count`` shapes whose looks depend on ``seed``."""

    def make(folder: Path, count: int, *, seed: int = 0, splits: tuple[str, ...] = ("heldout_subject",)) -> Path:
        folder.mkdir(parents=True)
        writer = DatasetWriter(folder)
        for number in range(count):
            content = _shape(seed * 10_000 + number)
            writer.add(_record(folder.name, number, splits[number % len(splits)], content), content)
        provenance = Provenance(name=folder.name, policy="commercial", picture_px=128, origins=(), inputs_sha256="")
        writer.finish(provenance)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random backbone's folder."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("models") / "backbone")


@pytest.fixture(scope="session")
def tiny_brand(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Path:
    """Return a random adapter's folder, made for the random backbone."""
    folder = tmp_path_factory.mktemp("brands") / "shapes"
    return make_tiny_brand(folder, tiny_backbone, "shapes", base_digest=digest_folder(tiny_backbone))


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelStore(f"sqlite:///{path}", path.parent)._client  # noqa: B018
    return path


@pytest.fixture
def store(tmp_path: Path, _empty_database: Path) -> ModelStore:
    """Return a registry without models, on a real database: making its tables takes seconds, so it is copied."""
    shutil.copyfile(_empty_database, tmp_path / "mlflow.db")
    return ModelStore(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")


def _shape(seed: int) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    red, green, blue, left, top, kind = torch.randint(0, 60, (6,), generator=generator).tolist()
    picture = Image.new("RGBA", (128, 128))
    pen = ImageDraw.Draw(picture)
    draw = pen.ellipse if kind % 2 else pen.rectangle
    draw((left, top, left + 64, top + 40 + kind // 4), fill=(4 * red, 4 * green, 4 * blue, 255), outline="black")
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=True)
    return buffer.getvalue()


def _record(collection: str, number: int, split: str, content: bytes) -> Record:
    caption = f"shape number {number}"
    return Record(
        key=sample_key(collection, f"shape-{number}"),
        caption=caption,
        captions=(caption,),
        subject=f"shape-{number}",
        collection=collection,
        style=("noto", "twemoji")[number % 2],
        split=split,
        monochrome=False,
        licence="MIT",
        creator="The test",
        creator_url="",
        source_uri="",
        evidence="drawn by the test",
        sha256=hashlib.sha256(content).hexdigest(),
        retrieved="2026-01-01",
    )
