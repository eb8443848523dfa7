"""Draws latents with a widened model by its family's own scheduler, one step at a time.

Shapes: [B,C,h,w].
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from synthesis.condition import Condition, join
from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.parametrisation import Flow


@dataclass(frozen=True)
class Drawn:
    """After one step: the clean estimate, for previews, and the latents that the scheduler goes on from.

    ``num_steps`` is the scheduler's own count: some take more than were asked for.
    """

    estimate: Tensor
    latents: Tensor
    step: int
    num_steps: int


@torch.no_grad()
def draw(
    backbone: PretrainedBackbone,
    condition: Condition,
    noise: Tensor,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    clean: Tensor | None = None,
    skip_steps: int = 0,
    generators: Sequence[Generator] | None = None,
) -> Iterator[Drawn]:
    """Yield after each step; the last one's latents are the picture, equal to those of diffusers' own pipeline.

    Above 1, ``guidance_scale`` guides without a classifier; FLUX is told its guidance as a number instead. With
    ``clean`` latents the first ``skip_steps`` are left out, and it starts from these, noised. A scheduler that adds
    noise on the way takes each picture's from its own of ``generators``.
    """
    scheduler: Any = type(backbone.scheduler).from_config(backbone.scheduler.config)
    _set_timesteps(backbone, scheduler, num_inference_steps, noise)
    guides = guidance_scale > 1 and not backbone.family.packed
    told = join([condition.unconditional(), condition]) if guides else condition
    embedded = guidance_scale if backbone.family.packed else None
    flows = isinstance(backbone.parametrisation, Flow)
    timesteps = scheduler.timesteps[skip_steps * scheduler.order :]
    chance: dict[str, Any] = {}
    if generators is not None and "generator" in inspect.signature(scheduler.step).parameters:
        chance = {"generator": list(generators)}
    latents = noise if flows else noise * scheduler.init_noise_sigma
    if clean is not None and skip_steps:
        begin = timesteps[:1].expand(len(noise))
        latents = scheduler.scale_noise(clean, begin, noise) if flows else scheduler.add_noise(clean, noise, begin)
    for step, timestep in enumerate(timesteps, 1):
        x = latents if flows else scheduler.scale_model_input(latents, timestep)
        own = timestep.to(x.device, torch.float32).expand(len(told.task))
        asked = torch.cat([x, x]) if guides else x
        # In full precision from here: a scheduler casts its latents, and with them the next time, to this type.
        prediction = backbone.predict(asked, own, told, embedded_guidance=embedded).float()
        if guides:
            without, with_text = prediction.chunk(2)
            prediction = without + guidance_scale * (with_text - without)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **chance)[0]
        estimate = backbone.parametrisation.clean(x, own[: len(x)], prediction)
        yield Drawn(estimate, latents, step, len(timesteps))


def _set_timesteps(backbone: PretrainedBackbone, scheduler: Any, steps: int, noise: Tensor) -> None:
    """As each family's pipeline does: a flow's times may be shifted by the number of tokens."""
    settings: dict[str, Any] = {"device": noise.device}
    if backbone.family.packed:
        settings["sigmas"] = np.linspace(1.0, 1 / steps, steps)
    else:
        settings["num_inference_steps"] = steps
    if scheduler.config.get("use_dynamic_shifting"):
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift  # here: it warns of what else it lacks

        patch = 2 if backbone.family.packed else int(backbone.network.config.patch_size)
        tokens = (noise.shape[-2] // patch) * (noise.shape[-1] // patch)
        names = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
        settings["mu"] = calculate_shift(tokens, *(scheduler.config.get(name, usual) for name, usual in names.items()))
    scheduler.set_timesteps(**settings)
