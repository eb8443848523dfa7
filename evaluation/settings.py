"""From a verb's settings to what does its work; a setting that cannot be right is told in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from atelier import AtelierError
from evaluation.errors import EvaluationError
from evaluation.studio import Studio
from registry.mlflow import ModelStore

WEIGHTS = {"inception": "FID's Inception weights", "onnx": "an ONNX network", "torchscript": "a TorchScript network"}


def built(node: DictConfig) -> Any:
    """Instantiate a component; what it refuses about its settings is told in its own words."""
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, AtelierError):
            raise error.__cause__ from None
        raise


def check_tools(config: DictConfig) -> None:
    """Raise EvaluationError for a device that is none, or is not here, and for an extractor without its weights."""
    check_device(str(config.device))
    if OmegaConf.is_missing(config.extractor, "path"):
        kind = str(config.extractor.get("_target_")).rpartition(".")[2]
        weights = WEIGHTS.get(kind, "the weights")
        raise EvaluationError(f"extractor.path is missing: pass extractor.path=FILE, {weights}")


def check_device(device: str) -> None:
    """Raise EvaluationError for a device that is none, or is not here."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise EvaluationError(f"device {device}: cpu or cuda")
    if device != "cpu" and int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise EvaluationError(f"device {device}: this machine has {torch.cuda.device_count()} of the kind; pass cpu")


def studio_of(config: DictConfig, store: ModelStore) -> Studio:
    """Return the studio that ``extractor``, ``cache`` and ``device`` describe."""
    return Studio(built(config.extractor), cache=Path(config.cache), store=store, device=str(config.device))
