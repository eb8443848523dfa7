"""Tiny random networks and the shipped text encoder, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from synthesis import pipeline as pipeline_module
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import APPEARANCE_WIDTH, REFERENCE_PX, Condition
from synthesis.pipeline import MultiTaskPipeline
from synthesis.tasks import TASKS
from synthesis.testing import make_tiny_brand, make_tiny_pipeline
from synthesis.text import TextEncoder

MakeNetwork = Callable[..., MultiTaskTransformer]
MakeCondition = Callable[..., Condition]
MakeBrand = Callable[..., Path]
Load = Callable[[], MultiTaskPipeline]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small matrices gain nothing from a second thread, and lose much when the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _one_encoder() -> Iterator[None]:
    """Every pipeline shares one text encoder and draws in float32: tolerances are those of the formulas."""
    encoder = TextEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_module, "TextEncoder", lambda _name: encoder)
        patch.setattr(pipeline_module, "fast_dtype", lambda _device: torch.float32, raising=False)
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random backbone's folder."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("models") / "backbone")


@pytest.fixture(scope="session")
def load(base: Path) -> Load:
    """Return a function that loads a fresh pipeline from that folder."""
    return lambda: MultiTaskPipeline.load(base)


@pytest.fixture
def pipeline(load: Load) -> MultiTaskPipeline:
    """Return a pipeline without brands."""
    return load()


@pytest.fixture(scope="session")
def make_brand(tmp_path_factory: pytest.TempPathFactory, base: Path) -> MakeBrand:
    """Return a maker of random adapters for that backbone; another seed is another brand."""

    def make(seed: int = 0, name: str = "acme", on: Path | None = None) -> Path:
        return make_tiny_brand(tmp_path_factory.mktemp("brands") / name, on or base, name, seed=seed)

    return make


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    """Return a maker of tiny networks; ``awake`` ones have random gates, so that every input reaches the output."""

    def make(*, awake: bool = True, seed: int = 0, **settings: Any) -> MultiTaskTransformer:
        torch.manual_seed(seed)
        sizes: dict[str, Any] = {"width": 32, "depth": 2, "head_width": 16, "mlp_width": 32, "native_px": 32}
        network: Any = MultiTaskTransformer(
            styles=("noto", "twemoji"), tasks=tuple(TASKS), appearance_width=APPEARANCE_WIDTH, **(sizes | settings)
        )
        with torch.no_grad():
            network.final_linear.weight.normal_(std=0.1)
            if awake:
                for layer in (network.modulation, network.final_modulation, network.embed_patches):
                    layer.weight.normal_(std=0.2)
                for block in network.blocks:
                    block.mlp.mix.weight.normal_(std=0.2)
        frozen: MultiTaskTransformer = network.eval().requires_grad_(False)
        return frozen

    return make


@pytest.fixture(scope="session")
def make_condition() -> MakeCondition:
    """Return a maker of random conditions of ``count`` rows."""

    def make(count: int, side_px: int = 32, *, tokens: int = 6, seed: int = 0) -> Condition:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=generator)

        spoken = torch.randint(1, tokens + 1, (count, 1), generator=generator)
        return Condition(
            source=normal(3, side_px, side_px),
            mask=(normal(1, side_px, side_px) > 0).float(),
            task=torch.randint(0, len(TASKS), (count,), generator=generator),
            style=torch.randint(0, 3, (count,), generator=generator),
            appearance=normal(APPEARANCE_WIDTH),
            text=normal(tokens, 384),
            text_mask=torch.arange(tokens) < spoken,
            reference=normal(3, REFERENCE_PX, REFERENCE_PX),
            reference_mask=torch.arange(count) % 2 == 0,
        )

    return make
