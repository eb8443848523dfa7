"""Whether the lines of a picture lie where they should.  Shapes: pictures uint8 [N,3,H,W], edges bool [N,H,W]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError

STEEPEST = 0.15
"""The step of a channel, of its whole range, from which on a place counts as an edge."""


def edges_of(pictures_N3HW: Tensor) -> Tensor:
    """Return where the steepest channel's Sobel gradient exceeds ``STEEPEST``: a step of height h has gradient h.

    Channel by channel, so that an edge between colours of one lightness is found.  The border repeats outwards.
    """
    if pictures_N3HW.ndim != 4 or pictures_N3HW.shape[1] != 3 or pictures_N3HW.dtype != torch.uint8:
        raise EvaluationError(f"edges are of uint8 pictures [N,3,H,W], got {list(pictures_N3HW.shape)}")
    values = pictures_N3HW.float().flatten(0, 1)[:, None] / 255
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
    gradients = functional.conv2d(padded, torch.stack([across, across.T])[:, None])
    steepest = gradients.square().sum(dim=1).sqrt().unflatten(0, pictures_N3HW.shape[:2])
    edges: Tensor = steepest.amax(dim=1) > STEEPEST
    return edges


def edge_f1(made_NHW: Tensor, truth_NHW: Tensor, tolerance_px: int = 1) -> Tensor:
    """Return the harmonic mean of precision and recall of edges [N], float64 in 0..1.

    A made edge is right within ``tolerance_px`` of a true one (in a square), a true one found within it of a made one
    (Martin, Fowlkes and Malik 2004, with a neighbourhood in place of their matching).  Two pictures without any edge
    agree.
    """
    precision, recall = _within(made_NHW, truth_NHW, tolerance_px), _within(truth_NHW, made_NHW, tolerance_px)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    neither = ~(made_NHW.flatten(1).any(dim=1) | truth_NHW.flatten(1).any(dim=1))
    return torch.where(neither, 1.0, f1)


def _within(edges_NHW: Tensor, goal_NHW: Tensor, tolerance_px: int) -> Tensor:
    """Return the share of edges that lie within reach of the goal's, 0 where there are none."""
    reach = functional.max_pool2d(goal_NHW.double()[:, None], 2 * tolerance_px + 1, stride=1, padding=tolerance_px)[
        :, 0
    ]
    count = edges_NHW.double().sum(dim=(1, 2))
    return (edges_NHW * reach).sum(dim=(1, 2)) / count.clamp(min=1)
