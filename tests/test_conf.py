"""Every settings file composes, and what it names exists and takes the values."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER, VERBS

FILES = sorted(path.relative_to(CONF_FOLDER).with_suffix("").as_posix() for path in CONF_FOLDER.rglob("*.yaml"))
PRIMARY = [name for name in FILES if "/" not in name]
GROUPED = [name for name in FILES if "/" in name]
GIVEN_BY_CODE = {"lightning.Trainer": {"max_steps", "logger", "callbacks", "default_root_dir"}}


@pytest.fixture(autouse=True)
def _files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose from the files, not from what a verb that was imported before keeps in memory."""
    for name in ("registry", "generate.yaml", "codec", "widen.yaml"):
        monkeypatch.delitem(ConfigStore.instance().repo, name, raising=False)


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        return compose(name, list(overrides))


def targets(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping with a ``_target_`` in plain values."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield value
        for inner in value.values():
            yield from targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from targets(inner)


def assert_accepted(settings: dict[str, Any]) -> None:
    """The class or function is there and has a parameter for every value, and a value for every parameter."""
    module, _, name = settings["_target_"].rpartition(".")
    target = getattr(importlib.import_module(module), name)
    given = {key: value for key, value in settings.items() if not key.startswith("_")}
    given |= dict.fromkeys(GIVEN_BY_CODE.get(settings["_target_"], ()))
    if target.__module__.startswith("lightning.pytorch.loggers"):
        target = target.__init__
        given["self"] = None
    inspect.signature(target).bind(**given)


def plain(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


def test_every_verb_has_its_primary_configuration() -> None:
    assert set(VERBS) <= set(PRIMARY)


@pytest.mark.parametrize("name", PRIMARY)
def test_a_primary_configuration_composes_and_its_targets_take_their_values(name: str) -> None:
    config = composed(name, *(["experiment=smoke"] if name == "train" else []))
    for settings in targets(plain(config)):
        assert_accepted(settings)


@pytest.mark.parametrize("name", [name.removeprefix("experiment/") for name in GROUPED if "experiment/" in name])
def test_an_experiment_composes_and_resolves(name: str) -> None:
    config = composed("train", f"experiment={name}")
    OmegaConf.resolve(config)
    assert config.name and not OmegaConf.missing_keys(config)
    for settings in targets(plain(config)):
        assert_accepted(settings)


@pytest.mark.filterwarnings("ignore:In 'trainer:UserWarning")  # _self_ matters to a primary configuration alone
@pytest.mark.parametrize("name", [name for name in GROUPED if "experiment/" not in name])
def test_an_option_of_a_group_composes_and_its_target_takes_its_values(name: str) -> None:
    if name == "logger/wandb":
        pytest.importorskip("wandb", reason="the extra wandb is not installed")
    # A backbone that chooses other groups does so within the settings of a run.
    chooses = "override /" in (CONF_FOLDER / f"{name}.yaml").read_text()
    config = plain(composed("train", "experiment=smoke", name.replace("/", "=")) if chooses else composed(name))
    for settings in targets(config):
        assert_accepted(settings)


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_no_key_twice(name: str) -> None:
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{keys}"
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor("tag:yaml.org,2002:map", mapping)
    yaml.load((CONF_FOLDER / f"{name}.yaml").read_text(), Strict)


@pytest.mark.parametrize("name", [name for name in PRIMARY if name in VERBS])
def test_a_verb_writes_no_folder_of_hydras_own(name: str) -> None:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        overrides = ["experiment=smoke"] if name == "train" else []
        config = compose(name, overrides, return_hydra_config=True)
    assert config.hydra.run.dir == "." and config.hydra.output_subdir is None
    assert "logging" not in str(config.hydra.job_logging.get("handlers", {}))
