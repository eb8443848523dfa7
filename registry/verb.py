"""What the registry's verbs share: reading the composed configuration into typed values, with clear refusals."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from registry.errors import RegistryError
from registry.settings import RegistrySettings


def required(config: DictConfig, key: str, right: str) -> str:
    """Return a value that the person must give.

    Raises:
        RegistryError: it was not given; ``right`` tells what to write.
    """
    if OmegaConf.is_missing(config, key) or config[key] in (None, ""):
        raise RegistryError(f"{key} is missing: pass {right}")
    return str(config[key])


def open_registry(config: DictConfig) -> RegistrySettings:
    """Return the registry that the configuration's group ``registry`` describes."""
    registry = instantiate(config.registry)
    if not isinstance(registry, RegistrySettings):
        raise RegistryError(f"registry must be a registry.settings.RegistrySettings, not {type(registry).__name__}")
    return registry
