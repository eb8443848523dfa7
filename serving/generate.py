"""``atelier generate``: draw one picture here, without a server."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from atelier import CONF_FOLDER
from serving.errors import ServingError
from serving.local import DrawSettings, choose_models, draw
from serving.marking import PictureRecord
from serving.server import pipeline_loader

_TEXTS = ("prompt", "out", "model", "brand", "task", "source", "mask", "style")

# Looked up by name and not in conf/ itself: there, source=FILE would choose from the group conf/source of ingestion.
_CONFIGS = ConfigStore.instance()
_CONFIGS.store(name="generate", node=OmegaConf.load(CONF_FOLDER / "generate.yaml"))
for _option in (CONF_FOLDER / "registry").glob("*.yaml"):
    _CONFIGS.store(group="registry", name=_option.stem, node=OmegaConf.load(_option))


@hydra.main(version_base="1.3", config_path=None, config_name="generate")
def main(config: DictConfig) -> None:
    """Choose the models, draw, and say what was drawn."""
    settings = read_settings(config)
    console = Console(stderr=True)
    backbone, brand, remark = choose_models(settings, instantiate(config.registry).store)
    if remark:
        console.print(remark, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Loading the model", total=None)
        record = draw(
            settings,
            (backbone, brand),
            pipeline_loader(settings.device),
            lambda done, steps: bar.update(task, description="Drawing", completed=done, total=steps),
        )
    print(describe(settings.out, record))


def read_settings(config: DictConfig) -> DrawSettings:
    """Return the settings of conf/generate.yaml, checked. Raises ServingError for a required one that is missing."""
    for key, example in (("prompt", "prompt='a red apple'"), ("out", "out=apple.png")):
        if OmegaConf.is_missing(config, key):
            raise ServingError(f"{key} is missing: pass for instance {example}")
    values: dict[str, Any] = {str(key): config[key] for key in config if key != "registry"}
    texts = {key: str(values[key]) for key in _TEXTS if values[key] is not None}
    return DrawSettings(**(values | texts))


def describe(out: str, record: PictureRecord) -> str:
    """Return what was drawn, by what, and what its licence asks."""
    by = record.adapter or record.model
    version = f" version {by.version}" if by.version else ""
    lines = [f"{out}: {by.name}{version} ({by.digest[:12]}), seed {record.seed}, {record.licence}"]
    return "\n".join([*lines, *(f"  {obligation}" for obligation in record.obligations)])


if __name__ == "__main__":
    main()
