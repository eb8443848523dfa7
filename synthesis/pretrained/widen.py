"""Widens a pretrained text-to-image model's input by a source and a mask, without changing what it draws.

Channels of the noisy latents come first and keep their weights, the new ones follow with zeros, in the order of
diffusers' own inpainting pipelines: what is saved is one of those, with nothing of this project in it.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import nn

from synthesis.errors import SynthesisError
from synthesis.latents import Autoencoder
from synthesis.pretrained.families import Family


def widened(pipeline: Any, family: Family, *, codec: Autoencoder | None = None) -> Any:
    """Return the family's inpainting pipeline around the same parts, the network's input widened in place.

    ``codec`` takes the place of the model's own autoencoder.

    Raises:
        SynthesisError: the codec's latents are not those that the network knows.
    """
    vae = pipeline.vae if codec is None else codec.model
    chosen = Autoencoder(vae)
    network = getattr(pipeline, family.part)
    known = network.config.in_channels // (4 if family.packed else 1)
    if chosen.channels != known:
        raise SynthesisError(
            f"the codec {type(vae).__name__} makes latents of {chosen.channels} channels, the network takes {known}: "
            "choose a codec that was trained for this family, or codec=own"
        )
    widen_network(network, family, source_channels=known, mask_px=chosen.factor_px)
    kind = getattr(diffusers, family.inpainting)
    # Unless told, from_pipe turns all weights into float32.
    return kind.from_pipe(pipeline, dtype=network.dtype, **({} if codec is None else {"vae": vae}))


def widen_network(network: Any, family: Family, *, source_channels: int, mask_px: int) -> None:
    """Give the network input channels for source and mask, in place; ``mask_px`` is a latent's side in pixels."""
    added = 4 * (source_channels + mask_px**2) if family.packed else source_channels + 1
    held_out = network.config.out_channels or network.config.in_channels
    layer = network.get_submodule(family.entry)
    network.set_submodule(family.entry, wider(layer, added))
    network.register_to_config(in_channels=network.config.in_channels + added, out_channels=held_out)


@torch.no_grad()
def wider(layer: nn.Module, added: int) -> nn.Conv2d | nn.Linear:
    """The same layer with ``added`` input channels behind its own, zero: W' = [W 0], so W'·[x, c] = W·x."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise SynthesisError(f"the input layer is a {type(layer).__name__}: a Conv2d or a Linear can be widened")
    like: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype, "bias": layer.bias is not None}
    wide: nn.Conv2d | nn.Linear
    if isinstance(layer, nn.Conv2d):
        shape: Any = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
        wide = nn.Conv2d(layer.in_channels + added, layer.out_channels, **shape, **like)
    else:
        wide = nn.Linear(layer.in_features + added, layer.out_features, **like)
    wide.weight.zero_()
    wide.weight[:, : layer.weight.shape[1]] = layer.weight
    if layer.bias is not None and wide.bias is not None:
        wide.bias.copy_(layer.bias)
    return wide.requires_grad_(layer.weight.requires_grad)
