"""From parts and a plan to a dataset folder: samples in the plan's order, then what was turned away."""

from __future__ import annotations

import sys

import numpy as np
from tqdm import tqdm

from data.decide import KEPT, REASONS, Plan
from data.parts import Parts
from data.record import Refused
from data.writer import DatasetWriter


def pack(parts: Parts, plan: Plan, writer: DatasetWriter) -> None:
    """Write samples, refusals and near copies; what remains is the writer's ``finish``."""
    for row in tqdm(plan.order, desc="packing", unit=" pictures", file=sys.stderr, delay=5):
        writer.add(*parts.record(int(row), plan.split(int(row))))
    for part in range(len(parts.folders)):
        for item in parts.refused(part):
            writer.refuse(item)
    for row in np.flatnonzero(plan.verdict != KEPT):
        writer.refuse(_refusal(parts, plan, int(row)))
    for left, right, figures in plan.listed:
        writer.list_copies({"key": parts.name(right)[0], "of": parts.name(left)[0], **figures})


def _refusal(parts: Parts, plan: Plan, row: int) -> Refused:
    key, collection = parts.name(row)
    of = int(plan.of[row])
    heldout = "" if plan.split(of) == "train" else ", which is held out"
    figures = ", ".join(f"{name} {value}" for name, value in plan.figures.get(row, {}).items())
    detail = f"of {parts.name(of)[0]}{heldout}{f' ({figures})' if figures else ''}"
    return Refused(key=key, collection=collection, reason=REASONS[plan.verdict[row]], detail=detail)
