"""Pictures to latents and back by a frozen autoencoder of diffusers.

Shapes: B batch, C latent channels, H W picture, h w latent; pictures in -1..1.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from synthesis.text import weights_digest


class Autoencoder:
    """Takes the mean of the posterior, not a sample of it: the same picture gives the same latents."""

    def __init__(self, model: AutoencoderKL) -> None:
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: str | Path) -> Autoencoder:
        """Load what diffusers saved, or a hub's name."""
        return cls(AutoencoderKL.from_pretrained(str(folder)))

    @cached_property
    def digest(self) -> str:
        """sha256 of the weights and the scale, so that latents of two autoencoders are never mixed."""
        return f"{weights_digest(self.model)}-{self.model.config.scaling_factor}"

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B,3,H,W] to latents [B,C,h,w], scaled to about unit variance."""
        weight = next(self.model.parameters())
        posterior = self.model.encode(pictures.to(weight.device, weight.dtype)).latent_dist
        latents: Tensor = posterior.mean * self.model.config.scaling_factor
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B,C,h,w] to pictures [B,3,H,W]."""
        pictures: Tensor = self.model.decode(latents / self.model.config.scaling_factor).sample
        return pictures
