"""The style descriptor: pictures of one look lie close, whatever they show.

Shapes: pictures uint8 [B,3,H,W], statistics [B,D], descriptors float32 [B,E] of length 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.extractors.feeding import exact_float32
from evaluation.extractors.weights import weights_sha256
from evaluation.style.statistics import StyleStatistics

DESCRIPTOR_FOLDER = "assets/descriptor"
WEIGHTS_FILE = "descriptor.safetensors"
FURTHEST_DEVIATIONS = 6.0  # a statistic further out than this says no more


class StyleHead(nn.Module):
    """Two layers over standardised statistics: z = unit(W₂ gelu(W₁ (x - μ)/σ)), [B,D] → [B,E]."""

    def __init__(self, statistics: int, hidden: int, dimensions: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("deviation", torch.ones(statistics))
        self.hidden = nn.Linear(statistics, hidden)
        self.out = nn.Linear(hidden, dimensions)
        self.dropout = nn.Dropout(dropout)

    def forward(self, statistics_BD: Tensor) -> Tensor:
        """Return descriptors [B,E] of length 1."""
        standard = (statistics_BD - self.get_buffer("mean")) / self.get_buffer("deviation")
        inner = functional.gelu(self.hidden(self.dropout(standard.clamp(-FURTHEST_DEVIATIONS, FURTHEST_DEVIATIONS))))
        return functional.normalize(self.out(self.dropout(inner)), dim=1)


class StyleDescriptor:
    """A folder that ``atelier fit fitted=descriptor`` wrote, as an extractor.

    The digest is that of its weights file; it refuses weights that were fitted on other statistics than today's.
    """

    name = "style-descriptor"
    family = "style"
    preprocessing = StyleStatistics.preprocessing

    def __init__(self, folder: Path | str = DESCRIPTOR_FOLDER, device: str = "cpu") -> None:
        """Load the descriptor; EvaluationError when it is not there, is broken, or fits other statistics."""
        file = Path(folder) / WEIGHTS_FILE
        if not file.is_file():
            raise EvaluationError(f"no style descriptor at {file}: make one with atelier fit fitted=descriptor")
        self.digest = weights_sha256([file])
        self._statistics = StyleStatistics(device=device)
        self.device = self._statistics.device
        self._head = load_head(file, self._statistics.digest).to(self.device)
        self.dimensions = self._head.out.out_features

    @torch.inference_mode()
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 descriptors [B,E] on ``device`` of uint8 pictures [B,3,H,W]."""
        statistics_BD = self._statistics(pictures_B3HW)
        with exact_float32():
            return self._head(statistics_BD)  # type: ignore[no-any-return]


def load_head(file: Path, statistics_sha256: str) -> StyleHead:
    """Return the head that a file holds; EvaluationError for another file, or one fitted on other statistics."""
    try:
        with safe_open(file, framework="pt") as content:
            fitted_on = (content.metadata() or {}).get("statistics")
            weights = {name: content.get_tensor(name).float() for name in content.keys()}  # noqa: SIM118
        hidden, statistics = weights["hidden.weight"].shape
        head = StyleHead(statistics, hidden, len(weights["out.weight"]))
        head.load_state_dict(weights)
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise EvaluationError(f"{file} holds no style descriptor ({str(error).splitlines()[0][:120]})") from None
    if fitted_on != statistics_sha256:
        raise EvaluationError(
            f"{file} was fitted on statistics {str(fitted_on)[:12]}, today's are {statistics_sha256[:12]}:"
            " fit it again with atelier fit fitted=descriptor"
        )
    return head.eval().requires_grad_(False)
