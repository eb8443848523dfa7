"""A tiny random model of each family, and the same widened, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.families import FAMILIES, family_to_widen, open_pipeline
from synthesis.pretrained.testing import make_tiny_pretrained
from synthesis.pretrained.widen import widened

NAMES = tuple(family.name for family in FAMILIES)
CHANNELS = {"SD": 4, "SD-v": 4, "SDXL": 4, "SD3": 16, "FLUX": 4}
SIDE_PX, SIDE = 32, 16

Folder = Callable[[str], Path]
Open = Callable[[str], PretrainedBackbone]


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    diffusers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Return the folder of a family's random text-to-image model; SD-v is an SD that predicts v."""

    @cache
    def make(name: str) -> Path:
        prediction = "v_prediction" if name.endswith("-v") else "epsilon"
        folder = tmp_path_factory.mktemp("pretrained") / name
        return make_tiny_pretrained(name.removesuffix("-v"), folder, prediction=prediction)

    return make


@pytest.fixture(scope="session")
def open_widened(original: Folder) -> Open:
    """Return a function that widens a family's model afresh."""

    def make(name: str) -> PretrainedBackbone:
        folder = str(original(name))
        return PretrainedBackbone(widened(open_pipeline(folder), family_to_widen(folder)))

    return make


def noise_for(name: str, count: int = 1, seed: int = 0) -> Tensor:
    """Normal noise [B,C,16,16]."""
    return torch.randn(count, CHANNELS[name], SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def packed_for(name: str, pipeline: Any, latents: Tensor) -> Tensor:
    """Latents as the family's pipeline takes and gives them."""
    return pipeline._pack_latents(latents, *latents.shape) if name == "FLUX" else latents


def drawn_by_diffusers(name: str, pipeline: Any, noise: Tensor, prompt: str, **inputs: Any) -> Tensor:
    """Latents [B,C,16,16] (packed in FLUX) that a pipeline of diffusers draws in four steps."""
    pipeline.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {"height": SIDE_PX, "width": SIDE_PX, "num_inference_steps": 4, "guidance_scale": 3.0}
    latents: Tensor = pipeline(
        prompt, latents=packed_for(name, pipeline, noise), output_type="latent", **settings, **inputs
    ).images
    return latents
