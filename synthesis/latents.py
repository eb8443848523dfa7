"""Pictures to latents and back by a frozen autoencoder of diffusers.

Shapes: B batch, C latent channels, H W picture, h w latent; pictures in -1..1.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from torch import Tensor

from synthesis.errors import SynthesisError
from synthesis.text import weights_digest

KINDS = {"kl": AutoencoderKL, "dc": AutoencoderDC, "tiny": AutoencoderTiny}


class Autoencoder:
    """Takes the mean of the posterior, not a sample of it: the same picture gives the same latents."""

    def __init__(self, model: Any) -> None:
        """``model`` is one of ``KINDS``."""
        if type(model) not in KINDS.values():
            known = ", ".join(kind.__name__ for kind in KINDS.values())
            raise SynthesisError(f"the codec is a {type(model).__name__}: it must be one of {known}")
        self.model: Any = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: str | Path) -> Autoencoder:
        """Load an AutoencoderKL that diffusers saved, or a hub's name."""
        return open_autoencoder(kind="kl", source=str(folder))

    @cached_property
    def digest(self) -> str:
        """sha256 of the weights and the scale, so that latents of two autoencoders are never mixed."""
        config = self.model.config
        rest = [self._shift, config.get("latents_mean"), config.get("latents_std")]
        told = "".join(f"-{value}" for value in rest if value)
        return f"{weights_digest(self.model)}-{config.scaling_factor}{told}"

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self.model.config.latent_channels)

    @property
    def factor_px(self) -> int:
        """Pixels a side for each latent."""
        if isinstance(self.model, AutoencoderDC):
            return int(self.model.spatial_compression_ratio)
        return int(2 ** (len(self.model.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [B,3,H,W] to latents [B,C,h,w] of about unit variance: z' = s·(z - b), s the scale, b the shift."""
        weight = next(self.model.parameters())
        given = self.model.encode(pictures.to(weight.device, weight.dtype))
        mean, spread = self._statistics(weight)
        latents: Tensor = (self._latents(given) - mean) * self.model.config.scaling_factor / spread
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B,C,h,w] to pictures [B,3,H,W]."""
        weight = next(self.model.parameters())
        latents = latents.to(weight.device, weight.dtype)
        mean, spread = self._statistics(latents)
        pictures: Tensor = self.model.decode(latents * spread / self.model.config.scaling_factor + mean).sample
        return pictures

    @staticmethod
    def _latents(given: Any) -> Tensor:
        """What each kind calls its latents."""
        latents: Tensor
        if "latent_dist" in given:
            latents = given.latent_dist.mean
        else:
            latents = given["latent"] if "latent" in given else given["latents"]
        return latents

    @property
    def _shift(self) -> float:
        return float(self.model.config.get("shift_factor") or 0.0)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and spread [1,C,1,1]: some models of the SDXL family list them channel by channel."""
        config = self.model.config
        mean, spread = config.get("latents_mean"), config.get("latents_std")
        if mean is None or spread is None:
            return like.new_full((1, 1, 1, 1), self._shift), like.new_ones(1, 1, 1, 1)
        return torch.tensor(mean).view(1, -1, 1, 1).to(like), torch.tensor(spread).view(1, -1, 1, 1).to(like)


def open_autoencoder(
    *, kind: str, source: str, subfolder: str | None = None, revision: str | None = None
) -> Autoencoder:
    """Open a codec by its kind from a folder that diffusers saved or by a hub's name.

    Raises:
        SynthesisError: the kind is unknown, or nothing of that kind lies there.
    """
    if kind not in KINDS:
        raise SynthesisError(f"codec.kind '{kind}' is unknown: it must be one of {', '.join(KINDS)}")
    where = {"subfolder": subfolder, "revision": revision}
    try:
        told = KINDS[kind].load_config(source, **where).get("_class_name")
        if told not in (None, KINDS[kind].__name__):
            raise SynthesisError(f"codec.source {source} holds a {told}, and codec={kind} is {KINDS[kind].__name__}")
        return Autoencoder(KINDS[kind].from_pretrained(source, use_safetensors=True, **where))
    except (OSError, ValueError, RuntimeError) as error:
        raise SynthesisError(f"codec.source {source} does not load: {str(error).splitlines()[0]}") from error
