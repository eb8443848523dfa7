"""The families of pretrained models that can be widened, and opening one from a folder or by its hub name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from transformers.utils import logging as transformers_logging

from synthesis.errors import SynthesisError


@dataclass(frozen=True, kw_only=True)
class Family:
    """``drawing`` and ``inpainting`` are diffusers' pipelines before and after widening; ``part`` is the network.

    ``entry`` is the layer that the noisy latents enter by. ``packed``: latents enter as 2x2 patches, and the mask with
    every one of its pixels; otherwise the mask enters at the latents' size.
    """

    name: str
    drawing: str
    inpainting: str
    part: str
    entry: str
    packed: bool = False


FAMILIES = (
    Family(
        name="SD",
        drawing="StableDiffusionPipeline",
        inpainting="StableDiffusionInpaintPipeline",
        part="unet",
        entry="conv_in",
    ),
    Family(
        name="SDXL",
        drawing="StableDiffusionXLPipeline",
        inpainting="StableDiffusionXLInpaintPipeline",
        part="unet",
        entry="conv_in",
    ),
    Family(
        name="SD3",
        drawing="StableDiffusion3Pipeline",
        inpainting="StableDiffusion3InpaintPipeline",
        part="transformer",
        entry="pos_embed.proj",
    ),
    Family(
        name="FLUX",
        drawing="FluxPipeline",
        inpainting="FluxFillPipeline",
        part="transformer",
        entry="x_embedder",
        packed=True,
    ),
)


def open_pipeline(source: str, *, dtype: torch.dtype = torch.float32, revision: str | None = None) -> Any:
    """Open a diffusers folder or a hub's model; its weights must be safetensors, since a pickle may run code.

    Raises:
        SynthesisError: there is no such model, or it is broken.
    """
    _told_class(source, revision)
    diffusers.utils.logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        return DiffusionPipeline.from_pretrained(source, dtype=dtype, revision=revision, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise SynthesisError(f"model {source} does not load: {str(error).splitlines()[0]}") from error


def family_to_widen(source: str, *, revision: str | None = None) -> Family:
    """The family of a text-to-image model, by what its model_index.json says, before any weight is read.

    Raises:
        SynthesisError: there is no such model, it is of another family, or it is widened already.
    """
    told = _told_class(source, revision)
    for family in FAMILIES:
        if told == family.drawing:
            return family
        if told == family.inpainting:
            raise SynthesisError(f"{source} is a {told}: it has channels for source and mask already, use it as it is")
    raise SynthesisError(f"{source} is a {told}: what can be widened is {_listed('drawing')}")


def family_of_widened(pipeline: Any) -> Family:
    """The family of a widened pipeline.

    Raises:
        SynthesisError: it is no pipeline of a family, or its network lacks the channels.
    """
    told = type(pipeline).__name__
    for family in FAMILIES:
        if told == family.inpainting:
            return family
    raise SynthesisError(f"the pipeline is a {told}: a widened model is {_listed('inpainting')}; run atelier widen")


def _told_class(source: str, revision: str | None) -> str:
    try:
        index = DiffusionPipeline.load_config(source, revision=revision)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise SynthesisError(f"source '{source}' is no diffusers folder and no model of the hub: {why}") from error
    return str(index.get("_class_name"))


def _listed(which: str) -> str:
    return ", ".join(f"{getattr(family, which)} ({family.name})" for family in FAMILIES)
