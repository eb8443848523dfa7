"""Scorers: a picture and a caption in one space, and how alike they are there.

Shapes: pictures' features [N,D], points float32 [N,E] of length 1, cosines [N] or [N,M].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from evaluation.extractors.protocol import Extractor


class Scorer(Protocol):
    """Puts pictures and captions into one space; it says by its name what its figures may be called."""

    @property
    def name(self) -> str:
        """``clipscore`` for a CLIP, ``aligner`` for the small network that ships: the first word of a figure's name."""

    @property
    def identity(self) -> str:
        """The networks with their digests: figures of other identity never compare."""

    @property
    def extractor(self) -> Extractor:
        """The network whose features of pictures ``of_features`` takes."""

    def of_features(self, features_ND: Tensor) -> Tensor:
        """Return the points [N,E] of pictures."""

    def of_captions(self, captions: Sequence[str]) -> Tensor:
        """Return the points [N,E] of captions; EvaluationError for an empty one."""

    def score(self, cosines: Tensor) -> Tensor:
        """Return the figure that a cosine counts as."""

    def cut(self, captions: Sequence[str]) -> int:
        """Return how many captions are longer than the scorer reads."""
