"""Refuses the settings of a run that no component checks itself, before any work is done."""

from __future__ import annotations

from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from training.errors import TrainingError

LARGEST_SEED = 2**32 - 1
_COUNTS = (
    *("max_steps", "checkpoint_steps"),
    *("batch_pictures", "caption_tokens", "dataset.batch_pictures", "dataset.caption_tokens"),
)
_COMPONENTS = (
    *("tasks", "augmentation", "augmentation_heldout", "objective", "optimizer", "average", "sizes", "measured"),
    "distillation",
)


def check_run(config: DictConfig) -> None:
    """Check counts, the seed and, by making each once, the components; reading a corpus first would take minutes.

    Raises:
        TrainingError: names the setting, its value and what is allowed.
        InstantiationException: a component refuses its settings.
    """
    for name in _COUNTS:
        value: Any = OmegaConf.select(config, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise TrainingError(f"{name} is {value}: it must be a whole number of 1 or more")
    if not isinstance(config.seed, int) or not 0 <= config.seed <= LARGEST_SEED:
        raise TrainingError(f"seed is {config.seed}: it must be a whole number from 0 to {LARGEST_SEED}")
    for name in _COMPONENTS:
        if name in config:
            instantiate(config[name])


def check_share(name: str, value: Any) -> None:
    """Check that a share lies in 0 to 1.

    Raises:
        TrainingError: names the setting, its value and what is allowed.
    """
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise TrainingError(f"{name} is {value}: it must lie in 0 to 1")
