"""A frozen network of any make behind the protocol, once somebody knows how to load and to call it.

Shapes: pictures uint8 [B,3,H,W], values float32 [B,3,h,w], features float32 [B,D].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors.feeding import exact_float32
from evaluation.extractors.preprocessing import Preprocessing, check_pictures
from evaluation.extractors.weights import first_line

PROBE_PX = 32
Forward = Callable[[Tensor], Tensor]


class NetworkExtractor:
    """A network with its digest, family and preprocessing; made by the functions of this package.

    Making one lets the network look at one grey picture, so that a wrong size or a wrong file is told at once.
    Raises EvaluationError when the network gives no finite [B,D].
    """

    def __init__(
        self,
        forward: Forward,
        *,
        name: str,
        family: str,
        digest: str,
        preprocessing: Preprocessing,
        device: str | torch.device,
    ) -> None:
        self.name = name
        self.family = family
        self.digest = digest
        self.preprocessing = preprocessing.identity
        self.device = torch.device(device)
        self._forward = forward
        self._preprocess = preprocessing
        side_px = preprocessing.input_px if preprocessing.resize == "none" else PROBE_PX
        probe = torch.full((2, 3, side_px, side_px), 128, dtype=torch.uint8)
        features = self(probe)
        if not bool(features.isfinite().all()):
            raise EvaluationError(
                f"{name} gives values that are not numbers for a grey picture: its weights are broken"
            )
        self.dimensions = int(features.shape[1])

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,D], on ``device``, of uint8 pictures [B,3,H,W] on any device."""
        check_pictures(pictures_B3HW, self.name)
        with torch.inference_mode(), exact_float32():
            values = self._preprocess(pictures_B3HW.to(self.device, non_blocking=True))
            return self._checked(self._called(values), len(values))

    def _called(self, values_B3hw: Tensor) -> object:
        try:
            return self._forward(values_B3hw)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a foreign graph fails in ways of its own
            shape = list(values_B3hw.shape)
            raise EvaluationError(f"{self.name} fails on pictures {shape}: {first_line(error)}") from error

    def _checked(self, features: object, count: int) -> Tensor:
        if not isinstance(features, Tensor):
            raise EvaluationError(f"{self.name} gives {type(features).__name__}, one tensor [pictures, D] is right")
        if features.ndim != 2 or features.shape[0] != count or not features.is_floating_point():
            raise EvaluationError(
                f"{self.name} gives {features.dtype} {list(features.shape)} for {count} pictures,"
                f" floats [{count}, D] are right: cut the network before its head, or pool what it gives"
            )
        return features.float()
