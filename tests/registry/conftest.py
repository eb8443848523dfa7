"""Small artifacts, figures files and a real MLflow database, made once and copied."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts import digest_folder, write_card
from registry.mlflow import ModelStore
from registry.register import register_model
from registry.settings import RegistrySettings

MakeModel = Callable[..., Path]
MakeFigures = Callable[..., Path]


def card_of(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    dataset = {
        "name": "learn",
        "version": "a1b2c3d4e5f60718",
        "policy": "share_alike",
        "licences": {"CC-BY-SA-4.0": 60},
        "pictures": 60,
        "exposure_pictures": 4800,
        "attribution": ["OpenMoji, https://openmoji.org"],
    }
    card = {
        "kind": kind,
        "name": name,
        "datasets": [dataset],
        "licence": "CC-BY-SA-4.0",
        "obligations": ["name OpenMoji and share alike"],
        "seed": 7,
        "code_commit": "0123456789abcdef",
        "config": {"rank": 16, "rate": 0.001},
        "run": {"images_seen": 4800, "seconds": 61.5, "hardware": "2 CPU cores"},
        "created": "2026-11-22T09:00:00+00:00",
    }
    return card | fields


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    path = folder / "mlflow.db"
    ModelStore(f"sqlite:///{path}", folder / "artifacts")._client  # noqa: B018
    return path


@pytest.fixture
def registry(tmp_path: Path, empty_database: Path) -> RegistrySettings:
    """A registry without models."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(empty_database, tmp_path / "var/mlflow.db")
    return settings_in(tmp_path)


@pytest.fixture(scope="session")
def three_adapters(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("registered")
    (folder / "var").mkdir()
    shutil.copyfile(empty_database, folder / "var/mlflow.db")
    for content, brand in (("one", 60.0), ("two", 55.0), ("three", 115.0)):
        model = adapter_in(folder, content)
        figures = figures_in(folder, model, brand=brand) / "figures.json"
        register_model(model, "brand-openmoji", figures_file=figures, store=settings_in(folder).store)
    return folder


@pytest.fixture
def registered(tmp_path: Path, three_adapters: Path) -> RegistrySettings:
    """A registry with three versions of brand-openmoji: the first two pass their gate, the third does not."""
    shutil.copytree(three_adapters / "var", tmp_path / "var")
    return settings_in(tmp_path)


@pytest.fixture
def make_backbone(tmp_path: Path) -> MakeModel:
    return functools.partial(backbone_in, tmp_path)


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeModel:
    return functools.partial(adapter_in, tmp_path)


@pytest.fixture
def make_figures(tmp_path: Path) -> MakeFigures:
    return functools.partial(figures_in, tmp_path)


def settings_in(folder: Path) -> RegistrySettings:
    return RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/var/mlflow.db",
        artifact_root=str(folder / "var/mlartifacts"),
        journal=str(folder / "var/journal.jsonl"),
        key=str(folder / "var/keys/promotion.pem"),
        revocations=str(folder / "var/revocations.jsonl"),
    )


def backbone_in(parent: Path, content: str = "weights", **fields: Any) -> Path:
    folder = parent / f"backbone-{content}"
    (folder / "transformer").mkdir(parents=True, exist_ok=True)
    (folder / "transformer/weights.safetensors").write_text(content)
    write_card(folder, card_of("backbone", "base", **fields))
    return folder


def adapter_in(parent: Path, content: str = "weights", **fields: Any) -> Path:
    base = backbone_in(parent)
    folder = parent / f"adapter-{content}"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_text(content)
    source = {"name": "base", "digest": digest_folder(base), "source": str(base)}
    write_card(folder, card_of("adapter", "openmoji", brand="openmoji", base=source) | fields)
    return folder


def figures_in(parent: Path, model: Path, *, brand: float = 60.0, suite: str = "brand") -> Path:
    folder = parent / f"evaluation-{model.name}-{suite}"
    folder.mkdir(exist_ok=True)
    figures = [
        figure("frechet_distance_brand", brand, brand - 5, brand + 5, "frechet/x/N=128"),
        figure("frechet_distance_unadapted", 92.0, 88.0, 97.0, "frechet/x/N=128"),
        figure("kernel_distance_brand", brand / 1000, None, None, "kernel/x/N=128"),
        figure("kernel_distance_unadapted", 0.08, None, None, "kernel/x/N=128"),
        figure("frechet_ratio_heldout", brand / 50, brand / 50 - 0.1, brand / 50 + 0.1, "ratio/x/N=128"),
        figure("kernel_distance_heldout", 0.03, 0.02, 0.04, "kernel/x/N=128"),
    ]
    measured = {"reference": str(model), "digest": digest_folder(model)}
    document = {"model": measured, "suite": suite, "seed": 0, "figures": figures, "pictures": {}}
    (folder / "figures.json").write_text(json.dumps(document))
    (folder / "report.html").write_text("<h1>report</h1>")
    return folder


def figure(name: str, value: float, low: float | None, high: float | None, identity: str) -> dict[str, Any]:
    bounds = {"low": low, "high": high, "count": 128}
    return {"name": name, "value": value, "identity": identity, "better": "lower", **bounds}
