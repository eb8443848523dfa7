"""Rectified flow that predicts the clean picture.

Shapes: x clean picture, n noise, x_t the point between them [B,C,H,W]; t [B] in 0..1, 0 is noise and 1 is clean.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAREST_TO_CLEAN = 0.05


def flow_point(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = t·x + (1 - t)·n.  Shapes [B,C,H,W], t [B].  Liu et al. 2022, Eq. 1."""
    t = t[:, None, None, None]
    return t * clean + (1 - t) * noise


def flow_velocity(x_t: Tensor, clean_estimate: Tensor, t: Tensor) -> Tensor:
    """v = (x̂ - x_t) / (1 - t): the velocity towards the clean picture.  Li and He 2025, Table 1."""
    return (clean_estimate - x_t) / (1 - t).clamp(min=1e-6)[:, None, None, None]


def sample_time(uniform: Tensor, *, mean: float = -0.4, deviation: float = 1.0) -> Tensor:
    """t = sigmoid(mean + deviation · Φ⁻¹(u)): logit-normal times from uniform u [B].  Esser et al. 2024, Eq. 19."""
    normal = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + deviation * normal)


def velocity_loss(clean_estimate: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """Mean over pixels of (x̂ - x)² / max(1 - t, 0.05)² [B]: the velocity's squared error, bounded near clean."""
    weight = (1 - t).clamp(min=NEAREST_TO_CLEAN).square().reciprocal()
    return weight * (clean_estimate.float() - clean.float()).square().mean(dim=(1, 2, 3))
