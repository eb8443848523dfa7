from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.artifacts import digest_folder, read_card
from registry.errors import ArtifactError, FiguresError, RegistryError
from registry.mlflow import ModelStore
from registry.register import record_evaluation, register_model
from registry.settings import RegistrySettings

MakeModel = Callable[..., Path]
MakeFigures = Callable[..., Path]


def test_a_registered_model_keeps_its_files_and_tells_its_origin(
    registry: RegistrySettings, make_adapter: MakeModel, make_figures: MakeFigures
) -> None:
    model, store = make_adapter(), registry.store
    results = make_figures(model)
    number = register_model(
        model,
        "brand-openmoji",
        figures_file=results / "figures.json",
        report=results / "report.html",
        store=store,
    )
    version = store.version("brand-openmoji", number)
    assert (number, version.kind, version.licence) == (1, "adapter", "CC-BY-SA-4.0")
    assert version.digest == digest_folder(model) == digest_folder(store.folder("brand-openmoji", 1))
    assert version.datasets == "learn@a1b2c3d4e5f60718"
    assert version.base_digest == read_card(model)["base"]["digest"]
    run = store._client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["config.rank"] == "16"
    assert run.data.metrics["brand/frechet_distance_brand.high"] == 65.0
    logged = store._client.list_artifacts(version.run_id, "evaluation")
    files = {Path(file.path).name for file in store._client.list_artifacts(version.run_id, logged[0].path)}
    assert files == {"figures.json", "report.html"}


