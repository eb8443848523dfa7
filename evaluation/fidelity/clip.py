"""CLIPScore with any CLIP: 100 · max(cos(picture, caption), 0), as torchmetrics has it.

Hessel et al. 2021 multiply by 2.5 instead.  Shapes: points float32 [N,E].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.extractors.hub import load, pictures_of, pooled
from evaluation.extractors.protocol import extractor_identity
from evaluation.extractors.weights import first_line

BATCH_CAPTIONS = 256


class ClipScore:
    """A CLIP of transformers, by folder or by the hub's name."""

    name = "clipscore"

    def __init__(self, path: str | Path, *, sha256: str | None = None, device: str = "cpu") -> None:
        """Load both halves; EvaluationError when it is no CLIP, not there, or another file than ``sha256`` says."""
        loaded = load(path, sha256=sha256, device=device)
        self._model: Any = loaded.model
        if loaded.family != "clip" or not callable(getattr(self._model, "get_text_features", None)):
            raise EvaluationError(f"{path} is no CLIP with both halves: CLIPScore is measured with a CLIP alone")
        self.extractor = pictures_of(loaded, device=device)
        self.identity = extractor_identity(self.extractor)
        self._tokenizer = _tokenizer(loaded.folder)
        config: Any = loaded.model.config
        self._longest = int(config.text_config.max_position_embeddings)

    def of_features(self, features_ND: Tensor) -> Tensor:
        """Return pictures' features at length 1."""
        return functional.normalize(features_ND.float(), dim=1)

    @torch.inference_mode()
    def of_captions(self, captions: Sequence[str]) -> Tensor:
        """Return captions' features [N,E]; what is behind the 77th token (of OpenAI's CLIP) is not read."""
        for caption in captions:
            if not caption.strip():
                raise EvaluationError("a caption is empty: there is nothing that a picture of it should show")
        points = []
        for begin in range(0, len(captions), BATCH_CAPTIONS):
            inputs = self._tokenizer(
                list(captions[begin : begin + BATCH_CAPTIONS]),
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            ).to(self.extractor.device)
            output = self._model.get_text_features(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            )
            points.append(functional.normalize(pooled(output).float(), dim=1).cpu())
        return torch.cat(points)

    def score(self, cosines: Tensor) -> Tensor:
        """Return 100 · max(cos, 0)."""
        return 100 * cosines.clamp_min(0)

    def cut(self, captions: Sequence[str]) -> int:
        """Return how many captions have more tokens than CLIP reads."""
        return sum(len(tokens) > self._longest for tokens in self._tokenizer(list(captions))["input_ids"])


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # a missing file fails in transformers, tokenizers or json
        raise EvaluationError(f"{folder} has no tokenizer that loads: {first_line(error)}") from error
    # That a caption is long is told by ``cut``, in the report.
    transformers_logging.get_logger("transformers.tokenization_utils_base").setLevel("ERROR")
    return tokenizer
