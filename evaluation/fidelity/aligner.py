"""The aligner: a small network from EfficientNet-Lite0's features into a space shared with MiniLM's captions.

It ships in ``assets/aligner``, and ``atelier fit fitted=aligner`` makes it.  It learnt from drawings of icons and emoji
alone and knows nothing else: it is no CLIP, and its figures compare among themselves only.
Shapes: features [N,1280], captions [N,384], points float32 [N,E] of length 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from atelier import PROJECT_ROOT
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.protocol import DIGEST_CHARACTERS, extractor_identity
from evaluation.extractors.weights import first_line, weights_sha256
from evaluation.fidelity.captions import PooledCaptions

SHIPPED = PROJECT_ROOT / "assets" / "aligner"
WEIGHTS_FILE = "aligner.safetensors"
CARD_FILE = "aligner.json"


class AlignerNetwork(nn.Module):
    """Pictures by a multilayer perceptron, captions by a matrix: both to points [N,E] of length 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, *, features: int = 1280, space: int = 384, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.picture = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, space)
        )
        self.caption = nn.Linear(space, space, bias=False)
        nn.init.eye_(self.caption.weight)

    def pictures(self, features_ND: Tensor) -> Tensor:
        """Return the points of pictures' features."""
        return functional.normalize(self.picture((features_ND - self.mean) / self.deviation), dim=1)

    def captions(self, captions_NE: Tensor) -> Tensor:
        """Return the points of pooled captions."""
        return functional.normalize(self.caption(captions_NE), dim=1)


class Aligner:
    """A fitted aligner as a scorer: the cosine itself is the score."""

    name = "aligner"

    def __init__(
        self, folder: str | Path | None = None, *, cache: str | Path | None = None, device: str = "cpu"
    ) -> None:
        """Load a folder that ``atelier fit`` wrote, by default the one that ships; ``cache`` remembers captions.

        Raises EvaluationError when it is missing, broken, or was fitted to other networks than those at hand.
        """
        self._folder = Path(folder) if folder else SHIPPED
        card = _card(self._folder)
        self.digest = weights_sha256([self._folder / WEIGHTS_FILE])
        self.identity = f"aligner@{self.digest[:DIGEST_CHARACTERS]}"
        self._network = _loaded(self._folder / WEIGHTS_FILE, card)
        self._fitted_to = card["fitted_to"]
        self._cache = Path(cache) if cache else None
        self._device = device

    @cached_property
    def extractor(self) -> EfficientNetLite0:
        """The network whose features it takes; EvaluationError when it learnt those of another."""
        extractor = EfficientNetLite0(device=self._device)
        self._check("pictures", extractor_identity(extractor))
        return extractor

    @cached_property
    def _captions(self) -> PooledCaptions:
        captions = PooledCaptions(self._cache)
        self._check("captions", captions.digest)
        return captions

    def of_features(self, features_ND: Tensor) -> Tensor:
        """Return the points of pictures."""
        with torch.inference_mode():
            return self._network.pictures(features_ND.float())

    def of_captions(self, captions: Sequence[str]) -> Tensor:
        """Return the points of captions."""
        with torch.inference_mode():
            return self._network.captions(self._captions(captions))

    def score(self, cosines: Tensor) -> Tensor:
        """Return the cosines."""
        return cosines

    def cut(self, captions: Sequence[str]) -> int:
        """Return how many captions have more tokens than are read."""
        return self._captions.cut(captions)

    def _check(self, what: str, found: str) -> None:
        if self._fitted_to[what] != found:
            raise EvaluationError(
                f"{self._folder} was fitted to {what} of {self._fitted_to[what]}, not {found}:"
                " atelier fit fitted=aligner"
            )


def _card(folder: Path) -> dict[str, Any]:
    file = folder / CARD_FILE
    if not file.is_file():
        raise EvaluationError(f"no aligner at {folder}, it has no {CARD_FILE}: atelier fit fitted=aligner out={folder}")
    try:
        card = json.loads(file.read_bytes())
        return {"width": int(card["config"]["width"]), "fitted_to": dict(card["fitted_to"])}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{file} is broken ({first_line(error)}): atelier fit fitted=aligner") from None


def _loaded(file: Path, card: dict[str, Any]) -> AlignerNetwork:
    network = AlignerNetwork(card["width"])
    try:
        halves = load_file(file)
        network.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        raise EvaluationError(f"{file} does not hold an aligner's weights: {first_line(error)}") from None
    return network.eval().requires_grad_(False)
