"""``atelier serve``: pictures over HTTP."""

from __future__ import annotations

import logging
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER
from serving.errors import ServingError
from serving.server import serve
from serving.settings import EngineSettings, Limits, QualitySteps, ServeSettings


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="serve")
def main(config: DictConfig) -> None:
    """Serve until interrupted."""
    settings = read_settings(config)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    serve(settings, instantiate(config.registry).store)


def read_settings(config: DictConfig) -> ServeSettings:
    """Return the settings of conf/serve.yaml, checked."""
    values = _group("settings", OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    del values["registry"]
    for name, group in (("engine", EngineSettings), ("limits", Limits), ("quality", QualitySteps)):
        values[name] = group(**_group(name, values[name]))
    return ServeSettings(**values)


def _group(name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ServingError(f"{name}={values} must be a group of settings: atelier serve --cfg job shows it")
    return {str(key): value for key, value in values.items()}


if __name__ == "__main__":
    main()
