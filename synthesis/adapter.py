"""A brand's adapter: low-rank updates of every linear layer in the blocks, and the brand's own style vector.

The folder is peft's (``adapter_config.json``, ``adapter_model.safetensors``), so that peft alone can load it. The
style vector is one row of the style table, trained and stored by peft's trainable token indices.
Source of the method: Hu et al. 2021; merged weight = base + alpha / rank · B · A.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open
from torch import nn

from synthesis.backbone import MultiTaskTransformer
from synthesis.errors import SynthesisError

ADAPTED_LAYERS = r"blocks\.\d+\.(attention\.(qkv|out)|text_attention\.(query|key_value|out)|mlp\.(gate_up|down))"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_PREFIX = "base_model.model."
_LORA_KEY = re.compile(rf"({ADAPTED_LAYERS})\.lora_([AB])\.weight")


def attach_adapter(network: MultiTaskTransformer, *, rank: int, alpha: float, name: str = "default") -> PeftModel:
    """Wrap a network for training one brand: only the adapter and the brand's style row learn."""
    if not 1 <= rank <= 256:
        raise SynthesisError(f"rank {rank} must lie in 1 to 256")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=ADAPTED_LAYERS,
        trainable_token_indices={"embed_style": [network.brand_slot]},
    )
    return get_peft_model(network, config, adapter_name=name)


def load_adapter(network: nn.Module, folder: Path, name: str) -> PeftModel:
    """Put an adapter on a network, or beside the adapters that are on it.

    The files are validated first: a file with an unexpected module can destroy the adapters that are loaded.
    """
    validate_adapter(network, folder)
    if isinstance(network, PeftModel):
        network.load_adapter(str(folder), adapter_name=name, is_trainable=False)
        return network
    return PeftModel.from_pretrained(network, str(folder), adapter_name=name, is_trainable=False)


def validate_adapter(network: nn.Module, folder: Path) -> None:
    """Refuse an adapter whose modules, ranks or shapes do not fit the network, without touching the network."""
    config = _read_config(folder)
    base: Any = network.get_base_model() if isinstance(network, PeftModel) else network
    rank = config.get("r")
    try:
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
            shapes = {key.removeprefix(_PREFIX): tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise SynthesisError(f"adapter {folder / 'adapter_model.safetensors'} is broken: {error}") from error
    layers: dict[str, Any] = dict(base.named_modules())
    width = base.config.width
    for key, shape in shapes.items():
        if key.startswith("embed_style.") and shape == (1, width):
            continue
        found = _LORA_KEY.fullmatch(key)
        layer = layers.get(found.group(1)) if found else None
        if found is None or layer is None:
            raise SynthesisError(f"adapter {folder} has a module that the backbone lacks: {key}")
        expected = (rank, layer.in_features) if found.groups()[-1] == "A" else (layer.out_features, rank)
        if shape != expected:
            raise SynthesisError(f"adapter {folder}: {key} has shape {shape}, the backbone needs {expected}")
    if not any(key.startswith("embed_style.") for key in shapes):
        raise SynthesisError(f"adapter {folder} has no style vector (embed_style): it was not made by atelier onboard")


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
    if config.get("peft_type") != "LORA":
        raise SynthesisError(f"{folder} is a {config.get('peft_type')} adapter: only LORA adapters are served")
    return config
