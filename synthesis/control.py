"""Control pictures made from clean ones, on the device: edges, a sketch, a depth-like shading, a palette.

``map_of`` makes the control picture; a person who has one already (a drawn sketch) gives it as it is.
Constants are computed on the device: one brought there from the host would make the host wait for the device.
Shapes: pictures [B,3,H,W] in -1..1; grey maps [B,1,H,W] in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

PALETTE_CELLS = 8
LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Edges:
    """Draw what these edges outline: white lines, one pixel wide, on black."""

    name: str = "edges"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = False
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """With a generator, the edges of a clean picture at a random threshold; without, the picture is the edges."""
        source = picture if generator is None else self.map_of(picture, generator)
        return source, torch.zeros_like(picture[:, :1])

    def map_of(self, picture: Tensor, generator: Generator | None = None) -> Tensor:
        """Thinned gradients above a threshold of 0.12, or of 0.06 to 0.3 by chance (Canny 1986, without hysteresis)."""
        strength, thin = thinned_gradient(picture)
        chance = torch.full((len(picture), 1, 1, 1), 0.25, device=picture.device)
        if generator is not None:
            chance = torch.rand(chance.shape, device=picture.device, generator=generator)
        lines = (strength * thin > 0.06 + 0.24 * chance).to(picture.dtype)
        return (2 * lines - 1).expand_as(picture)


@dataclass(frozen=True)
class Sketch:
    """Draw what this sketch means: dark, uneven lines on white."""

    name: str = "sketch"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = False
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """With a generator, a clean picture's lines, bent, broken and thickened; without, the picture is the sketch."""
        source = picture if generator is None else self.map_of(picture, generator)
        return source, torch.zeros_like(picture[:, :1])

    def map_of(self, picture: Tensor, generator: Generator | None = None) -> Tensor:
        """Edges as a hand would draw them; steady without a generator."""
        strength, thin = thinned_gradient(picture)
        lines = (strength * thin > 0.12).to(picture.dtype)
        if generator is not None:
            lines = bent(lines, generator)
            coarse = torch.rand(len(picture), 1, 6, 6, device=picture.device, generator=generator)
            kept = F.interpolate(coarse, lines.shape[-2:], mode="bilinear", align_corners=False) > 0.22
            lines = lines * kept
        side = picture.shape[-1]
        reach = max(1, round(side / 64))
        thick = F.max_pool2d(lines, 2 * reach + 1, 1, reach)
        soft = F.avg_pool2d(F.pad(0.6 * thick + 0.4 * lines, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return (1 - 2 * soft.clamp(0, 1)).expand_as(picture)


@dataclass(frozen=True)
class Shading:
    """Draw a thing of this relief: bright is near, black is the ground."""

    name: str = "shading"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = False
    refers: bool = False
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """With a generator, the relief of a clean picture; without, the picture is the relief."""
        source = picture if generator is None else self.map_of(picture, generator)
        return source, torch.zeros_like(picture[:, :1])

    def map_of(self, picture: Tensor, generator: Generator | None = None) -> Tensor:
        """What stands off from the ground, domed towards its middle, a quarter of it by its smoothed luminance.

        A dome is the mean of the silhouette blurred at four scales: high where the silhouette is far from its edge.
        """
        side = picture.shape[-1]
        silhouette = foreground(picture)
        domes = [blurred(silhouette, max(1, side // part)) for part in (32, 16, 8, 4)]
        dome = silhouette * torch.stack(domes).mean(0)
        light = blurred(luminance(picture), max(1, side // 16))
        return (2 * silhouette * (0.75 * dome + 0.25 * light) - 1).clamp(-1, 1).expand_as(picture)


@dataclass(frozen=True)
class Palette:
    """Draw in these colours: cells of colour, dark to light, each as often as its share of the picture."""

    name: str = "palette"
    needs_picture: bool = True
    needs_mask: bool = False
    shows_ground: bool = True
    refers: bool = True
    starts: bool = False

    def condition(self, picture: Tensor, *, mask: Tensor | None, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """With a generator, the colours of a clean picture; without, the picture is such a mosaic."""
        source = picture if generator is None else self.map_of(picture, generator)
        return source, torch.zeros_like(picture[:, :1])

    def map_of(self, picture: Tensor, generator: Generator | None = None) -> Tensor:
        """8 x 8 colours picked from the picture, not mixed, sorted by luminance: where they were is not told."""
        side = picture.shape[-1]
        step = side // PALETTE_CELLS
        places = step * torch.arange(PALETTE_CELLS, device=picture.device)
        if generator is None:
            places += step // 2
        else:
            places += torch.randint(step, (1,), device=picture.device, generator=generator)
        cells = picture[:, :, places][..., places].flatten(2)
        order = luminance(cells[..., None]).flatten(1).argsort(dim=1)
        return mosaic(cells.gather(2, order[:, None].expand_as(cells)), side)


def mosaic(colours_BCN: Tensor, side_px: int) -> Tensor:
    """Paint 64 colours [B,3,64] as squares of a picture [B,3,side,side], row by row."""
    grid = colours_BCN.unflatten(2, (PALETTE_CELLS, PALETTE_CELLS))
    return F.interpolate(grid, (side_px, side_px), mode="nearest")


def luminance(picture: Tensor) -> Tensor:
    """Luma [B,1,H,W] in 0..1 of a picture in -1..1, by the weights of ITU-R BT.709."""
    red, green, blue = (
        weight * channel for weight, channel in zip(LUMINANCE, (0.5 * picture + 0.5).unbind(1), strict=True)
    )
    return (red + green + blue)[:, None]


def foreground(picture: Tensor) -> Tensor:
    """What differs from the ground [B,1,H,W], 0 or 1; the ground is the mean of the four corners."""
    corners = picture[..., :: picture.shape[-2] - 1, :: picture.shape[-1] - 1].mean((-2, -1), keepdim=True)
    return ((picture - corners).abs().amax(1, keepdim=True) > 0.12).to(picture.dtype)


def blurred(grey: Tensor, reach_px: int) -> Tensor:
    """Two box means of 2·reach + 1 pixels, edges repeated: nearly a Gaussian of that reach."""
    side = 2 * reach_px + 1
    for _ in range(2):
        grey = F.avg_pool2d(F.pad(grey, (reach_px,) * 4, mode="replicate"), side, 1)
    return grey


def thinned_gradient(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Strength of the steepest channel's gradient [B,1,H,W] in 0..1, and whether it is highest across its line.

    Sobel on lightly smoothed channels; a pixel stays if neither neighbour along its gradient is stronger (the
    gradient's direction rounded to eight).
    """
    batch, channels, height, width = picture.shape
    smooth = F.avg_pool2d(F.pad(0.5 * picture + 0.5, (1, 1, 1, 1), mode="replicate"), 3, 1)
    smooth = (0.5 * (0.5 * picture + 0.5) + 0.5 * smooth).flatten(0, 1)[:, None]
    slope = torch.arange(-1, 2, device=picture.device, dtype=picture.dtype)
    across = torch.outer(2 - slope.abs(), slope) / 4
    kernels = torch.stack([across, across.T])[:, None]
    both = F.conv2d(F.pad(smooth, (1, 1, 1, 1), mode="replicate"), kernels).unflatten(0, (batch, channels))
    size = both.square().sum(2).sqrt()
    strength, channel = size.max(1, keepdim=True)
    steepest = both.gather(1, channel[:, :, None].expand(-1, -1, 2, -1, -1))[:, 0]
    octant = (torch.atan2(steepest[:, 1], steepest[:, 0]) / (torch.pi / 4)).round().long() % 4
    near = F.pad(strength, (1, 1, 1, 1))
    thin = torch.zeros_like(strength, dtype=torch.bool)
    for way, (row, column) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = near[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]
        behind = near[..., 1 - row : 1 - row + height, 1 - column : 1 - column + width]
        thin |= (octant[:, None] == way) & (strength >= ahead) & (strength > behind)
    return strength, thin.to(picture.dtype)


def bent(grey: Tensor, generator: Generator) -> Tensor:
    """Move lines by a smooth random field of up to 2 % of the side, another for each picture."""
    batch, _, height, width = grey.shape
    coarse = 0.04 * (2 * torch.rand(batch, 2, 5, 5, device=grey.device, generator=generator) - 1)
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    whole = torch.eye(2, 3, device=grey.device).expand(batch, 2, 3)
    grid = F.affine_grid(whole, [batch, 1, height, width], align_corners=False)
    return F.grid_sample(grey, grid + field, mode="bilinear", padding_mode="zeros", align_corners=False)
