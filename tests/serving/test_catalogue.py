"""Which models are served: from folders, by alias, after a champion moved, and when one is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atelier import AtelierError
from registry.artifacts import digest_folder
from registry.mlflow import ModelStore
from synthesis.testing import make_tiny_brand, make_tiny_pipeline

if TYPE_CHECKING:
    from tests.serving.conftest import CuedPipeline, Folders, Serve

BACKBONE = "models:/backbone@champion"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Path:
    """A registry whose backbone and openmoji have champions; openmoji has a second version, acme no champion."""
    root = tmp_path_factory.mktemp("registry")
    store = store_in(root)
    store.register("backbone", folders.base)
    store.set_alias("backbone", "champion", 1)
    store.register("brand-openmoji", folders.openmoji)
    store.set_alias("brand-openmoji", "champion", 1)
    second = make_tiny_brand(root / "second", folders.base, "openmoji", seed=9, base_digest=digest_folder(folders.base))
    store.register("brand-openmoji", second)
    store.register("brand-acme", folders.acme)
    return root


def store_in(root: Path) -> ModelStore:
    return ModelStore(f"sqlite:///{root / 'mlflow.db'}", root / "artifacts")


@pytest.fixture
def store(tmp_path: Path, filled: Path) -> ModelStore:
    """A copy of that registry; the artifacts stay where they were registered."""
    shutil.copyfile(filled / "mlflow.db", tmp_path / "mlflow.db")
    return ModelStore(f"sqlite:///{tmp_path / 'mlflow.db'}", filled / "artifacts")


def draw(server: Any, model: str) -> tuple[Any, Any]:
    answer = server.client.images.generate(prompt="a", model=model, extra_body={"seed": 1, "num_inference_steps": 2})
    return answer.data[0].b64_json, answer.model_extra["atelier"]


def ids(server: Any) -> list[str]:
    return [model.id for model in server.client.models.list().data]


def test_champions_are_served_and_one_that_moves_is_picked_up(
    serve: Serve, store: ModelStore, wait_until: Callable[..., bool]
) -> None:
    with serve(store=store, model=BACKBONE, brands=None, poll_seconds=0.1) as server:
        assert ids(server) == ["atelier", "openmoji"]
        before, about = draw(server, "openmoji")
        assert (about["adapter"]["version"], about["model"]["version"]) == (1, 1)
        store.set_alias("brand-openmoji", "champion", 2)
        assert wait_until(lambda: draw(server, "openmoji")[1]["adapter"]["version"] == 2)
        after, _ = draw(server, "openmoji")
        assert after != before
        store.set_alias("brand-openmoji", "champion", 1)
        assert wait_until(lambda: draw(server, "openmoji")[1]["adapter"]["version"] == 1)
        assert draw(server, "openmoji")[0] == before, "rolled back is as it was"
        store.set_alias("brand-acme", "champion", 1)
        assert wait_until(lambda: ids(server) == ["atelier", "acme", "openmoji"])


def test_a_new_backbone_leaves_brands_on_the_one_they_were_made_on(
    serve: Serve, store: ModelStore, tmp_path: Path, wait_until: Callable[..., bool]
) -> None:
    with serve(store=store, model=BACKBONE, brands=None, poll_seconds=0.1) as server:
        plain, _ = draw(server, "atelier")
        brand, _ = draw(server, "openmoji")
        store.register("backbone", make_tiny_pipeline(tmp_path / "newer", seed=5))
        store.set_alias("backbone", "champion", 2)
        assert wait_until(lambda: draw(server, "atelier")[1]["model"]["version"] == 2)
        assert draw(server, "atelier")[0] != plain
        unchanged, about = draw(server, "openmoji")
        assert unchanged == brand and about["model"]["version"] == 1


def test_a_broken_champion_leaves_the_served_one(
    serve: Serve, store: ModelStore, tmp_path: Path, folders: Folders, wait_until: Callable[..., bool]
) -> None:
    shutil.copytree(folders.base, tmp_path / "cut")
    weights = next((tmp_path / "cut" / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with serve(store=store, model=BACKBONE, brands=None, poll_seconds=0.1) as server:
        before, _ = draw(server, "atelier")
        store.register("backbone", tmp_path / "cut")
        store.set_alias("backbone", "champion", 2)
        assert not wait_until(lambda: draw(server, "atelier")[1]["model"]["version"] != 1, seconds=1)
        assert draw(server, "atelier")[0] == before


def test_weights_that_were_changed_are_not_loaded(serve: Serve, filled: Path, tmp_path: Path, folders: Folders) -> None:
    store = store_in(tmp_path)
    store.register("backbone", folders.base)
    store.set_alias("backbone", "champion", 1)
    with (store.folder("backbone", 1) / "atelier.json").open("a") as card:
        card.write(" ")
    with pytest.raises(AtelierError, match="has changed since"), serve(store=store, model=BACKBONE):
        pass


def test_an_empty_registry_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    store = ModelStore(f"sqlite:///{tmp_path / 'none.db'}", tmp_path)
    with pytest.raises(AtelierError, match="no registered model 'backbone'"), serve(store=store, model=BACKBONE):
        pass
    assert not (tmp_path / "none.db").exists()


def test_brands_that_cannot_be_served_are_named_and_the_rest_goes_on(
    serve: Serve, folders: Folders, tmp_path: Path
) -> None:
    stranger = make_tiny_brand(tmp_path / "stranger", folders.base, "stranger", base_digest="f" * 64)
    brands = {
        "openmoji": str(folders.openmoji),
        "missing": str(tmp_path / "nowhere"),
        "stranger": str(stranger),
        "backbone": str(folders.base),
        "broken": str(folders.broken),
    }
    with serve(brands=brands) as server:
        assert ids(server) == ["atelier", "openmoji"]
        refused = server.studio.catalogue.roster.refused
        assert list(refused) == ["missing", "stranger", "backbone", "broken"]
        assert "no model folder" in refused["missing"]
        assert "made on the backbone ffffffffffff" in refused["stranger"]
        assert "not a brand's adapter" in refused["backbone"]
        draw(server, "openmoji")


def test_an_adapter_is_no_backbone(serve: Serve, folders: Folders) -> None:
    with pytest.raises(AtelierError, match="is an adapter"), serve(model=str(folders.openmoji)):
        pass


def test_a_request_under_way_keeps_the_adapter_it_began_with(
    serve: Serve, cued: CuedPipeline, store: ModelStore
) -> None:
    with serve(cued, store=store, model=BACKBONE, brands=None, poll_seconds=3600) as server:
        first = server.studio.catalogue.roster.find("openmoji").adapter_name
        store.set_alias("brand-openmoji", "champion", 2)
        assert server.studio.catalogue.refresh()
        second = server.studio.catalogue.roster.find("openmoji").adapter_name
        assert first != second and cued.loaded == [first, second]
        assert not server.studio.catalogue.refresh(), "nothing moved, nothing is loaded"
