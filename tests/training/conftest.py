"""A small dataset cut from the drawings that ship, and the smoke experiment on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER, PROJECT_ROOT
from data.dataset import Dataset, open_dataset
from data.sample_cut import cut
from synthesis.text import TextEncoder
from training import brand as brand_module
from training import train as train_module

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose from the files, not from what a verb that was imported before keeps in memory."""
    monkeypatch.delitem(ConfigStore.instance().repo, "registry", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _one_encoder() -> Iterator[None]:
    """Every run shares the text encoder of its settings."""
    encoder = lru_cache(maxsize=4)(TextEncoder)
    with pytest.MonkeyPatch.context() as patch:
        for module in (brand_module, train_module):
            patch.setattr(module, "TextEncoder", encoder)
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return 24 coloured and 12 one-colour drawings to learn from, and 8 held out."""
    source = open_dataset(PROJECT_ROOT / "assets" / "sample" / "base")
    records = source.records
    train = source.rows(split="train")
    paired = [row for row in train if records[row].subject in ("dog", "cat", "sun")]
    coloured = [row for row in train if not records[row].monochrome and row not in paired]
    single = [row for row in train if records[row].monochrome and row not in paired]
    heldout = [row for row in source.rows(split="heldout_pair") if not records[row].monochrome]
    rows = [*paired, *coloured[:: len(coloured) // 24][:24], *single[:: len(single) // 12][:12], *heldout[:8]]
    return cut(source, rows, tmp_path_factory.mktemp("datasets") / "small")


@pytest.fixture
def smoke(dataset: Dataset, tmp_path: Path) -> Compose:
    """Return a function that composes the smoke experiment on the small dataset with overrides on top."""
    settings = [f"dataset.folder={dataset.folder}", "dataset.batch_pictures=8", "dataset.heldout_pictures=8"]
    settings += [f"out={tmp_path / 'run'}", "code_commit=abc", "checkpoint_steps=3", "max_steps=6"]
    settings += ["trainer.val_check_interval=3", "optimizer.warmup_steps=2"]
    settings += ["trainer.log_every_n_steps=2"]

    def made(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
            config = compose("train", ["experiment=smoke", *settings, *overrides])
        OmegaConf.resolve(config)
        return config

    return made
