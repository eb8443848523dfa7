"""How much faster is one forward of the shipped backbone in the device's fast arithmetic than in float32?

Prints medians' ratio; asserts nothing about time.  Run with: make bench
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import torch

from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import APPEARANCE_WIDTH, Condition, no_reference
from synthesis.precision import arithmetic, fast_dtype

BACKBONE = Path(__file__).parents[2] / "assets" / "backbone" / "transformer"
BATCH, ROUNDS = 16, 7


def example() -> tuple[torch.Tensor, torch.Tensor, Condition]:
    """A batch of text-to-image inputs."""
    rows = torch.zeros(BATCH, dtype=torch.long)
    reference, known = no_reference(BATCH)
    condition = Condition(
        source=torch.zeros(BATCH, 3, 64, 64),
        mask=torch.zeros(BATCH, 1, 64, 64),
        task=rows,
        style=rows,
        appearance=torch.zeros(BATCH, APPEARANCE_WIDTH),
        text=torch.randn(BATCH, 24, 384),
        text_mask=torch.ones(BATCH, 24, dtype=torch.bool),
        reference=reference,
        reference_mask=known,
    )
    return torch.randn(BATCH, 3, 64, 64), torch.rand(BATCH), condition


def seconds(network: MultiTaskTransformer, dtype: torch.dtype) -> float:
    """Wall-clock seconds of one forward."""
    x, t, condition = example()
    begin = time.perf_counter()
    with torch.no_grad(), arithmetic("cpu", dtype):
        network(x, t, **condition.tensors())
    return time.perf_counter() - begin


def test_fast_arithmetic_against_float32() -> None:
    """Pairs the two in turn, so that a drifting machine slows both alike."""
    fast = fast_dtype("cpu")
    if fast == torch.float32:
        pytest.skip("this processor has no bfloat16 instructions: float32 is its fast arithmetic")
    network = MultiTaskTransformer.from_pretrained(str(BACKBONE), dtype=torch.float32).eval()
    for dtype in (fast, torch.float32):
        seconds(network, dtype)
    ratios = [seconds(network, torch.float32) / seconds(network, fast) for _ in range(ROUNDS)]
    median = statistics.median(ratios)
    spread = f"min {min(ratios):.2f}, max {max(ratios):.2f}, {ROUNDS} pairs"
    print(f"\n{fast} is {median:.2f} times as fast as float32 ({spread})")
    assert len(ratios) == ROUNDS
