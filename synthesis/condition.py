"""What the network is told beside the noisy picture.

Shapes: B batch, C channels, H W pixels, T text tokens, A appearance numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from synthesis.backbone import NO_STYLE

APPEARANCE_WIDTH = 13
REFERENCE_PX = 64


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One row a picture: source [B,C,H,W], mask [B,1,H,W], task and style [B], appearance [B,A], text [B,T,384].

    ``reference`` [B,C,h,h], h = 64 for the project's own network, is a picture that every place of the drawing may
    read, for its style, its subject or its colours; ``reference_mask`` [B] says whether there is one.
    """

    source: Tensor
    mask: Tensor
    task: Tensor
    style: Tensor
    appearance: Tensor
    text: Tensor
    text_mask: Tensor
    reference: Tensor
    reference_mask: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return the fields by name, as the network's keyword arguments."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """Return the condition with ``change`` applied to every field."""
        return Condition(**{name: change(value) for name, value in self.tensors().items()})

    def to(self, device: torch.device | str) -> Condition:
        """Return the condition on a device."""
        return self.map(lambda value: value.to(device))

    def unconditional(self, *, keep_style: bool = False) -> Condition:
        """The same pictures with text, style and reference dropped: the other half of classifier-free guidance.

        Ho and Salimans 2022, section 3.2. Source and mask stay: they say what the task is.
        """
        style = self.style if keep_style else torch.full_like(self.style, NO_STYLE)
        dropped = {name: torch.zeros_like(getattr(self, name)) for name in ("text", "text_mask")}
        if not keep_style:
            dropped |= {name: torch.zeros_like(getattr(self, name)) for name in ("reference", "reference_mask")}
        return replace(self, style=style, **dropped)


def no_reference(
    count: int, device: torch.device | str | None = None, *, side_px: int = REFERENCE_PX
) -> tuple[Tensor, Tensor]:
    """No reference for ``count`` pictures: zeros [count,3,side,side] and a mask [count] of false."""
    picture = torch.zeros(count, 3, side_px, side_px, device=device)
    return picture, torch.zeros(count, dtype=torch.bool, device=device)


def join(conditions: Sequence[Condition]) -> Condition:
    """Put batches one behind the other."""
    names = [field.name for field in fields(Condition)]
    return Condition(**{name: torch.cat([getattr(part, name) for part in conditions]) for name in names})


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a drawing was placed and painted, so that augmentation does not leak into what is drawn.

    Told to the network while training (Karras et al. 2022, appendix F.2) and free to set while drawing: zeros are a
    centred, upright drawing on white. ``scale`` [B] is log2; ``shift`` [B,2] in pictures; ``flip`` [B] 0 or 1;
    ``hue`` [B] radians; ``ground`` and ``ink`` [B,3] in 0..1 (ink of one-colour drawings, black elsewhere).
    """

    scale: Tensor
    shift: Tensor
    flip: Tensor
    hue: Tensor
    ground: Tensor
    ink: Tensor

    def vector(self) -> Tensor:
        """Return [B,13]; the first number says that the rest is known."""
        columns = [torch.ones_like(self.scale), self.scale, *self.shift.unbind(-1), self.flip]
        columns += [torch.sin(self.hue), 1 - torch.cos(self.hue)]
        return torch.cat([torch.stack(columns, dim=-1), 1 - self.ground, self.ink], dim=-1)


def plain_appearance(count: int, ground: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Tensor:
    """Appearance vectors [count,13] of centred drawings on one ground colour, its channels in 0..1."""
    zeros = torch.zeros(count)
    grounds = torch.tensor(ground).expand(count, 3)
    placed = Appearance(
        scale=zeros, shift=torch.zeros(count, 2), flip=zeros, hue=zeros, ground=grounds, ink=torch.zeros(count, 3)
    )
    return placed.vector()
