"""How each family's network is called: what a call is told, and in which layout latents, source and mask enter.

Shapes: B batch, C latent channels, h w latents, H W pixels, T tokens, D token width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Given:
    """source [B,C,h,w]; mask [B,1,H,W] in 0..1; tokens [B,T,D]; pooled [B,P]; ``guidance`` is FLUX's embedded one."""

    source: Tensor
    mask: Tensor
    tokens: Tensor
    pooled: Tensor
    guidance: float


Way = Callable[[Any, Tensor, Tensor, Given], Tensor]


def through_unet(network: Any, x: Tensor, timestep: Tensor, given: Given) -> Tensor:
    """SD and SDXL: x [B,C,h,w] and timestep [B] in 0..999 -> prediction [B,C,h,w]."""
    entered = torch.cat([x, _small(given.mask, x), given.source], dim=1)
    added = None
    if network.config.addition_embed_type == "text_time":
        height, width = given.mask.shape[-2:]
        place = torch.tensor([height, width, 0, 0, height, width], dtype=x.dtype, device=x.device)
        added = {"text_embeds": given.pooled, "time_ids": place.expand(len(x), -1)}
    prediction: Tensor = network(
        entered, timestep, encoder_hidden_states=given.tokens, added_cond_kwargs=added, return_dict=False
    )[0]
    return prediction


def through_sd3(network: Any, x: Tensor, timestep: Tensor, given: Given) -> Tensor:
    """SD3: x [B,C,h,w] and timestep [B] in 0..1000 -> velocity [B,C,h,w]."""
    velocity: Tensor = network(
        hidden_states=torch.cat([x, _small(given.mask, x), given.source], dim=1),
        timestep=timestep,
        encoder_hidden_states=given.tokens,
        pooled_projections=given.pooled,
        return_dict=False,
    )[0]
    return velocity


def through_flux(network: Any, x: Tensor, timestep: Tensor, given: Given) -> Tensor:
    """FLUX: x [B,C,h,w] and timestep [B] in 0..1000 -> velocity [B,C,h,w]; 2x2 latents are one token."""
    rows, columns = x.shape[-2:]
    every_pixel = F.pixel_unshuffle(given.mask.to(x), given.mask.shape[-1] // columns)
    guidance = torch.full((len(x),), given.guidance, device=x.device) if network.config.guidance_embeds else None
    velocity = network(
        hidden_states=torch.cat([_packed(part) for part in (x, given.source, every_pixel)], dim=-1),
        timestep=timestep / 1000,
        guidance=guidance,
        pooled_projections=given.pooled,
        encoder_hidden_states=given.tokens,
        txt_ids=x.new_zeros(given.tokens.shape[1], 3),
        img_ids=_flux()._prepare_latent_image_ids(len(x), rows // 2, columns // 2, x.device, x.dtype),
        return_dict=False,
    )[0]
    unpacked: Tensor = _flux()._unpack_latents(velocity, rows, columns, 1)
    return unpacked


WAYS: dict[str, Way] = {"SD": through_unet, "SDXL": through_unet, "SD3": through_sd3, "FLUX": through_flux}


def _small(mask: Tensor, latents: Tensor) -> Tensor:
    """A mask [B,1,H,W] at the latents' size, nearest as diffusers' own inpainting pipelines take it."""
    return F.interpolate(mask.to(latents), latents.shape[-2:])


def _packed(latents: Tensor) -> Tensor:
    """[B,C,h,w] -> [B,hw/4,4C]."""
    packed: Tensor = _flux()._pack_latents(latents, *latents.shape)
    return packed


def _flux() -> Any:
    """FLUX's pipeline, imported where it is needed: with it come image processors that warn of what they lack."""
    from diffusers import FluxPipeline

    return FluxPipeline
