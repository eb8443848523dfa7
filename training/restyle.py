"""The same drawing as no set drew it: sources of style transfer whose subject nobody can know by heart.

Shapes: pictures [B,3,H,W] in -1..1.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from synthesis.control import Sketch, foreground, luminance

LOOKS = 4


def restyled(picture: Tensor, generator: Generator) -> Tensor:
    """Each picture [B,3,H,W] in one of four looks by chance: other colours, grey, lines, a silhouette in one ink.

    Lines stay where they are, and a white ground stays white.
    """
    count = len(picture)
    chance = torch.rand(count, generator=generator, device=picture.device)
    ink = 1.4 * torch.rand(count, 3, 1, 1, generator=generator, device=picture.device) - 1
    inside = foreground(picture)
    looks = torch.stack(
        [
            turned(picture, generator),
            (2 * luminance(picture) - 1).expand_as(picture),
            Sketch().map_of(picture),
            inside * ink + (1 - inside) * picture,
        ]
    )
    chosen = (chance * LOOKS).long().clamp(max=LOOKS - 1)
    return looks[chosen, torch.arange(count, device=picture.device)]


def turned(picture: Tensor, generator: Generator) -> Tensor:
    """Every picture's colours turned about the grey axis by an angle of its own; what leaves -1..1 is clipped."""
    angle = 2 * torch.pi * torch.rand(len(picture), 1, 1, generator=generator, device=picture.device)
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=picture.device) / 3**0.5
    whole, mean = torch.eye(3, device=picture.device), torch.full((3, 3), 1 / 3, device=picture.device)
    turn_B33 = torch.cos(angle) * whole + torch.sin(angle) * across + (1 - torch.cos(angle)) * mean
    return torch.einsum("bij,bjhw->bihw", turn_B33, picture).clamp(-1, 1)
