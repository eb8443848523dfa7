"""The multi-task transformer: one network for every task, in pixels.

Shapes: B batch, C picture channels, H W pixels, N picture tokens (H/P · W/P), T text tokens, D width, K heads,
M modulation vectors, A appearance numbers, R reference tokens.
Needs torch and diffusers alone: a saved folder can carry this file.

Sources: diffusion transformers with modulated blocks (Peebles and Xie 2023), one modulation shared by all blocks with
a bias each (PixArt-alpha, Chen et al. 2023), RMS-normed queries and keys (Esser et al. 2024), rotary positions in two
dimensions, the clean picture as prediction target (Li and He 2025), a depth-wise 3x3 inside the gated MLP against
seams between patches (LocalViT, Li et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

NO_STYLE = 0
MODULATIONS = 8  # shift, scale, gate for attention; scale, gate for text; shift, scale, gate for the MLP


class MultiTaskTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the clean picture from a noisy one, a source picture, a mask, a task, a style and a text.

    Input channels are ``noisy(C) + source(C) + mask(1)``; source and mask columns start at zero, so that a network
    without them is the same function. Style row 0 means "no style", the last row is the free slot that a brand's
    adapter fills.  ``larger`` lists further sizes as (px, patch_px): the same blocks draw them, each size of patch
    has its own way in and out.  ``reference_depth`` blocks read a reference picture, 0 where the network knows none.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        styles: tuple[str, ...] = (),
        tasks: tuple[str, ...] = ("text_to_image",),
        picture_channels: int = 3,
        native_px: int = 64,
        patch_px: int = 8,
        larger: tuple[tuple[int, int], ...] = (),
        reference_depth: int = 0,
        width: int = 384,
        depth: int = 12,
        head_width: int = 64,
        mlp_width: int = 1024,
        text_width: int = 384,
        appearance_width: int = 13,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % head_width:
            raise ValueError(f"width {width} is not a multiple of head_width {head_width}")
        for px, patch in ((native_px, patch_px), *larger):
            if px % patch:
                raise ValueError(f"{px} px is not a multiple of the patch of {patch} px")
        self.embed_patches = nn.Linear((2 * picture_channels + 1) * patch_px**2, width)
        self.embed_time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.embed_text = nn.Linear(text_width, width)
        self.embed_pooled_text = nn.Linear(text_width, width)
        self.embed_appearance = nn.Linear(appearance_width, width)
        self.embed_task = nn.Embedding(len(tasks), width)
        self.embed_style = nn.Embedding(len(styles) + 2, width)
        self.modulation = nn.Linear(width, MODULATIONS * width)
        self.blocks = nn.ModuleList(Block(width, head_width, mlp_width, dropout) for _ in range(depth))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final_linear = nn.Linear(width, picture_channels * patch_px**2)
        self.embed_size = nn.Embedding(1 + len(larger), width) if larger else None
        others = sorted({patch for _, patch in larger} - {patch_px})
        self.ways = nn.ModuleDict({str(patch): PatchWay(picture_channels, patch, width) for patch in others})
        encoder = ReferenceEncoder(picture_channels, width, head_width, reference_depth) if reference_depth else None
        self.reference = encoder
        # Kept, not computed in the graph: a compiler would fuse its cosines into every block's rotation.
        for side in sorted({px // patch for px, patch in ((native_px, patch_px), *larger)}):
            self.register_buffer(f"rotation_{side}", rotary_table(side, side, self.config), persistent=False)
        self._initialise()

    @property
    def brand_slot(self) -> int:
        """Row of the style table that a brand's adapter fills."""
        return len(self.config.styles) + 1

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias) if module.bias is not None else None
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
        for layer in (self.modulation, self.final_modulation, self.final_linear):
            nn.init.zeros_(layer.weight)
        if self.reference is not None:
            nn.init.normal_(self.reference.places, std=0.02)
            nn.init.zeros_(self.reference.pooled.weight)
        seen_px = self.config.picture_channels * self.config.patch_px**2
        with torch.no_grad():
            self.embed_patches.weight[:, seen_px:].zero_()
            for way in self.ways.values():
                assert isinstance(way, PatchWay)
                nn.init.zeros_(way.leave.weight)
                way.enter.weight[:, way.seen_px :].zero_()
            if self.embed_size is not None:
                self.embed_size.weight.zero_()
            self.embed_style.weight[NO_STYLE].zero_()

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        *,
        source: Tensor,
        mask: Tensor,
        task: Tensor,
        style: Tensor,
        appearance: Tensor,
        text: Tensor,
        text_mask: Tensor,
        reference: Tensor | None = None,
        reference_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the estimate of the clean picture [B,C,H,W].

        noisy, source [B,C,H,W] in -1..1; mask [B,1,H,W] in 0..1; timestep [B] in 0..1 (1 is clean);
        task, style [B] rows; appearance [B,A]; text [B,T,text_width]; text_mask [B,T] bool; reference [B,C,64,64]
        and reference_mask [B] bool, both or neither.
        """
        size, patch = self._size_and_patch(noisy.shape[-1])
        enter, leave = self._ways(patch)
        rows, columns = (length // patch for length in noisy.shape[-2:])
        tokens_BND = enter(to_patches(torch.cat([noisy, source, mask.to(noisy.dtype)], dim=1), patch))
        style_BD = self.embed_style(style)
        context_BTD = torch.cat([self.embed_text(text), style_BD[:, None]], dim=1)
        context_mask_BT = F.pad(text_mask, (0, 1), value=True)
        worn_BD = style_BD if self.embed_size is None else style_BD + self.embed_size.weight[size]
        if self.reference is not None and reference is not None and reference_mask is not None:
            shown_BRD, pooled_BD = self.reference(reference.to(noisy.dtype), reference_mask)
            context_BTD, worn_BD = torch.cat([context_BTD, shown_BRD], dim=1), worn_BD + pooled_BD
            context_mask_BT = torch.cat([context_mask_BT, reference_mask[:, None].expand(-1, shown_BRD.shape[1])], 1)
        condition_BD = self._condition(timestep, task, worn_BD, appearance, text, text_mask)
        shared_BMD = self.modulation(condition_BD).unflatten(-1, (MODULATIONS, -1))
        rotation = self._rotation(rows, columns).to(tokens_BND)
        context_mask_B11T = context_mask_BT[:, None, None, :]
        for block in self.blocks:
            tokens_BND = block(tokens_BND, shared_BMD, context_BTD, context_mask_B11T, rotation, (rows, columns))
        shift, scale = self.final_modulation(condition_BD).chunk(2, dim=-1)
        return to_picture(leave(modulate(tokens_BND, shift, scale)), rows, columns, patch)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides in px that the network draws, the native one first."""
        return (self.config.native_px, *(px for px, _ in self.config.larger))

    def parameters_of_one_size(self) -> list[nn.Parameter]:
        """The ways in and out: each size of patch uses its own and no other."""
        ways = nn.ModuleList([self.embed_patches, self.final_linear, *self.ways.values()])
        return list(ways.parameters()) if self.ways else []

    def _size_and_patch(self, side_px: int) -> tuple[int, int]:
        """Row of a size and its patch; a size that is not listed is cut into native patches, as native ones are."""
        for row, (px, patch) in enumerate(self.config.larger, start=1):
            if px == side_px:
                return row, patch
        return 0, self.config.patch_px

    def _ways(self, patch: int) -> tuple[nn.Module, nn.Module]:
        if str(patch) in self.ways:
            way = self.ways[str(patch)]
            assert isinstance(way, PatchWay)
            return way.enter, way.leave
        return self.embed_patches, self.final_linear

    def _rotation(self, rows: int, columns: int) -> Tensor:
        """Cosines and sines [2,N,head_width/2] of a grid."""
        kept: Tensor | None = getattr(self, f"rotation_{rows}", None) if rows == columns else None
        return rotary_table(rows, columns, self.config, self.final_linear.weight.device) if kept is None else kept

    def _condition(
        self, timestep: Tensor, task: Tensor, style_BD: Tensor, appearance: Tensor, text: Tensor, text_mask: Tensor
    ) -> Tensor:
        weight = text_mask.to(text.dtype)[..., None]
        pooled = (text * weight).sum(1) / weight.sum(1).clamp(min=1)
        time_BD = self.embed_time(time_features(timestep).to(style_BD.dtype))
        total = time_BD + self.embed_task(task) + style_BD
        return F.silu(total + self.embed_pooled_text(pooled) + self.embed_appearance(appearance))


