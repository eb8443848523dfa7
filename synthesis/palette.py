"""Holds a drawing to a palette while it is drawn: the colours of each estimate are carried to those asked for.

Sliced optimal transport: along one direction of colour space after another, the pixels' sorted values take the
palette's (Pitié, Kokaram and Dahyot 2007; Rabin et al. 2011), so that every colour comes as often as the palette says
and pixels move as little as they can. Needs no training: the network sees the carried picture at its next step.
Shapes: pictures [B,3,H,W] in -1..1; colours [B,3,64].
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from synthesis.control import PALETTE_CELLS, blurred

DIRECTIONS = 24
LEAST_NOISE = 0.1  # below it the network alone draws, and smooths what transport tore apart
NEARNESS = 0.01  # how much of its surroundings' colour a pixel has in its rank


def colours_of(mosaic: Tensor) -> Tensor:
    """The colours in the middles of a mosaic's 8 x 8 cells: [B,3,H,W] -> [B,3,64]."""
    height, width = mosaic.shape[-2:]
    row, column = height // PALETTE_CELLS, width // PALETTE_CELLS
    return mosaic[..., row // 2 :: row, column // 2 :: column][..., :PALETTE_CELLS, :PALETTE_CELLS].flatten(2)


def carried(picture: Tensor, colours: Tensor) -> Tensor:
    """Move the colours of pictures to a palette: [B,3,H,W], [B,3,K] -> [B,3,H,W] in which each has its share.

    Of pixels of one colour, a flat ground's, those go first whose surroundings are already like the colour to be had:
    what a palette has too much of grows around the drawing, not from the top of the picture.
    """
    moved = picture.flatten(2)
    around = blurred(picture, max(1, picture.shape[-1] // 4)).flatten(2)
    pixels, kinds = moved.shape[-1], colours.shape[-1]
    place = (
        torch.arange(pixels, device=picture.device) * kinds // pixels
    )  # in the sorted palette, of each in the picture
    for direction in _directions().to(picture):
        along = torch.einsum("c,bcn->bn", direction, moved)
        ranked = torch.einsum("c,bcn->bn", direction, colours).sort(dim=1).values[:, place]
        rank = along + NEARNESS * torch.einsum("c,bcn->bn", direction, around)
        order = rank.argsort(dim=1, stable=True)
        step = torch.empty_like(along).scatter_(1, order, ranked - along.gather(1, order))
        moved = moved + direction[:, None] * step[:, None]
    return moved.view_as(picture).clamp(-1, 1)


def held_to(
    estimate: Callable[[Tensor, Tensor], Tensor], colours: Tensor, least_noise: float = LEAST_NOISE
) -> Callable[[Tensor, Tensor], Tensor]:
    """The same estimate(x, t) of the clean picture in these colours, while there is more than ``least_noise``."""

    def coloured(x: Tensor, t: Tensor) -> Tensor:
        drawn = estimate(x, t).clamp(-1, 1)
        return carried(drawn, colours) if float(1 - t[0]) > least_noise else drawn

    return coloured


def noise_left_alone(sigmas: Tensor) -> float:
    """Below this noise the network draws alone, for a schedule [S+1] that ends with 0: in its last step at least.

    A schedule of one step has no step to spare.
    """
    return max(LEAST_NOISE, float(sigmas[-2]) + 1e-4) if len(sigmas) > 2 else 0.0


@functools.cache
def _directions() -> Tensor:
    """Unit vectors [24,3], the same on every machine."""
    vectors = torch.randn(DIRECTIONS, 3, generator=Generator().manual_seed(0))
    return torch.nn.functional.normalize(vectors, dim=1)
