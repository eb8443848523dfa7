"""Where a drawing's edges lie, as a vector that two copies share whatever was done to their colours and place.

Inner products of these vectors are normalised cross-correlations of edge maps.  Edges and not colours, so that a
recoloured copy stays one; cut to the drawing's own extent, so that a moved or resized one does too.
Shapes: pictures uint8 [N,3,H,W]; maps [N,S,S], S pixels a side; vectors float32 [N,D], D = VECTOR_PX².
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError

SEEN_PX = 64
VECTOR_PX = 32
SMOOTHING_PX = 0.6  # before edges are taken: pixel noise is no drawing
TOLERANCE_PX = 1.0  # by which edges may lie elsewhere
STRONGEST = 0.5  # of 1 level a pixel: beyond it an edge is an edge, however strong
FAINTEST, FAINTEST_IN_NOISE, NOISE = 0.06, 0.25, 3.0
OUTSIDE_SHARE = 0.015  # of all edges on each side may lie outside a drawing's extent: specks


class StructureExtractor:
    """Gives the vectors as an ``Extractor`` does, so that a studio keeps them: unit length, zeros for an empty one."""

    name = "edges"
    family = "other"
    dimensions = VECTOR_PX**2
    preprocessing = f"{SEEN_PX}px-bilinear-antialias"

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    @cached_property
    def digest(self) -> str:
        """sha256 of this file: there are no weights, what is computed decides."""
        return hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()

    @torch.inference_mode()
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return float32 [B,D] of uint8 pictures [B,3,H,W]; EvaluationError for another kind of tensor."""
        if pictures_B3HW.dtype != torch.uint8 or pictures_B3HW.ndim != 4 or pictures_B3HW.shape[1] != 3:
            found = f"{pictures_B3HW.dtype} {list(pictures_B3HW.shape)}"
            raise EvaluationError(f"{self.name} takes uint8 pictures [B,3,H,W], got {found}")
        return structure_vectors(pictures_B3HW)


def structure_vectors(pictures_N3HW: Tensor) -> Tensor:
    """Return v = (w - mean w) / |w - mean w| with w = √(edges, cut to the drawing's extent, blurred)."""
    values = pictures_N3HW.float() / 255
    if values.shape[-2:] != (SEEN_PX, SEEN_PX):
        values = functional.interpolate(values, size=(SEEN_PX, SEEN_PX), mode="bilinear", antialias=True)
    edges = edge_map(blurred(values, SMOOTHING_PX))
    framed = blurred(cut_to(edges, extents(edges))[:, None], TOLERANCE_PX)
    weights = functional.adaptive_avg_pool2d(framed, VECTOR_PX).clamp(min=0).sqrt().flatten(1)
    centred = weights - weights.mean(dim=1, keepdim=True)
    return functional.normalize(centred, dim=1)


def edge_map(values_N3SS: Tensor) -> Tensor:
    """Return the gradient's length over all channels [N,S,S], without what a picture's own noise explains.

    Di Zenzo 1986: one length for three channels.  Half of a drawing's pixels are even ground, so that the median
    length tells its noise.
    """
    padded = functional.pad(values_N3SS, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    length = (across.square() + down.square()).sum(dim=1).sqrt()
    noise = NOISE * length.flatten(1).median(dim=1).values
    return (length.clamp(max=STRONGEST) - noise.clamp(FAINTEST, FAINTEST_IN_NOISE)[:, None, None]).clamp(min=0)


def extents(edges_NSS: Tensor) -> Tensor:
    """Return left, right, top, bottom [N,4] in -1..1 between which all but ``OUTSIDE_SHARE`` of the edges lie."""
    bounds = []
    for summed in (1, 2):
        profile = edges_NSS.sum(dim=summed)
        reached = profile.cumsum(dim=1) / profile.sum(dim=1, keepdim=True).clamp(min=1e-6)
        low = (reached < OUTSIDE_SHARE).sum(dim=1) / profile.shape[1]
        high = 1 - (reached > 1 - OUTSIDE_SHARE).sum(dim=1).sub(1).clamp(min=0) / profile.shape[1]
        bounds += [2 * low - 1, 2 * high - 1]
    return torch.stack(bounds, dim=1)


def cut_to(edges_NSS: Tensor, extents_N4: Tensor) -> Tensor:
    """Return the square about each extent, enlarged to the whole map [N,S,S]."""
    left, right, top, bottom = extents_N4.unbind(dim=1)
    reach = (torch.maximum(right - left, bottom - top) / 2).clamp(min=0.05)
    turn = torch.zeros(len(edges_NSS), 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = reach
    turn[:, 0, 2], turn[:, 1, 2] = (left + right) / 2, (top + bottom) / 2
    grid = functional.affine_grid(turn, [len(edges_NSS), 1, *edges_NSS.shape[1:]], align_corners=False)
    return functional.grid_sample(edges_NSS[:, None], grid, align_corners=False)[:, 0]


def blurred(maps_NCSS: Tensor, deviation_px: float) -> Tensor:
    """Return maps convolved with a Gaussian of this deviation, edges repeated."""
    reach = 3
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / deviation_px).square())
    weights = weights / weights.sum()
    flat = maps_NCSS.flatten(0, 1)[:, None]
    flat = functional.conv2d(functional.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None])
    flat = functional.conv2d(functional.pad(flat, (0, 0, reach, reach), mode="replicate"), weights[None, None, :, None])
    return flat.view(maps_NCSS.shape)
