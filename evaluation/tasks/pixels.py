"""Pictures against the picture that they should be, pixel by pixel, and the simplest ways to fill a hole.

Shapes: pictures uint8 [N,3,H,W], masks [N,1,H,W] of zeros and ones where 1 is drawn anew, values float64 [N].
"""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

from evaluation.errors import EvaluationError

MOST_DB = 60.0
"""Equal pictures would have an infinite ratio; 60 dB is a quarter of one of the 255 steps."""


def peak_signal_to_noise(made_N3HW: Tensor, truth_N3HW: Tensor, mask_N1HW: Tensor | None = None) -> Tensor:
    """Return 10·log10(1 / mean (x̂ - x)²) [N] in dB, values in 0..1, at most 60; with a mask, within its holes alone.

    Raises EvaluationError for pictures of unequal shapes, or a mask without a hole.
    """
    _check_alike(made_N3HW, truth_N3HW)
    squared = (made_N3HW.double() - truth_N3HW.double()).square() / 255**2
    if mask_N1HW is None:
        mean_N = squared.mean(dim=(1, 2, 3))
    else:
        holes = mask_N1HW.double()
        if not bool((holes.sum(dim=(1, 2, 3)) > 0).all()):
            raise EvaluationError("a mask has no hole, so nothing in it can be measured")
        mean_N = (squared * holes).sum(dim=(1, 2, 3)) / (3 * holes.sum(dim=(1, 2, 3)))
    return -10 * mean_N.clamp(min=10 ** (-MOST_DB / 10)).log10()


def structural_similarity(made_N3HW: Tensor, truth_N3HW: Tensor) -> Tensor:
    """Return the structural similarity [N], at most 1, by Gaussian windows of 11 pixels.  Wang et al. 2004."""
    _check_alike(made_N3HW, truth_N3HW)
    made, truth = made_N3HW.double() / 255, truth_N3HW.double() / 255
    return structural_similarity_index_measure(made, truth, data_range=1.0, reduction="none").double()  # type: ignore[union-attr]


def filled_with_mean(pictures_N3HW: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Return the pictures with each hole in the mean colour of what was kept; white where nothing was."""
    kept = 1 - mask_N1HW.double()
    count = kept.sum(dim=(2, 3), keepdim=True)
    total = (pictures_N3HW.double() * kept).sum(dim=(2, 3), keepdim=True)
    mean_N311 = torch.where(count > 0, total / count.clamp(min=1), 255.0).round()
    return torch.where(mask_N1HW > 0.5, mean_N311.to(torch.uint8), pictures_N3HW)


def filled_with_nearest(pictures_N3HW: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Return the pictures with each pixel of a hole in the colour of the kept pixel nearest to it."""
    filled = [_nearest(picture, mask[0]) for picture, mask in zip(pictures_N3HW, mask_N1HW, strict=True)]
    return torch.stack(filled)


def around_the_hole(pictures_N3HW: Tensor, mask_N1HW: Tensor) -> Tensor:
    """Return what lies in each hole's bounding box, brought to the pictures' size (bicubic), uint8 [N,3,H,W]."""
    size = pictures_N3HW.shape[-2:]
    parts = []
    for picture, mask in zip(pictures_N3HW, mask_N1HW, strict=True):
        rows, columns = (mask[0] > 0.5).nonzero().unbind(1)
        if not len(rows):
            raise EvaluationError("a mask has no hole, so nothing in it can be measured")
        part = picture[:, int(rows.min()) : int(rows.max()) + 1, int(columns.min()) : int(columns.max()) + 1]
        enlarged = functional.interpolate(part[None].float(), size, mode="bicubic", antialias=True)
        parts.append(enlarged[0].round().clamp(0, 255).to(torch.uint8))
    return torch.stack(parts)


def _nearest(picture_3HW: Tensor, mask_HW: Tensor) -> Tensor:
    hole = mask_HW.numpy() > 0.5
    if hole.all():
        return torch.full_like(picture_3HW, 255)
    rows, columns = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
    return picture_3HW[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def _check_alike(made_N3HW: Tensor, truth_N3HW: Tensor) -> None:
    if made_N3HW.shape != truth_N3HW.shape or made_N3HW.dtype != torch.uint8 or truth_N3HW.dtype != torch.uint8:
        raise EvaluationError(
            "pictures are held against each other as uint8 of one shape, got"
            f" {made_N3HW.dtype} {list(made_N3HW.shape)} and {truth_N3HW.dtype} {list(truth_N3HW.shape)}"
        )
