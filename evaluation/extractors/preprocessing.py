"""How a picture reaches a network: size, resampling, normalisation, all of which a figure's identity tells.

Shapes: pictures uint8 [B,3,H,W] in 0..255, values float32 [B,3,h,w].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError

RESIZERS = ("bicubic-antialias", "bilinear-antialias", "bilinear", "tf1-bilinear", "none")
# Each channel's (mean, deviation), of values in 0..1.
NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # -1..1
    "inception": ((128 / 255,) * 3, (128 / 255,) * 3),  # (x - 128) / 128
    "unit": ((0.0,) * 3, (1.0,) * 3),  # 0..1
    "bytes": ((0.0,) * 3, (1 / 255,) * 3),  # 0..255
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize to a square, cut its centre out, normalise.

    Args:
        input_px: the side that the network takes.
        resize: how pictures get there. ``bicubic-antialias`` and ``bilinear-antialias`` resample as Pillow does (and
            clean-fid with the former), ``bilinear`` as torch without antialiasing (pytorch-fid), ``tf1-bilinear`` as
            TensorFlow 1 (torch-fidelity, torchmetrics); ``none`` for a network that resizes by itself.
        resize_px: resize to this larger side first, and cut ``input_px`` from the centre; None: no cut.
        normalisation: a name of ``NORMALISATIONS``, or mean and deviation of each channel of values in 0..1.
    """

    input_px: int
    resize: str = "bicubic-antialias"
    resize_px: int | None = None
    normalisation: str | Sequence[Sequence[float]] = "imagenet"

    def __post_init__(self) -> None:
        if self.resize not in RESIZERS:
            raise EvaluationError(f"resize {self.resize!r} is none of {', '.join(RESIZERS)}")
        if not 8 <= self.input_px <= 4096:
            raise EvaluationError(f"input_px {self.input_px} must lie in 8 to 4096")
        if self.resize_px is not None and self.resize_px < self.input_px:
            raise EvaluationError(f"resize_px {self.resize_px} must not be less than input_px {self.input_px}")
        _moments(self.normalisation)

    @property
    def identity(self) -> str:
        """Return e.g. ``224px-bicubic-antialias-clip``, or with the cut ``256to224px-…``."""
        size = f"{self.resize_px}to{self.input_px}px" if self.resize_px else f"{self.input_px}px"
        size = "own-size" if self.resize == "none" else f"{size}-{self.resize}"
        if isinstance(self.normalisation, str):
            return f"{size}-{self.normalisation}"
        mean, deviation = (",".join(f"{value:g}" for value in values) for values in _moments(self.normalisation))
        return f"{size}-mean{mean}-std{deviation}"

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return values [B,3,input_px,input_px] on the device of the pictures, channels last."""
        resized = self._cut(self._resized(pictures_B3HW.float()))
        mean, deviation = (torch.tensor(each, device=resized.device) for each in _moments(self.normalisation))
        values = (resized / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        return values.contiguous(memory_format=torch.channels_last)

    def _resized(self, bytes_B3HW: Tensor) -> Tensor:
        side_px = self.resize_px or self.input_px
        if self.resize == "none" or bytes_B3HW.shape[2:] == (side_px, side_px):
            return bytes_B3HW
        if self.resize == "tf1-bilinear":
            return tensorflow1_bilinear(bytes_B3HW, side_px)
        mode, antialias = self.resize.partition("-")[::2]
        resized = functional.interpolate(bytes_B3HW, size=(side_px, side_px), mode=mode, antialias=bool(antialias))
        return resized.clamp(0, 255)

    def _cut(self, bytes_B3HW: Tensor) -> Tensor:
        if self.resize_px is None or self.resize == "none":
            return bytes_B3HW
        begin = (self.resize_px - self.input_px) // 2
        end = begin + self.input_px
        return bytes_B3HW[..., begin:end, begin:end]


def tensorflow1_bilinear(values_BCHW: Tensor, side_px: int) -> Tensor:
    """Resize as ``tf.image.resize_bilinear`` of TensorFlow 1 does without aligned corners: y_in = y_out · H / side.

    FID was first measured so; it shifts pictures by half a pixel and does not antialias.
    """
    height, width = values_BCHW.shape[2:]

    def positions(inputs: int) -> tuple[Tensor, Tensor, Tensor]:
        # In float32, as TensorFlow computes it: a double rounds some positions to another pixel.
        place = torch.arange(side_px, dtype=torch.float32, device=values_BCHW.device) * torch.tensor(inputs / side_px)
        low = place.long()
        return low, (low + 1).clamp_max(inputs - 1), place - low

    top, bottom, down = positions(height)
    left, right, across = positions(width)
    upper, lower = values_BCHW[:, :, top], values_BCHW[:, :, bottom]
    upper = upper[..., left] + (upper[..., right] - upper[..., left]) * across
    lower = lower[..., left] + (lower[..., right] - lower[..., left]) * across
    return upper + (lower - upper) * down[:, None]


def check_pictures(pictures_B3HW: Tensor, name: str) -> None:
    """Raise EvaluationError unless these are uint8 pictures [B,3,H,W]."""
    if pictures_B3HW.dtype != torch.uint8 or pictures_B3HW.ndim != 4 or pictures_B3HW.shape[1] != 3:
        found = f"{pictures_B3HW.dtype} {list(pictures_B3HW.shape)}"
        raise EvaluationError(f"{name} takes uint8 pictures [B,3,H,W], got {found}")


def _moments(normalisation: str | Sequence[Sequence[float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(normalisation, str):
        if normalisation not in NORMALISATIONS:
            raise EvaluationError(f"normalisation {normalisation!r} is none of {', '.join(NORMALISATIONS)}")
        return NORMALISATIONS[normalisation]
    try:
        mean, deviation = (tuple(float(value) for value in values) for values in normalisation)
    except (TypeError, ValueError):
        mean, deviation = (), ()
    if len(mean) != 3 or len(deviation) != 3 or min(deviation) <= 0:
        raise EvaluationError("normalisation must be a name, or [[mean of R, G, B], [deviation of R, G, B]] above 0")
    return mean, deviation
