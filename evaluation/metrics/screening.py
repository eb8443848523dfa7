"""Which pairs of pictures may be close: a fast, coarse product tells all that cannot be, the rest is measured exactly.

Shapes: features [N,D], stripes of bounds [B,N], pairs [P].

Squared distances by inner products lose digits where they are small.  So a product in a short type only gives a lower
bound, with its rounding accounted for; pairs whose bound lies low enough are measured again as Σ(x-y)² in float64.
What comes out does not depend on the short type: with bfloat16, on processors that multiply it, it comes three times
as fast as with float32.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.metrics.checked import DOUBLE_ROWS, common_centre
from evaluation.metrics.sharing import spread

_CHUNK_NUMBERS = 1 << 18  # what is at work stays in the cache
_CHUNK_ROWS = 256


class Desk(threading.local):
    """Sheets of memory that each thread uses again: to ask for 100 MB anew takes as long as to fill them twice."""

    def __init__(self) -> None:
        self._sheets: dict[tuple[torch.dtype, str], Tensor] = {}

    def sheet(self, shape: tuple[int, int], kind: torch.dtype, name: str = "") -> Tensor:
        """Return a table of numbers that nobody has written, in place of the last of its kind and name."""
        numbers = shape[0] * shape[1]
        kept = self._sheets.get((kind, name))
        if kept is None or len(kept) < numbers:
            kept = self._sheets[kind, name] = torch.empty(numbers, dtype=kind)
        return kept[:numbers].view(shape)


@dataclass(frozen=True)
class Screen:
    """A set of features as a coarse product sees it, about a centre shared with the set it is held against.

    ``coarse`` [N,D] are the rows in the short type, ``low`` [N] is (1-ρ)|x|² in float32 (float64 for small sets), where
    ρ|x||y| ≤ ρ(|x|²+|y|²)/2 bounds what rounding the rows and adding up changes their product by.
    """

    features: Tensor  # [N,D]
    centre: Tensor
    coarse: Tensor
    low: Tensor

    def bounds(self, rows: slice, columns: Screen, desk: Desk) -> Tensor:
        """Return [B,M]: a number at or below the squared distance of each of these rows to each row of ``columns``.

        It lies on the desk until the next.

        With p = x·y as it was rounded (relative error at most half its type's ε): |x-y|² ≥ (1-ρ)(|x|²+|y|²) - 2(1+ε)p,
        and where p is negative at least the first term.
        """
        stretch = 2 * (1 + torch.finfo(self.coarse.dtype).eps)
        shape = len(self.low[rows]), len(columns.low)
        product_BM = desk.sheet(shape, self.coarse.dtype)
        torch.mm(self.coarse[rows], columns.coarse.T, out=product_BM).clamp_(min=0)
        bounds_BM = desk.sheet(shape, self.low.dtype, "bounds").copy_(product_BM)
        return bounds_BM.mul_(-stretch).add_(columns.low).add_(self.low[rows, None])

    def squared(self, rows: slice, columns_of: Screen, columns: slice) -> Tensor:
        """Return [B,C]: the squared distances of some rows to some of another set's, less what rounding may add.

        In float64 for small sets, in float32 for others.
        """
        kind = self.low.dtype
        rows_BD = self.features[rows].to(kind) - self.centre
        columns_CD = columns_of.features[columns].to(kind) - self.centre
        rows_B, columns_C = rows_BD.square().sum(dim=1), columns_CD.square().sum(dim=1)
        # Rounding adds up as a random walk: eight times its usual length is far.
        certain = 1 - 8 * rows_BD.shape[1] ** 0.5 * torch.finfo(kind).eps
        squared_BC = (rows_BD @ columns_CD.T).mul_(-2)
        return squared_BC.add_(certain * columns_C).add_(certain * rows_B[:, None])


def screens(real_ND: Tensor, made_MD: Tensor) -> tuple[Screen, Screen]:
    """Return both sets ready to be held against each other and against themselves."""
    kind = short_type(max(len(real_ND), len(made_MD)))
    wide = torch.float64 if kind == torch.float64 else torch.float32
    centre_D = common_centre(real_ND, made_MD).to(wide)
    rounded = spread(lambda each: _rounded(each, centre_D, kind, wide), (real_ND, made_MD))
    # With x = x̃ + e: x·y - x̃·ỹ = e·ỹ + x·e'; adding D products up rounds each time, and so do lengths and bounds.
    lost, unit = max(worst for _, _, worst in rounded), torch.finfo(wide).eps
    slack = lost * (2 + lost) + (real_ND.shape[1] + 16) * unit
    first, second = (
        Screen(features, centre_D, coarse, lengths * (1 - slack))
        for features, (coarse, lengths, _) in zip((real_ND, made_MD), rounded, strict=True)
    )
    return first, second


def short_type(count: int) -> torch.dtype:
    """Return the type of the coarse product: float64 for small sets, bfloat16 where the processor multiplies it."""
    if count <= DOUBLE_ROWS:
        return torch.float64
    quick = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if quick else torch.float32


def squared_distances(first_ND: Tensor, rows_P: Tensor, second_MD: Tensor, columns_P: Tensor) -> Tensor:
    """Return float64 [P]: Σ(x-y)² of pairs of rows, exact to rounding also where it is small, and 0 for equal ones."""
    chunk = max(1, _CHUNK_NUMBERS // first_ND.shape[1])
    pieces = [
        (first_ND[rows].double() - second_MD[columns]).square_().sum(dim=1)
        for rows, columns in zip(rows_P.split(chunk), columns_P.split(chunk), strict=True)
    ]
    return torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.float64)


def _rounded(
    features_ND: Tensor, centre_D: Tensor, kind: torch.dtype, wide: torch.dtype
) -> tuple[Tensor, Tensor, float]:
    """Return the rows about the centre in ``kind``, their |x|² in ``wide``, and the largest |x - x̃|/|x|."""
    coarse, lengths, worst = torch.empty_like(features_ND, dtype=kind), [], 0.0
    for piece, short in zip(features_ND.split(_CHUNK_ROWS), coarse.split(_CHUNK_ROWS), strict=True):
        rows = piece.to(wide) - centre_D
        short.copy_(rows)
        length = torch.linalg.vector_norm(rows, dim=1)
        lost = torch.linalg.vector_norm(rows - short, dim=1) / length.clamp(min=torch.finfo(wide).tiny)
        worst = max(worst, float(lost.max()))
        lengths.append(length.square())
    return coarse, torch.cat(lengths), worst
