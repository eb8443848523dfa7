"""The same drawing as no set drew it: sources of style transfer whose subject nobody can know by heart.

Shapes: pictures [B,3,H,W] in -1..1.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from data.bank import turn_hue
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
    angle = 2 * torch.pi * torch.rand(len(picture), generator=generator, device=picture.device)
    return 2 * turn_hue(0.5 * picture + 0.5, angle) - 1