def test_an_equal_digest_is_the_version_it_was(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    store = registry.store
    assert store.register("backbone", make_backbone("a")) == 1
    assert store.register("backbone", make_backbone("b"), figures={"loss": 0.5}) == 2
    assert store.register("backbone", make_backbone("a"), figures={"loss": 0.25}) == 1
    assert [version.version for version in store.versions("backbone")] == [1, 2]
    assert store._client.get_run(store.version("backbone", 1).run_id).data.metrics == {"loss": 0.25}


def test_names_fit_their_kind(registry: RegistrySettings, make_backbone: MakeModel, make_adapter: MakeModel) -> None:
    with pytest.raises(RegistryError, match="this adapter as 'backbone': it takes brand-NAME"):
        registry.store.register("backbone", make_adapter())
    with pytest.raises(RegistryError, match="this backbone as 'brand-x'"):
        registry.store.register("brand-x", make_backbone())
    with pytest.raises(RegistryError, match="is no model name"):
        registry.store.register("brand-X'", make_adapter())
    assert registry.store.names() == []


def test_an_interrupted_registration_leaves_nothing(
    registry: RegistrySettings, make_backbone: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = registry.store

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._client, "create_model_version", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.register("backbone", make_backbone())
    assert store.versions("backbone") == []
    assert [path.name for path in store.artifact_root.iterdir()] == [".lock"]
    assert store.register("backbone", make_backbone()) == 1


def test_asking_makes_no_database(tmp_path: Path) -> None:
    store = ModelStore(f"sqlite:///{tmp_path}/var/mlflow.db", tmp_path / "var/mlartifacts")
    assert (store.names(), store.versions("backbone"), store.alias_version("backbone", "champion")) == ([], [], None)
    with pytest.raises(RegistryError, match=r"no registered model 'backbone': .* has no models"):
        store.folder("backbone", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be one")
    with pytest.raises(RegistryError, match=r"mlflow\.db is not an SQLite database"):
        ModelStore(f"sqlite:///{tmp_path}/mlflow.db", tmp_path).names()


def test_relative_places_stay_where_they_were(
    registry: RegistrySettings, make_backbone: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_backbone()
    monkeypatch.chdir(tmp_path)
    store = RegistrySettings().store
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert store.register("backbone", model) == 1
    assert registry.store.folder("backbone", 1).is_relative_to(tmp_path / "var/mlartifacts")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_moved_registry_still_finds_and_takes_models(
    registry: RegistrySettings, make_backbone: MakeModel, tmp_path: Path
) -> None:
    registry.store.register("backbone", make_backbone("a"))
    (tmp_path / "var").rename(tmp_path / "moved")
    store = ModelStore(f"sqlite:///{tmp_path}/moved/mlflow.db", tmp_path / "moved/mlartifacts")
    assert digest_folder(store.folder("backbone", 1)) == store.version("backbone", 1).digest
    assert store.register("backbone", make_backbone("b")) == 2
    assert store.folder("backbone", 2).is_relative_to(tmp_path / "moved")


def test_missing_versions_are_told_with_what_there_is(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    registry.store.register("backbone", make_backbone())
    with pytest.raises(RegistryError, match="backbone has no version 3: it has 1"):
        registry.store.version("backbone", 3)
    with pytest.raises(RegistryError, match=r"no registered model 'brand-x': .* has backbone"):
        registry.store.version("brand-x", 1)


def test_the_latest_evaluation_of_each_suite_counts(
    registry: RegistrySettings, make_adapter: MakeModel, make_figures: MakeFigures
) -> None:
    model, store = make_adapter(), registry.store
    store.register("brand-openmoji", model)
    for suite, brand in (("brand", 90.0), ("memory", 50.0), ("brand", 60.0)):
        logged = record_evaluation(model, make_figures(model, brand=brand, suite=suite), store=store)
        assert [(version.name, version.version) for version in logged] == [("brand-openmoji", 1)]
    evaluations = store.evaluations("brand-openmoji", 1)
    assert [(e.suite, e.figures[0].value) for e in evaluations] == [("memory", 50.0), ("brand", 60.0)]


def test_figures_go_to_the_model_they_were_measured_on(
    registry: RegistrySettings, make_adapter: MakeModel, make_figures: MakeFigures
) -> None:
    one, two, store = make_adapter("one"), make_adapter("two"), registry.store
    assert record_evaluation(one, make_figures(one), store=store) == []
    store.register("brand-openmoji", one)
    with pytest.raises(FiguresError, match="measured on the model"):
        record_evaluation("models:/brand-openmoji/1", make_figures(two), store=store)
    with pytest.raises(FiguresError, match="measured on the model"):
        register_model(two, "brand-openmoji", figures_file=make_figures(one) / "figures.json", store=store)
    assert len(store.versions("brand-openmoji")) == 1


def test_logged_figures_cannot_be_changed_afterwards(
    registry: RegistrySettings, make_adapter: MakeModel, make_figures: MakeFigures
) -> None:
    model, store = make_adapter(), registry.store
    register_model(model, "brand-openmoji", figures_file=make_figures(model) / "figures.json", store=store)
    (file,) = store.artifact_root.rglob("figures.json")
    file.write_text(file.read_text().replace("60.0", "10.0"))
    with pytest.raises(ArtifactError, match="is not the file that was logged"):
        store.evaluations("brand-openmoji", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"model": {"digest": "d"}, "figures": [], "suite": "../x"}',
        '{"model": {"digest": "d"}, "figures": [{"name": "x"}]}',
    ],
)
def test_broken_figures_files_are_told_in_one_line(
    registry: RegistrySettings, make_adapter: MakeModel, tmp_path: Path, text: str
) -> None:
    (tmp_path / "figures.json").write_text(text)
    with pytest.raises(FiguresError, match="is not a figures file") as error:
        register_model(make_adapter(), "brand-x", figures_file=tmp_path / "figures.json", store=registry.store)
    assert "\n" not in str(error.value)


def test_runs_keep_their_parameters_metrics_and_files(registry: RegistrySettings, tmp_path: Path) -> None:
    store = registry.store
    run_id = store.start_run("training", "backbone-1", {f"p{index}": index for index in range(120)})
    for step, loss in enumerate((0.5, 0.4)):
        store.log_metrics(run_id, {"loss": loss}, step=step)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config.json").write_text(json.dumps({}))
    store.log_artifacts(run_id, tmp_path / "out", "config")
    store.end_run(run_id, finished=False)
    run = store._client.get_run(run_id)
    assert (run.info.status, run.data.params["p119"], run.data.metrics) == ("FAILED", "119", {"loss": 0.4})
    assert [metric.step for metric in store._client.get_metric_history(run_id, "loss")] == [0, 1]
    assert [file.path for file in store._client.list_artifacts(run_id, "config")] == ["config/config.json"]


def test_artifacts_on_a_server_are_fetched_once(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    store = registry.store
    run_id = store.version("backbone", store.register("backbone", make_backbone())).run_id
    fetched = store._fetched(run_id, "model")
    assert digest_folder(fetched) == store.version("backbone", 1).digest
    (fetched / "kept").touch()
    assert (store._fetched(run_id, "model") / "kept").exists()
    assert {path.name for path in store.artifact_root.iterdir()} == {".lock", "fetched", run_id}
