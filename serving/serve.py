"""``atelier serve``: pictures over HTTP."""

from __future__ import annotations

import logging
from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER
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
    values: dict[str, Any] = {str(key): value for key, value in _plain(config).items() if key != "registry"}
    values["engine"] = EngineSettings(**values["engine"])
    values["limits"] = Limits(**values["limits"])
    values["quality"] = QualitySteps(**values["quality"])
    return ServeSettings(**values)


def _plain(config: DictConfig) -> dict[Any, Any]:
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return plain if isinstance(plain, dict) else {}


if __name__ == "__main__":
    main()