class PatchWay(nn.Module):
    """The way into the blocks and out of them for one size of patch."""

    def __init__(self, picture_channels: int, patch_px: int, width: int) -> None:
        super().__init__()
        self.seen_px = picture_channels * patch_px**2
        self.enter = nn.Linear((2 * picture_channels + 1) * patch_px**2, width)
        self.leave = nn.Linear(width, self.seen_px)


class ReferenceEncoder(nn.Module):
    """Reads a reference picture [B,C,64,64] into 16 tokens and their mean; both are zero where there is none."""

    patch_px = 16
    tokens = 16

    def __init__(self, picture_channels: int, width: int, head_width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(picture_channels * self.patch_px**2, width)
        self.places = nn.Parameter(torch.zeros(self.tokens, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // head_width, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.pooled = nn.Linear(width, width)

    def forward(self, reference: Tensor, known_B: Tensor) -> tuple[Tensor, Tensor]:
        """reference [B,C,64,64], known [B] bool -> tokens [B,16,D] and what is added to the condition [B,D]."""
        tokens = self.enter(to_patches(reference, self.patch_px)) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        known = known_B[:, None].to(tokens.dtype)
        return tokens * known[..., None], self.pooled(tokens.mean(1)) * known


def to_patches(picture: Tensor, patch: int) -> Tensor:
    """[B,C,H,W] -> [B,N,C·P·P], row by row."""
    tokens = picture.unflatten(-1, (-1, patch)).unflatten(-3, (-1, patch))  # B C rows patch columns patch
    patches: Tensor = tokens.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return patches


def to_picture(tokens: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """[B,N,C·P·P] -> [B,C,H,W]: the inverse of ``to_patches``."""
    grid = tokens.unflatten(2, (-1, patch, patch)).unflatten(1, (rows, columns))  # B rows columns C patch patch
    picture: Tensor = grid.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
    return picture


class Block(nn.Module):
    """Attention among picture tokens, then to the text, then a gated MLP; each behind a gate that starts at zero."""

    def __init__(self, width: int, head_width: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.modulation_bias = nn.Parameter(torch.zeros(MODULATIONS, width))
        self.attention = SelfAttention(width, head_width)
        self.text_attention = TextAttention(width, head_width)
        self.mlp = GatedMLP(width, mlp_width, dropout)

    def forward(
        self,
        tokens: Tensor,
        shared_BMD: Tensor,
        context: Tensor,
        context_mask: Tensor,
        rotation: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        """tokens [B,N,D] -> [B,N,D]; shared_BMD holds the modulation that all blocks share."""
        vectors = (shared_BMD + self.modulation_bias).unbind(1)
        shift_a, scale_a, gate_a, scale_t, gate_t, shift_m, scale_m, gate_m = vectors
        tokens = tokens + gate_a[:, None] * self.attention(modulate(tokens, shift_a, scale_a), rotation)
        queries = modulate(tokens, torch.zeros_like(scale_t), scale_t)
        tokens = tokens + gate_t[:, None] * self.text_attention(queries, context, context_mask)
        return tokens + gate_m[:, None] * self.mlp(modulate(tokens, shift_m, scale_m), grid)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Multi-head attention with RMS-normed queries and keys and two-dimensional rotary positions."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_scale = nn.Parameter(torch.ones(head_width))
        self.key_scale = nn.Parameter(torch.ones(head_width))

    def forward(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        """tokens [B,N,D], rotation [2,N,head_width/2] -> [B,N,D]."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, -1, self.head_width)).permute(2, 0, 3, 1, 4)
        query = rotate(rms_norm(query, self.query_scale), rotation)
        key = rotate(rms_norm(key, self.key_scale), rotation)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class TextAttention(nn.Module):
    """Picture tokens look at the text tokens and at the style token behind them."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_scale = nn.Parameter(torch.ones(head_width))
        self.key_scale = nn.Parameter(torch.ones(head_width))

    def forward(self, tokens: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """tokens [B,N,D], context [B,T,D], context_mask [B,1,1,T] bool -> [B,N,D]."""
        query = self.query(tokens).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        key, value = self.key_value(context).unflatten(-1, (2, -1, self.head_width)).permute(2, 0, 3, 1, 4)
        query, key = rms_norm(query, self.query_scale), rms_norm(key, self.key_scale)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=context_mask)
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020) with a zero-initialised depth-wise 3x3 over the token grid."""

    def __init__(self, width: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate_up = nn.Linear(width, 2 * mlp_width, bias=False)
        self.mix = nn.Conv2d(mlp_width, mlp_width, 3, padding=1, groups=mlp_width, bias=False)
        self.down = nn.Linear(mlp_width, width, bias=False)
        self.mixer: Callable[[Tensor, Tensor, tuple[int, int]], Tensor] | None = None  # a trainer's faster way

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """tokens [B,N,D] on a grid (rows, columns) with N = rows · columns -> [B,N,D]."""
        gate, up = self.gate_up(tokens).chunk(2, dim=-1)
        hidden = F.silu(gate) * up
        if self.mixer is not None:
            mixed = self.mixer(hidden, self.mix.weight, grid)
        elif torch.compiler.is_compiling():
            mixed = hidden + mix_by_shifts(hidden, self.mix.weight, grid)
        else:
            neighbours = self.mix(hidden.transpose(1, 2).unflatten(-1, grid))
            mixed = hidden + neighbours.flatten(2).transpose(1, 2)
        return self.down(self.dropout(mixed))  # type: ignore[no-any-return]


def mix_by_shifts(hidden: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """The depth-wise 3x3 as nine shifted products, which a compiler fuses into one pass.

    hidden [B,N,E] on a grid (rows, columns), weight [E,1,3,3] -> [B,N,E]; equals the convolution.
    """
    rows, columns = grid
    padded = F.pad(hidden.unflatten(1, grid), (0, 0, 1, 1, 1, 1))
    shifts = [(row, column) for row in range(3) for column in range(3)]
    taps = weight.to(hidden.dtype)[:, 0]
    parts = [padded[:, row : row + rows, column : column + columns] * taps[:, row, column] for row, column in shifts]
    return sum(parts[1:], parts[0]).flatten(1, 2)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then x · (1 + scale) + shift.  tokens [B,N,D], shift and scale [B,D]."""
    return F.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale[:, None]) + shift[:, None]


def rms_norm(heads: Tensor, scale: Tensor) -> Tensor:
    """x / rms(x) · scale over the last axis, in float32 (Zhang and Sennrich 2019, Eq. 4)."""
    wide = heads.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6) * scale.float()).to(heads.dtype)


def rotate(heads_BKNE: Tensor, rotation: Tensor) -> Tensor:
    """Rotate pairs of channels by their token's angles (Su et al. 2021, Eq. 34)."""
    cosine, sine = rotation.unbind()
    first, second = heads_BKNE.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def rotary_table(rows: int, columns: int, config: Any, device: torch.device | None = None) -> Tensor:
    """Cosines and sines [2,N,head_width/2]: half of the channels turn with the row, half with the column.

    Positions are stretched so that any grid spans the native one: a network trained at 64 px sees the same span at 256.
    """
    quarter = config.head_width // 4
    frequency = 100.0 ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
    native = config.native_px // config.patch_px
    row = torch.arange(rows, device=device, dtype=torch.float32) * (native / rows)
    column = torch.arange(columns, device=device, dtype=torch.float32) * (native / columns)
    by_row = (row[:, None] * frequency)[:, None].expand(rows, columns, quarter)
    by_column = (column[:, None] * frequency)[None].expand(rows, columns, quarter)
    angles = torch.cat([by_row, by_column], dim=-1).flatten(0, 1)
    return torch.stack([angles.cos(), angles.sin()])


def time_features(timestep: Tensor) -> Tensor:
    """Sines and cosines of 1000·t at 128 frequencies [B,256] (Vaswani et al. 2017, section 3.5)."""
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(128, device=timestep.device, dtype=torch.float32) / 128)
    angles = 1000.0 * timestep.float()[:, None] * frequency
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
