"""A widened model learns from a batch of mixed tasks, in its own terms and in those of the project's training step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from synthesis.errors import SynthesisError
from synthesis.objective import flow_point, velocity_loss
from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.parametrisation import VariancePreserving, parametrisation_of
from synthesis.tasks import TASKS
from tests.synthesis.pretrained.conftest import CHANNELS, NAMES, SIDE_PX, Open

EVERY = (*NAMES, "SD-v")


def mixed_batch(backbone: PretrainedBackbone) -> tuple[Tensor, Any]:
    """Clean latents and a condition, a row a task, half of the texts dropped."""
    generator = Generator().manual_seed(3)
    pictures = torch.rand(len(TASKS), 3, SIDE_PX, SIDE_PX, generator=generator) * 2 - 1
    prompts = ["a dog" if row % 2 else "" for row in range(len(TASKS))]
    return backbone.codec.encode(pictures), backbone.condition(list(TASKS), prompts, pictures, generator=generator)


@pytest.mark.parametrize("terms", ["family", "project"])
@pytest.mark.parametrize("name", EVERY)
def test_one_step_on_all_tasks_moves_the_new_columns_and_lowers_the_loss(
    name: str, terms: str, open_widened: Open
) -> None:
    backbone = open_widened(name)
    clean, told = mixed_batch(backbone)

    def loss() -> Tensor:
        if terms == "family":
            return backbone.loss(clean, told, Generator().manual_seed(0)).mean()
        noise = torch.randn(clean.shape, generator=Generator().manual_seed(0))
        t = torch.linspace(0.2, 0.8, len(clean))
        return velocity_loss(backbone(flow_point(clean, noise, t), t, **told.tensors()), clean, t).mean()

    weight = backbone.network.get_submodule(backbone.family.entry).weight
    known = CHANNELS[name] * (4 if backbone.family.packed else 1)
    before = loss()
    before.backward()
    assert weight.grad[:, known:].abs().amax() > 0 and weight.grad.isfinite().all()
    torch.optim.SGD(backbone.parameters(), lr=1e-3).step()
    after = loss()
    assert weight[:, known:].abs().amax() > 0
    assert float(after.detach()) < float(before.detach())


@pytest.mark.parametrize("name", EVERY)
def test_a_true_prediction_gives_the_clean_picture_at_every_time(name: str, open_widened: Open) -> None:
    """clean(entered(t·x + (1 - t)·n), timestep(t), target(x, n)) = x."""
    between = open_widened(name).parametrisation
    generator = Generator().manual_seed(0)
    clean, noise = torch.randn(2, 64, 4, 2, 2, generator=generator).double()
    t = torch.linspace(0.1, 0.95, 64).double()
    own = between.timestep(t)
    x = between.entered(flow_point(clean, noise, t), t)
    found = between.clean(x, own, between.target(clean, noise, own))
    torch.testing.assert_close(found, clean, atol=2e-3, rtol=0)  # levels lie between two whole timesteps
    assert (own.diff() < 0).all()


def test_whole_timesteps_come_back_and_noisier_than_the_noisiest_is_that(open_widened: Open) -> None:
    between = open_widened("SD").parametrisation
    assert isinstance(between, VariancePreserving)
    whole = torch.tensor([0.0, 1.0, 500.0, 999.0])
    signal, noise = between.levels[:, whole.long()]
    torch.testing.assert_close(between.timestep((signal / (signal + noise)).float()), whole, atol=0.05, rtol=0)
    assert float(between.timestep(torch.zeros(1))) == 999 and float(between.timestep(torch.ones(1))) == 0


def test_what_cannot_be_told_or_trained_is_refused(open_widened: Open) -> None:
    backbone = open_widened("SD")
    with pytest.raises(SynthesisError, match="task edges needs a picture"):
        backbone.condition(["edges"], ["a dog"], side_px=SIDE_PX)
    with pytest.raises(SynthesisError, match="side_px"):
        backbone.condition(["text_to_image"], ["a dog"])
    scheduler = type(backbone.scheduler).from_config(backbone.scheduler.config, prediction_type="sample")
    with pytest.raises(SynthesisError, match="prediction_type is sample"):
        parametrisation_of(scheduler)
