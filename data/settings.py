"""What the verbs of this package share in reading their configuration."""

from __future__ import annotations

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
