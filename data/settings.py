"""What the verbs of this package share in reading their configuration."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from data.errors import DataError


def require(config: DictConfig, key: str, meaning: str) -> None:
    """Refuse a configuration that lacks a required value.

    Raises:
        DataError: the value is missing or null.
    """
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if OmegaConf.is_missing(node, name) or node[name] is None:
        raise DataError(f"{key} is not given: pass {key}=… ({meaning})")


def made(config: DictConfig) -> Any:
    """Return the object that a config describes.

    Raises:
        DataError: as the object's own constructor raised it, without Hydra's wrapping.
    """
    try:
        return instantiate(config)
    except InstantiationException as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise
