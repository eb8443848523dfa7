"""Decides, of all that was drawn, what is written: its order, its split, and which copies are left out.

Legend: N drawn samples in the order of the source, a row one of them; K samples that are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.duplicates import Copies, Duplicates, find_copies
from data.parts import Parts
from data.record import SPLITS
from data.splits import TRAIN, splits_of

KEPT, SAME_KEY, EXACT, HELDOUT_COPY, NEAR = range(5)
REASONS = ("", "key used twice", "exact duplicate", "near copy of held-out", "near duplicate")


@dataclass(kw_only=True)
class Plan:
    """What becomes of each row, and the pairs of near copies that are both kept."""

    order: NDArray[np.int64]  # [K]
    splits: NDArray[np.uint8]  # [N]
    verdict: NDArray[np.uint8]  # [N]
    of: NDArray[np.int64]  # [N], the row that another is left out for, else -1
    figures: dict[int, dict[str, float]] = field(default_factory=dict)
    listed: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)

    def split(self, row: int) -> str:
        """Return a row's split by name."""
        return SPLITS[self.splits[row]]

    def refuse(self, rows: NDArray[np.int64], of: NDArray[np.int64], verdict: int) -> None:
        """Leave rows out, each for the sake of another."""
        self.verdict[rows] = verdict
        self.of[rows] = of


def decide(parts: Parts, duplicates: Duplicates, scratch: Path) -> Plan:
    """Return the plan. It follows from what was drawn alone; ``scratch`` is a folder for a passing file."""
    keys_N = parts.column("key")
    splits_N = splits_of(*(parts.column(name) for name in ("subject", "collection", "monochrome", "pair_held_out")))
    by_key_N = np.argsort(keys_N, kind="stable")
    plan = Plan(
        order=by_key_N,
        splits=splits_N,
        verdict=np.zeros(len(parts), np.uint8),
        of=np.full(len(parts), -1, np.int64),
    )
    _refuse_repeats(plan, by_key_N, keys_N[:, None], SAME_KEY)
    del keys_N  # of ten million samples each column is 80 MB
    # Held-out ones come first: of equal pictures the one to judge by stays.
    first = np.concatenate([by_key_N[splits_N[by_key_N] != TRAIN], by_key_N[splits_N[by_key_N] == TRAIN]])
    _refuse_repeats(plan, first[plan.verdict[first] == KEPT], parts.column("sha256"), EXACT)
    _refuse_near(plan, first[plan.verdict[first] == KEPT], parts, duplicates, scratch)
    plan.order = by_key_N[plan.verdict[by_key_N] == KEPT]
    return plan


def _refuse_repeats(plan: Plan, rows: NDArray[np.int64], values_NC: NDArray[np.uint64], verdict: int) -> None:
    """Of rows with equal values keep the first."""
    columns = [values_NC[rows, column] for column in range(values_NC.shape[1])]
    del values_NC
    order = np.lexsort(columns)  # stable: of equal ones the first stays first
    starts = np.zeros(len(rows), np.bool_)
    starts[:1] = True
    for column in columns:
        ordered = column[order]
        starts[1:] |= ordered[1:] != ordered[:-1]
    repeats = np.flatnonzero(~starts)
    firsts = np.flatnonzero(starts)
    group_first = firsts[np.searchsorted(firsts, repeats, side="right") - 1]
    plan.refuse(rows[order[repeats]], rows[order[group_first]], verdict)


def _refuse_near(plan: Plan, rows: NDArray[np.int64], parts: Parts, duplicates: Duplicates, scratch: Path) -> None:
    """Leave out training's near copies of held-out rows; list, leave out or ignore those of each other."""
    heldout = plan.splits[rows] != TRAIN
    copies = find_copies(
        parts.column("phash")[rows],
        heldout,
        lambda places: parts.looks(rows[places]),
        lambda place: parts.picture(int(rows[place])),
        duplicates,
        scratch,
    )
    leaks = heldout[copies.left]
    _refuse_each(plan, rows, copies.keep(leaks), HELDOUT_COPY)
    within = copies.keep(~leaks)
    if duplicates.near == "refuse":
        _refuse_each(plan, rows, within, NEAR)
    elif duplicates.near == "list":
        plan.listed = list(_both_kept(plan, rows, within))


def _refuse_each(plan: Plan, rows: NDArray[np.int64], copies: Copies, verdict: int) -> None:
    """Leave out each right one that nears a left one which is kept; the pairs come in order of the right one."""
    for pair in range(len(copies)):
        left, right = int(rows[copies.left[pair]]), int(rows[copies.right[pair]])
        if plan.verdict[left] == plan.verdict[right] == KEPT:
            plan.refuse(np.array([right]), np.array([left]), verdict)
            plan.figures[right] = copies.figures(pair)


def _both_kept(plan: Plan, rows: NDArray[np.int64], copies: Copies) -> Iterator[tuple[int, int, dict[str, Any]]]:
    for pair in range(len(copies)):
        left, right = int(rows[copies.left[pair]]), int(rows[copies.right[pair]])
        if plan.verdict[left] == plan.verdict[right] == KEPT:
            yield left, right, copies.figures(pair)
