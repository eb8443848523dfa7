"""A depth-wise 3x3 over a grid of tokens, its input added: on a GPU one pass forward and one backward.

The convolution libraries' kernels for one channel a group, and a compiler's nine shifted products, read the tokens many
times over; here each row of the grid is read once a shift and spent on the three rows that it belongs to.
Shapes: B batch, N tokens (rows · columns), E channels; weights [E,1,3,3], as a convolution keeps them.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op

CHANNELS = 64  # a program's: with 16 columns, 8 numbers a thread, loaded at once
PICTURES = 8  # whose weight gradients one program sums


def mixed_with_neighbours(hidden: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """hidden + its depth-wise 3x3 convolution, padded with zeros, summed in float32.

    hidden [B,N,E] on a grid (rows, columns) and weight [E,1,3,3], both on a GPU -> [B,N,E] of hidden's type.
    """
    rows, columns = grid
    taps = weight.flatten(1).t().contiguous()  # [9,E]: channels side by side, as those of a token
    mixed: Tensor = torch.ops.atelier.mix_forward(hidden.contiguous(), taps, rows, columns)
    return mixed


@custom_op("atelier::mix_forward", mutates_args={})
def mix_forward(hidden: Tensor, taps: Tensor, rows: int, columns: int) -> Tensor:
    """hidden [B,N,E], taps [9,E] -> [B,N,E]."""
    batch, _, channels = hidden.shape
    mixed = torch.empty_like(hidden)
    _forward[(triton.cdiv(channels, CHANNELS), batch)](
        hidden, taps, mixed, rows, columns, channels, triton.next_power_of_2(columns), CHANNELS
    )
    return mixed


@custom_op("atelier::mix_backward", mutates_args={})
def mix_backward(gradient: Tensor, hidden: Tensor, taps: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """gradient, hidden [B,N,E], taps [9,E] -> gradients of hidden [B,N,E] and of taps [9,E]."""
    batch, _, channels = hidden.shape
    parts = triton.cdiv(batch, PICTURES)
    of_hidden = torch.empty_like(hidden)
    of_taps = torch.empty(parts, 9, channels, device=hidden.device, dtype=torch.float32)
    _backward[(triton.cdiv(channels, CHANNELS), parts)](
        gradient, hidden, taps, of_hidden, of_taps, batch, rows, columns, channels,
        triton.next_power_of_2(columns), CHANNELS, PICTURES,
    )  # fmt: skip
    return of_hidden, of_taps.sum(0).to(taps.dtype)


@mix_forward.register_fake
def _(hidden: Tensor, taps: Tensor, rows: int, columns: int) -> Tensor:
    return torch.empty_like(hidden)


@mix_backward.register_fake
def _(gradient: Tensor, hidden: Tensor, taps: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(hidden), torch.empty_like(taps)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    hidden, taps, ctx.rows, ctx.columns = inputs
    ctx.save_for_backward(hidden, taps)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    hidden, taps = ctx.saved_tensors
    found = torch.ops.atelier.mix_backward(gradient.contiguous(), hidden, taps, ctx.rows, ctx.columns)
    return *found, None, None


mix_forward.register_autograd(_differentiate, setup_context=_keep)


@triton.jit  # type: ignore[untyped-decorator]
def _row(pointer, row, rows, columns, channels, shift: tl.constexpr, column, channel):  # type: ignore[no-untyped-def]
    """Row ``row`` of a picture's grid, moved by ``shift`` columns, in float32; zeros beyond the edges."""
    moved = column + shift
    inside = (moved >= 0) & (moved < columns) & (row >= 0) & (row < rows)
    place = (row * columns + moved)[:, None] * channels + channel[None, :]
    return tl.load(pointer + place, mask=inside[:, None] & (channel < channels)[None, :], other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _tap(taps, number: tl.constexpr, channels, channel):  # type: ignore[no-untyped-def]
    return tl.load(taps + number * channels + channel, mask=channel < channels, other=0.0).to(tl.float32)[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    hidden, taps, mixed, rows: tl.constexpr, columns: tl.constexpr, channels,
    COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    column = tl.arange(0, COLUMNS)
    begin = tl.program_id(1).to(tl.int64) * rows * columns * channels
    t0, t1, t2 = _tap(taps, 0, channels, channel), _tap(taps, 1, channels, channel), _tap(taps, 2, channels, channel)
    t3, t4, t5 = _tap(taps, 3, channels, channel), _tap(taps, 4, channels, channel), _tap(taps, 5, channels, channel)
    t6, t7, t8 = _tap(taps, 6, channels, channel), _tap(taps, 7, channels, channel), _tap(taps, 8, channels, channel)
    stored = (column < columns)[:, None] & (channel < channels)[None, :]
    above = tl.zeros([COLUMNS, CHANNELS], tl.float32)  # of the row before, all but what this row gives
    here = tl.zeros([COLUMNS, CHANNELS], tl.float32)  # of this row, what the row before gave
    for row in range(rows + 1):
        left = _row(hidden + begin, row, rows, columns, channels, -1, column, channel)
        middle = _row(hidden + begin, row, rows, columns, channels, 0, column, channel)
        right = _row(hidden + begin, row, rows, columns, channels, 1, column, channel)
        done = above + left * t6 + middle * t7 + right * t8
        place = ((row - 1) * columns + column)[:, None] * channels + channel[None, :]
        tl.store(mixed + begin + place, done.to(mixed.dtype.element_ty), mask=stored & (row > 0))
        above = here + left * t3 + middle * (t4 + 1.0) + right * t5
        here = left * t0 + middle * t1 + right * t2


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    gradient, hidden, taps, of_hidden, of_taps, batch, rows: tl.constexpr, columns: tl.constexpr, channels,
    COLUMNS: tl.constexpr, CHANNELS: tl.constexpr, PICTURES: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    column = tl.arange(0, COLUMNS)
    part = tl.program_id(1)
    t0, t1, t2 = _tap(taps, 0, channels, channel), _tap(taps, 1, channels, channel), _tap(taps, 2, channels, channel)
    t3, t4, t5 = _tap(taps, 3, channels, channel), _tap(taps, 4, channels, channel), _tap(taps, 5, channels, channel)
    t6, t7, t8 = _tap(taps, 6, channels, channel), _tap(taps, 7, channels, channel), _tap(taps, 8, channels, channel)
    stored = (column < columns)[:, None] & (channel < channels)[None, :]
    zero = tl.zeros([COLUMNS, CHANNELS], tl.float32)
    d0, d1, d2 = zero, zero, zero
    d3, d4, d5 = zero, zero, zero
    d6, d7, d8 = zero, zero, zero
    for picture in range(tl.minimum(PICTURES, batch - part * PICTURES)):
        begin = (part.to(tl.int64) * PICTURES + picture) * rows * columns * channels
        above, here, before = zero, zero, zero  # ``before`` is hidden's row before this one
        now = _row(hidden + begin, 0, rows, columns, channels, 0, column, channel)
        for row in range(rows + 1):
            left = _row(gradient + begin, row, rows, columns, channels, -1, column, channel)
            middle = _row(gradient + begin, row, rows, columns, channels, 0, column, channel)
            right = _row(gradient + begin, row, rows, columns, channels, 1, column, channel)
            after = _row(hidden + begin, row + 1, rows, columns, channels, 0, column, channel)
            # A transposed convolution: what a token gave to a neighbour comes back from there.
            done = above + left * t2 + middle * t1 + right * t0
            place = ((row - 1) * columns + column)[:, None] * channels + channel[None, :]
            tl.store(of_hidden + begin + place, done.to(of_hidden.dtype.element_ty), mask=stored & (row > 0))
            above = here + left * t5 + middle * (t4 + 1.0) + right * t3
            here = left * t8 + middle * t7 + right * t6
            d0 += before * right
            d1 += before * middle
            d2 += before * left
            d3 += now * right
            d4 += now * middle
            d5 += now * left
            d6 += after * right
            d7 += after * middle
            d8 += after * left
            before, now = now, after
    first = of_taps + part.to(tl.int64) * 9 * channels + channel
    known = channel < channels
    tl.store(first, tl.sum(d0, 0), mask=known)
    tl.store(first + channels, tl.sum(d1, 0), mask=known)
    tl.store(first + 2 * channels, tl.sum(d2, 0), mask=known)
    tl.store(first + 3 * channels, tl.sum(d3, 0), mask=known)
    tl.store(first + 4 * channels, tl.sum(d4, 0), mask=known)
    tl.store(first + 5 * channels, tl.sum(d5, 0), mask=known)
    tl.store(first + 6 * channels, tl.sum(d6, 0), mask=known)
    tl.store(first + 7 * channels, tl.sum(d7, 0), mask=known)
    tl.store(first + 8 * channels, tl.sum(d8, 0), mask=known)
