"""The 3x3 of its own kernel agrees with the convolution. Needs a GPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("batch", "grid", "channels", "dtype", "tolerance"),
    [
        (3, (4, 4), 70, torch.float32, 1e-6),
        (9, (5, 7), 64, torch.float32, 1e-6),
        (17, (16, 16), 2816, torch.bfloat16, 5e-3),
        (33, (8, 8), 1024, torch.bfloat16, 5e-3),
    ],
)
def test_agrees_with_the_convolution(
    batch: int, grid: tuple[int, int], channels: int, dtype: torch.dtype, tolerance: float, compiled: bool
) -> None:
    """Output and both gradients, against float64."""
    from training.depthwise import mixed_with_neighbours

    torch.manual_seed(0)
    hidden = torch.randn(batch, grid[0] * grid[1], channels, device="cuda").to(dtype).requires_grad_()
    weight = torch.randn(channels, 1, 3, 3, device="cuda", requires_grad=True)
    gradient = torch.randn_like(hidden)
    mix = torch.compile(mixed_with_neighbours) if compiled else mixed_with_neighbours
    mixed = mix(hidden, weight, grid)
    mixed.backward(gradient)

    true_hidden, true_weight = (part.detach().double().requires_grad_() for part in (hidden, weight))
    picture = true_hidden.transpose(1, 2).unflatten(-1, grid)
    neighbours = F.conv2d(picture, true_weight, padding=1, groups=channels)
    true = true_hidden + neighbours.flatten(2).transpose(1, 2)
    true.backward(gradient.double())
    assert hidden.grad is not None and weight.grad is not None
    for found, right in ((mixed, true), (hidden.grad, true_hidden.grad), (weight.grad, true_weight.grad)):
        assert right is not None and (found.double() - right).norm() / right.norm() < tolerance
