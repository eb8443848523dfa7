"""The depth-wise 3x3 of a gated MLP, its input added: this project's kernel beside cuDNN's and a compiler's.

python tests/benchmarks/bench_depthwise.py    # on a GPU; the base backbone's shape, bfloat16

Peers: ``torch.nn.functional.conv2d`` in channels_last, compiled with what surrounds it, and nine shifted products that
torch.compile fuses (what the network does where there is no kernel). Forward and backward, the median of a hundred.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import torch.nn.functional as F
from torch import Tensor

from synthesis.backbone import mix_by_shifts


def main() -> int:
    """Compare the results with float64, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--side", type=int, default=16, help="of the grid, in tokens")
    parser.add_argument("--channels", type=int, default=2816)
    told = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("bench_depthwise: a GPU is needed, and torch sees none")
    from triton.testing import do_bench

    from training.depthwise import mixed_with_neighbours

    grid = (told.side, told.side)
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "kernel": torch.compile(lambda hidden, weight: mixed_with_neighbours(hidden, weight, grid)),
        "shifts, compiled": torch.compile(lambda hidden, weight: hidden + mix_by_shifts(hidden, weight, grid)),
        "cuDNN, channels_last": torch.compile(lambda hidden, weight: hidden + convolved(hidden, weight, grid)),
    }
    shape = (told.pictures, told.side**2, told.channels)
    hidden = torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = (0.2 * torch.randn(told.channels, 1, 3, 3, device="cuda")).requires_grad_()
    gradient = torch.randn_like(hidden)
    moved = 5 * hidden.numel() * hidden.element_size()  # read, written; two read, one written
    copied = do_bench(gradient.clone, return_mode="median")
    rate = 2 * hidden.numel() * hidden.element_size() / copied
    print(f"{shape}, forward and backward; a copy moves {rate / 1e9:.2f} TB/s")
    print("| way | ms | times the kernel's | of 5 passes at the copy's rate | error of output, gradients |")
    print("|---|---|---|---|---|")
    first = 0.0
    for name, way in ways.items():

        def once(way: Callable[[Tensor, Tensor], Tensor] = way) -> None:
            hidden.grad = weight.grad = None
            way(hidden, weight).backward(gradient)

        took = do_bench(once, warmup=50, rep=400, return_mode="median")
        first = first or took
        errors = ", ".join(f"{error:.1e}" for error in off(way, grid, told.channels))
        print(f"| {name} | {took:.3f} | {took / first:.2f} | {moved / rate / took:.0%} | {errors} |")
    return 0


def convolved(hidden: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """The library's convolution on the tokens as they lie."""
    picture = hidden.transpose(1, 2).unflatten(-1, grid)  # channels last by its strides
    drawn = F.conv2d(picture, weight.to(hidden.dtype), padding=1, groups=len(weight))
    return drawn.flatten(2).transpose(1, 2)


def off(way: Callable[[Tensor, Tensor], Tensor], grid: tuple[int, int], channels: int) -> list[float]:
    """Relative errors of output, gradient of the tokens and gradient of the weights, against float64."""
    hidden = torch.randn(3, grid[0] * grid[1], channels, device="cuda").bfloat16().requires_grad_()
    weight = torch.randn(channels, 1, 3, 3, device="cuda", requires_grad=True)
    gradient = torch.randn_like(hidden)
    mixed = way(hidden, weight)
    mixed.backward(gradient)
    true_hidden, true_weight = (part.detach().double().requires_grad_() for part in (hidden, weight))
    true = true_hidden + convolved(true_hidden, true_weight, grid)
    true.backward(gradient.double())
    pairs = [(mixed.detach(), true.detach()), (hidden.grad, true_hidden.grad), (weight.grad, true_weight.grad)]
    return [float((a.double() - b).norm() / b.norm()) for a, b in pairs if a is not None and b is not None]


if __name__ == "__main__":
    sys.exit(main())
