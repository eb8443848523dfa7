"""Statistics of a picture's features at every depth of EfficientNet-Lite0: what the descriptor's head is given.

What lies where in a picture is averaged away; how strongly a filter answers, how unevenly, and together with which
others stays.  Gatys et al. 2016 (Gram matrices), Huang and Belongie 2017 (means and deviations).
Shapes: pictures uint8 [B,3,H,W], maps [B,C,h,w], statistics float32 [B,D].
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.feeding import exact_float32
from evaluation.extractors.preprocessing import check_pictures
from evaluation.style.looks import LOOKS, looks

STEM_CHANNELS = 32
# The last block of each stage, with its channels.
STAGES = {0: 16, 2: 24, 4: 40, 7: 80, 10: 112, 14: 192, 15: 320}
GRAM_BLOCKS = {2: 24, 4: 40}  # deeper Gram matrices tell of content and hold thousands of numbers
GRAM_NUMBERS = sum(channels * (channels - 1) // 2 for channels in GRAM_BLOCKS.values())
DEFINITION = "1"  # one more whenever a statistic changes: it is part of the digest
_EPSILON = 1e-3


class StyleStatistics:
    """EfficientNet-Lite0's means, deviations and correlations of channels, stage by stage, and the looks of the pixels.

    Pictures are resized to 128×128 px (bicubic with antialiasing): at 224 px the network takes four times as long.
    """

    name = "style-statistics"
    family = "other"
    preprocessing = "128px-bicubic-antialias"
    input_px = 128
    dimensions = 3 * STEM_CHANNELS + 2 * sum(STAGES.values()) + GRAM_NUMBERS + LOOKS

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        """Load EfficientNet-Lite0 (``weights`` a state dict file, by default the packaged one) onto ``device``.

        Raises EvaluationError when the file is not there or does not fit the network.
        """
        self._network = EfficientNetLite0(weights, device)
        self._network.input_px = self.input_px
        self.device = self._network.device
        self.digest = hashlib.sha256(f"{self._network.digest} statistics {DEFINITION}".encode()).hexdigest()

    @torch.inference_mode()
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 statistics [B,D] on ``device`` of uint8 pictures [B,3,H,W]."""
        check_pictures(pictures_B3HW, self.name)
        with exact_float32():
            pictures = pictures_B3HW.to(self.device, non_blocking=True)
            seen = looks(_resized(pictures.float() / 255, self.input_px))
            return torch.cat([*self._of_stages(self._network._prepared(pictures)), seen], 1).float()

    def _of_stages(self, values_B3hw: Tensor) -> list[Tensor]:
        network = self._network._network
        maps = network._swish(network._bn0(network._conv_stem(values_B3hw)))
        found = [*moments(maps), maps.amax((2, 3))]
        for number, block in enumerate(network._blocks):
            maps = block(maps, drop_connect_rate=0.0)
            if number in STAGES:
                found += moments(maps)
            if number in GRAM_BLOCKS:
                found.append(correlations(maps))
        return found


def parts() -> dict[str, Tensor]:
    """Return which numbers of the statistics are ``moments``, ``correlations`` and ``looks``: int64 indices each."""
    kinds = ["moments"] * (3 * STEM_CHANNELS)
    for number, channels in STAGES.items():
        kinds += ["moments"] * (2 * channels)
        if number in GRAM_BLOCKS:
            kinds += ["correlations"] * (channels * (channels - 1) // 2)
    kinds += ["looks"] * LOOKS
    return {kind: torch.tensor([place for place, name in enumerate(kinds) if name == kind]) for kind in set(kinds)}


def moments(maps_BChw: Tensor) -> list[Tensor]:
    """Return the mean and the deviation of each channel over the picture, [B,C] each."""
    deviation, mean = torch.std_mean(maps_BChw, dim=(2, 3))
    return [mean, deviation]


def correlations(maps_BChw: Tensor) -> Tensor:
    """Return [B,C(C-1)/2]: which channels answer at the same places; the Gram matrix of standardised channels."""
    flat = maps_BChw.flatten(2)
    deviation, mean = torch.std_mean(flat, dim=2, keepdim=True)
    standard = (flat - mean) / (deviation + _EPSILON)
    gram = standard @ standard.transpose(1, 2) / flat.shape[2]
    rows, columns = torch.triu_indices(gram.shape[1], gram.shape[2], 1)
    return gram[:, rows, columns]


def _resized(values_B3HW: Tensor, side_px: int) -> Tensor:
    if values_B3HW.shape[-2:] == (side_px, side_px):
        return values_B3HW
    return functional.interpolate(values_B3HW, size=(side_px, side_px), mode="bicubic", antialias=True)
