"""CLIP, SigLIP and DINOv2 as transformers saves them: by folder, or by the hub's name.

Shapes: values [B,3,h,w], features [B,D].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.errors import EvaluationError
from evaluation.extractors.network import NetworkExtractor
from evaluation.extractors.preprocessing import NORMALISATIONS, Preprocessing
from evaluation.extractors.weights import first_line, weights_sha256

# What each family of networks is known as, by transformers' own name for it.
FAMILIES = {
    "clip": "clip",
    "clip_vision_model": "clip",
    "siglip": "siglip",
    "siglip_vision_model": "siglip",
    "siglip2": "siglip",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2",
}
RESAMPLING = {2: "bilinear-antialias", 3: "bicubic-antialias"}  # Pillow's numbers, which processors save
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network of transformers with where it came from."""

    name: str
    folder: Path
    family: str
    digest: str
    model: nn.Module


def from_hub(
    path: str | Path,
    *,
    sha256: str | None = None,
    resize: str | None = None,
    input_px: int | None = None,
    device: str = "cpu",
) -> NetworkExtractor:
    """Load a network of transformers: a folder, or a name such as ``facebook/dinov2-base``.

    The features are what its authors compare pictures by: CLIP's projection, SigLIP's pooled output, DINOv2's class
    token.  Size, resampling and normalisation are those of the saved processor unless given.
    Raises EvaluationError when it is not there, of another family, or another file than ``sha256`` says.
    """
    return pictures_of(load(path, sha256=sha256, device=device), resize=resize, input_px=input_px, device=device)


def pictures_of(
    loaded: Loaded, *, resize: str | None = None, input_px: int | None = None, device: str = "cpu"
) -> NetworkExtractor:
    """Return the extractor of a network that is loaded already."""
    forward = _Forward(loaded.model, loaded.family)
    side_px = input_px or _trained_px(loaded)
    return NetworkExtractor(
        forward,
        name=loaded.name,
        family=loaded.family,
        digest=loaded.digest,
        preprocessing=_preprocessing(loaded, side_px, resize),
        device=device,
    )


def load(path: str | Path, *, sha256: str | None = None, device: str = "cpu") -> Loaded:
    """Load a network of one of the families; EvaluationError says what is wrong."""
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    folder = _folder(path)
    kind = str(_read(folder / "config.json").get("model_type"))
    if kind not in FAMILIES:
        raise EvaluationError(f"{path} is of kind {kind}, none of {', '.join(sorted(FAMILIES))}")
    digest = weights_sha256(_weights(folder), sha256)
    try:
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except Exception as error:  # a broken folder fails in transformers, safetensors or torch
        raise EvaluationError(f"{path} does not load with transformers: {first_line(error)}") from error
    model = model.eval().requires_grad_(False).to(torch.device(device))
    return Loaded(name=_name(path), folder=folder, family=FAMILIES[kind], digest=digest, model=model)


class _Forward:
    """Calls a network for what its family compares pictures by."""

    def __init__(self, model: nn.Module, family: str) -> None:
        self._model: Any = model
        self._whole = family in ("clip", "siglip") and callable(getattr(model, "get_image_features", None))

    def __call__(self, values_B3hw: Tensor) -> Tensor:
        if self._whole:
            return pooled(self._model.get_image_features(pixel_values=values_B3hw))
        return pooled(self._model(pixel_values=values_B3hw))


def pooled(output: Any) -> Tensor:
    """Return the one vector a picture or a text that a network of transformers gives, whatever it wraps it in."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _folder(path: str | Path) -> Path:
    """Return a local folder as it is, or the hub's copy of a name, fetched unless it was before."""
    if Path(path).is_dir():
        return Path(path)
    if Path(path).is_absolute() or str(path).count("/") != 1:
        raise EvaluationError(f"no folder at {path}: pass a folder that transformers saved, or a name as OWNER/NAME")
    from huggingface_hub import snapshot_download

    try:
        kept = ["*.json", "*.safetensors", "*.txt", "*.model"]
        return Path(snapshot_download(str(path), allow_patterns=kept))
    except Exception as error:  # the network and the hub fail in many ways
        raise EvaluationError(
            f"{path} is neither a folder nor to be had from the hub ({first_line(error)}): pass a folder"
        ) from error


def _weights(folder: Path) -> list[Path]:
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise EvaluationError(f"{folder} has no model.safetensors: save the network with save_pretrained")
    return files


def _name(path: str | Path) -> str:
    return Path(path).name.lower()


def _trained_px(loaded: Loaded) -> int:
    """Return the side that a network was trained at: its processor's, else its configuration's."""
    processor = _processor(loaded.folder)
    cut = processor.get("crop_size") if processor.get("do_center_crop") else None
    for told in (cut, processor.get("size")):
        if side_px := _side(told):
            return side_px
    config: Any = loaded.model.config
    return int(getattr(config, "vision_config", config).image_size)


def _preprocessing(loaded: Loaded, input_px: int, resize: str | None) -> Preprocessing:
    processor = _processor(loaded.folder)
    before_px = _side(processor.get("size")) if processor.get("do_center_crop") else None
    return Preprocessing(
        input_px=input_px,
        resize=resize or RESAMPLING.get(int(processor.get("resample", 3)), "bicubic-antialias"),
        resize_px=before_px if before_px and before_px > input_px else None,
        normalisation=_normalisation(processor, loaded.family),
    )


def _normalisation(processor: Mapping[str, Any], family: str) -> str | list[list[float]]:
    """Return the saved mean and deviation, by name where they have one, else those of the family."""
    mean, deviation = processor.get("image_mean"), processor.get("image_std")
    if mean is None or deviation is None:
        return {"clip": "clip", "siglip": "half"}.get(family, "imagenet")
    for name, known in NORMALISATIONS.items():
        if (tuple(mean), tuple(deviation)) == known:
            return name
    return [list(map(float, mean)), list(map(float, deviation))]


def _processor(folder: Path) -> Mapping[str, Any]:
    """Return what was saved of the picture processor; nothing where there is none."""
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            told = _read(folder / name)
            nested: Mapping[str, Any] = told.get("image_processor", told)
            return nested
    return {}


def _side(told: Any) -> int | None:
    """Return the side of ``224``, ``{"shortest_edge": 224}`` or ``{"height": 224, "width": 224}``."""
    if isinstance(told, Mapping):
        told = told.get("shortest_edge") or told.get("height")
    return int(told) if told else None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        told: Mapping[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise EvaluationError(f"{file.parent} has no {file.name}: pass a folder that transformers saved") from None
    except ValueError as error:
        raise EvaluationError(f"{file} is broken: {error}") from None
    return told
