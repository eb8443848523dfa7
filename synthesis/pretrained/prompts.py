"""Prompts as a pretrained model's own encoders read them, with the task said in words.

Shapes: B batch, T tokens, W the wider of token features and pooled feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synthesis.tasks import TASKS, task_named

UNTOLD = "text_to_image"


def told(prompt: str, task: str) -> str:
    """The prompt that tells a task: "edges: a dog". Text-to-image adds nothing: it is what the network knows."""
    task_named(task)
    return prompt if task == UNTOLD else f"{task.replace('_', ' ')}: {prompt}".strip()


class Prompts:
    """Encodes prompts into one tensor [B,1+T,W]: the pooled feature is its first row, zeros where there is none."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        tokens, pooled = self._features([""])
        self.token_width, self.pooled_width = tokens.shape[-1], 0 if pooled is None else pooled.shape[-1]

    def to(self, device: torch.device | str) -> None:
        """Move the encoders."""
        for name, part in self.pipeline.components.items():
            if name.startswith("text_encoder") and part is not None:
                part.to(device)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], tasks: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return features [B,1+T,W] and mask [B,1+T] bool: all false for an empty prompt, else all true."""
        features = self._encoded([told(prompt, task) for prompt, task in zip(prompts, tasks, strict=True)])
        spoken = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=features.device)
        return features * spoken[:, None, None], spoken[:, None].expand(-1, features.shape[1])

    @torch.no_grad()
    def unspoken(self) -> Tensor:
        """What stands for no text, a row a task [tasks,1+T,W]: the other half of classifier-free guidance."""
        features = self._encoded([told("", task) for task in TASKS])
        if self.pipeline.config.get("force_zeros_for_empty_prompt"):
            features[list(TASKS).index(UNTOLD)] = 0
        return features

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B,1+T,W] -> tokens [B,T,token_width] and pooled [B,pooled_width]: the inverse of how ``encode`` packs."""
        return features[:, 1:, : self.token_width], features[:, 0, : self.pooled_width]

    def _encoded(self, prompts: list[str]) -> Tensor:
        tokens, pooled = self._features(prompts)
        width = max(self.token_width, self.pooled_width)
        first = tokens.new_zeros(len(prompts), 1, 0) if pooled is None else pooled[:, None]
        rows = [F.pad(part, (0, width - part.shape[-1])) for part in (first, tokens)]
        return torch.cat(rows, dim=1)

    @torch.no_grad()
    def _features(self, prompts: list[str]) -> tuple[Tensor, Tensor | None]:
        """Tokens [B,T,D] and the pooled feature [B,P]; each family's pipeline returns them in an order of its own."""
        kind = type(self.pipeline).__name__
        device = self.pipeline.text_encoder.device
        if kind.startswith("Flux"):
            tokens, pooled, _ = self.pipeline.encode_prompt(prompts, None, device=device)
            return tokens, pooled
        if kind.startswith("StableDiffusion3"):
            tokens, _, pooled, _ = self.pipeline.encode_prompt(
                prompts, None, None, device=device, do_classifier_free_guidance=False
            )
            return tokens, pooled
        given = self.pipeline.encode_prompt(
            prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return given[0], given[2] if len(given) == 4 else None
