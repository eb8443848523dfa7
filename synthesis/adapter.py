"""A brand's adapter: low-rank updates of every linear layer in the blocks, and the brand's own style vector.

The folder is peft's (``adapter_config.json``, ``adapter_model.safetensors``), so that peft alone can load it. The
style vector is one row of the style table, trained and stored by peft's trainable token indices.
Source of the method: Hu et al. 2021; merged weight = base + alpha / rank · B · A.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open

from synthesis.backbone import MultiTaskTransformer
from synthesis.errors import SynthesisError

ADAPTED_LAYERS = r"blocks\.\d+\.(attention\.(qkv|out)|text_attention\.(query|key_value|out)|mlp\.(gate_up|down))"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
STYLE_KEY = "embed_style.token_adapter.trainable_tokens_delta"
_PREFIX = "base_model.model."
_FREE_SETTINGS = {"r", "lora_alpha", "inference_mode", "auto_mapping", "base_model_name_or_path", "revision"} | {
    "task_type",
    "peft_version",
}


def attach_adapter(network: MultiTaskTransformer, *, rank: int, alpha: float, name: str = "default") -> PeftModel:
    """Wrap a network for training one brand: only the adapter and the brand's style row learn."""
    if not 1 <= rank <= 256:
        raise SynthesisError(f"rank {rank} must lie in 1 to 256")
    return get_peft_model(network, _lora_config(network, rank, alpha), adapter_name=name)


def merged_with(network: MultiTaskTransformer, folder: Path) -> MultiTaskTransformer:
    """A copy of the network with an adapter merged into its weights; the network itself stays as it is.

    The files are validated first. Drawing with updates beside the weights takes longer for the same pictures.
    """
    validate_adapter(network, folder)
    branded = PeftModel.from_pretrained(deepcopy(network), str(folder), is_trainable=False)
    merged: MultiTaskTransformer = branded.merge_and_unload()
    merged.eval().requires_grad_(False)
    return merged


def validate_adapter(network: MultiTaskTransformer, folder: Path) -> None:
    """Refuse an adapter whose settings, modules or shapes do not fit the network, without touching the network."""
    config = _read_config(folder)
    shapes = _stored_shapes(folder / "adapter_model.safetensors")
    expected = _expected_shapes(network, config.get("r"))
    for key, shape in shapes.items():
        if key not in expected:
            raise SynthesisError(f"adapter {folder} has a module that the backbone lacks: {key}")
        if shape != expected[key]:
            raise SynthesisError(f"adapter {folder}: {key} has shape {shape}, the backbone needs {expected[key]}")
    if STYLE_KEY not in shapes:
        raise SynthesisError(f"adapter {folder} has no style vector (embed_style): it was not made by atelier onboard")
    if missing := sorted(expected.keys() - shapes.keys()):
        raise SynthesisError(f"adapter {folder} lacks {missing[0]}: copy or train it again")
    _refuse_other_settings(config, network, folder)


def _lora_config(network: Any, rank: int, alpha: float) -> LoraConfig:
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=ADAPTED_LAYERS,
        trainable_token_indices={"embed_style": [network.brand_slot]},
    )


def _expected_shapes(base: Any, rank: Any) -> dict[str, tuple[Any, ...]]:
    shapes: dict[str, tuple[Any, ...]] = {STYLE_KEY: (1, base.config.width)}
    for name, layer in base.named_modules():
        if re.fullmatch(ADAPTED_LAYERS, name):
            shapes[f"{name}.lora_A.weight"] = (rank, layer.in_features)
            shapes[f"{name}.lora_B.weight"] = (layer.out_features, rank)
    return shapes


def _stored_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(file, framework="pt") as weights:
            return {key.removeprefix(_PREFIX): tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise SynthesisError(f"adapter {file} is broken: {error}") from error


def _refuse_other_settings(config: dict[str, Any], base: Any, folder: Path) -> None:
    """Shapes alone do not tell which style row is the brand's, or another kind of update with the same matrices."""
    if not isinstance(config.get("lora_alpha"), int | float):
        raise SynthesisError(f"adapter {folder}: lora_alpha is {config.get('lora_alpha')!r}, not a number")
    expected: dict[str, Any] = _lora_config(base, config["r"], config["lora_alpha"]).to_dict()
    for name in sorted(expected.keys() & config.keys() - _FREE_SETTINGS):
        if config[name] != expected[name]:
            raise SynthesisError(
                f"adapter {folder} was made for another backbone: its {name} is {config[name]}, not {expected[name]}"
            )


def _read_config(folder: Path) -> dict[str, Any]:
    for file in ADAPTER_FILES:
        if not (folder / file).is_file():
            raise SynthesisError(
                f"{folder} is not an adapter: it has no {file}; name a folder that atelier onboard wrote"
            )
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    except ValueError as error:
        raise SynthesisError(f"{folder / 'adapter_config.json'} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SynthesisError(f"{folder / 'adapter_config.json'} is not a JSON object")
    if config.get("peft_type") != "LORA":
        raise SynthesisError(f"{folder} is a {config.get('peft_type')} adapter: only LORA adapters are served")
    return config
