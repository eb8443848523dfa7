"""Small artifacts, figures files and a real MLflow database, made once and copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts import digest_folder, write_card
from registry.mlflow import ModelStore
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
    (tmp_path / "var").mkdir()
    shutil.copyfile(empty_database, tmp_path / "var/mlflow.db")
    return settings_in(tmp_path)


def settings_in(folder: Path) -> RegistrySettings:
    return RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/var/mlflow.db",
        artifact_root=str(folder / "var/mlartifacts"),
        journal=str(folder / "var/journal.jsonl"),
        key=str(folder / "var/keys/promotion.pem"),
    )


@pytest.fixture
def make_backbone(tmp_path: Path) -> MakeModel:
    def make(content: str = "backbone weights", **fields: Any) -> Path:
        folder = tmp_path / f"backbone-{abs(hash(content))}"
        (folder / "transformer").mkdir(parents=True, exist_ok=True)
        (folder / "transformer/weights.safetensors").write_text(content)
        write_card(folder, card_of("backbone", "base", **fields))
        return folder

    return make


@pytest.fixture
def make_adapter(tmp_path: Path, make_backbone: MakeModel) -> MakeModel:
    def make(content: str = "adapter weights", **fields: Any) -> Path:
        base = make_backbone()
        folder = tmp_path / f"adapter-{abs(hash(content))}"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_model.safetensors").write_text(content)
        source = {"name": "base", "digest": digest_folder(base), "source": str(base)}
        write_card(folder, card_of("adapter", "openmoji", brand="openmoji", base=source) | fields)
        return folder

    return make


@pytest.fixture
def make_figures(tmp_path: Path) -> MakeFigures:
    def make(model: Path, *, brand: float = 60.0, suite: str = "brand", **replaced: Any) -> Path:
        folder = tmp_path / f"evaluation-{model.name}-{suite}"
        folder.mkdir(exist_ok=True)
        figures = [
            figure("frechet_distance_brand", brand, brand - 5, brand + 5, "frechet/x/N=128"),
            figure("frechet_distance_unadapted", 92.0, 88.0, 97.0, "frechet/x/N=128"),
            figure("kernel_distance_brand", brand / 1000, None, None, "kernel/x/N=128"),
            figure("kernel_distance_unadapted", 0.08, None, None, "kernel/x/N=128"),
            figure("frechet_distance_heldout", brand, None, None, "frechet/x/N=128"),
        ]
        document = {
            "model": {"reference": str(model), "digest": digest_folder(model)},
            "suite": suite,
            "seed": 0,
            "figures": figures,
            "pictures": {},
        }
        (folder / "figures.json").write_text(json.dumps(document | replaced))
        (folder / "report.html").write_text("<h1>report</h1>")
        return folder

    return make


def figure(name: str, value: float, low: float | None, high: float | None, identity: str) -> dict[str, Any]:
    bounds = {"low": low, "high": high, "count": 128}
    return {"name": name, "value": value, "identity": identity, "better": "lower", **bounds}
