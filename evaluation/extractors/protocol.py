"""From pictures to features: the seam at which another network (Inception, DINOv2, SSCD) takes its place.

Shapes: pictures uint8 [B,3,H,W] in 0..255, features float32 [B,D].
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

DIGEST_CHARACTERS = 12
INCEPTION_FID = "inception-fid"  # the family whose Fréchet distance is called FID


class Extractor(Protocol):
    """A frozen network that turns pictures into feature vectors, and says exactly which one it is."""

    @property
    def name(self) -> str:
        """Short name of the network, as it stands in the identity of every figure."""

    @property
    def digest(self) -> str:
        """sha256 of the weights file, in hexadecimal."""

    @property
    def family(self) -> str:
        """What the features are known as: a figure may bear a published name (FID, CMMD) only for its own family.

        ``inception-fid``, ``clip``, ``siglip``, ``dinov2``, ``sscd``, ``efficientnet``, or ``other``.
        """

    @property
    def dimensions(self) -> int:
        """Length D of a feature vector."""

    @property
    def preprocessing(self) -> str:
        """How a picture reaches the network: another resizer gives other figures, so it is part of their identity."""

    @property
    def device(self) -> torch.device:
        """Where the network computes; pictures are brought there, and features may still lie there."""

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,D], on ``device``, of uint8 pictures [B,3,H,W] on any device.

        Raises EvaluationError for pictures that are no such tensor.
        """


def extractor_identity(extractor: Extractor) -> str:
    """Return e.g. ``efficientnet-lite0@579344248a93/224px-bicubic-antialias``."""
    return f"{extractor.name}@{extractor.digest[:DIGEST_CHARACTERS]}/{extractor.preprocessing}"
