"""Which arithmetic a device does fast: bfloat16 where it has instructions for it, else float32.

On cores with such instructions bfloat16 is the faster one (tests/benchmarks/bench_precision.py prints by how much), on
others the slower one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 on GPUs and on processors with AVX-512 BF16 or AMX, else float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = kind == "cpu" and any(bool(getattr(torch.cpu, name, bool)()) for name in known)
    return torch.bfloat16 if fast else torch.float32


def arithmetic(device: torch.device | str, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Run products in ``dtype`` while weights stay float32; nothing to do for float32 itself."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype)
