"""Which tasks a batch holds: fixed shares, so that every batch has the same shapes and no rank waits for another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from data.bank import HASH_BITS
from synthesis.tasks import task_named
from training.errors import TrainingError
from training.limits import check_share


@dataclass(frozen=True, kw_only=True)
class TaskMix:
    """``shares`` of the batch by task; ``text_dropped`` and ``style_dropped`` shares of pictures (0..1).

    ``text_dropped_in_transfer`` is higher: with the text always there, style transfer ignores its source.
    ``collaged_in_transfer`` is the share of style transfer's pictures that show four drawings of a set, from another
    set's of the same four subjects: more scenes than anybody can learn by heart, so that the source must be read.
    ``restyled_in_transfer`` is the share that starts from the drawing itself in a look of no set, so that the source's
    lines are worth keeping; so do drawings without a partner.  ``bits_in_transfer`` is the largest number of the 64
    bits of two drawings' perceptual hashes in which partners may differ: from pairs of another shape is learnt to
    draw the subject anew, whatever the source shows.
    """

    shares: Mapping[str, float]
    text_dropped: float = 0.1
    text_dropped_in_transfer: float = 0.5
    collaged_in_transfer: float = 0.0
    restyled_in_transfer: float = 0.0
    bits_in_transfer: int = HASH_BITS
    style_dropped: float = 0.1
    appearance_dropped: float = 0.1

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            task_named(name)
            if not 0 <= share < math.inf:
                raise TrainingError(f"tasks.shares.{name} is {share}: shares must not be negative")
        in_transfer = ("text_dropped_in_transfer", "collaged_in_transfer", "restyled_in_transfer")
        for name in ("text_dropped", *in_transfer, "style_dropped", "appearance_dropped"):
            check_share(f"tasks.{name}", getattr(self, name))
        if not 0 <= self.bits_in_transfer <= HASH_BITS:
            raise TrainingError(f"tasks.bits_in_transfer is {self.bits_in_transfer}: it must lie in 0 to {HASH_BITS}")
        if self.collaged_in_transfer + self.restyled_in_transfer > 1:
            raise TrainingError(
                f"tasks.collaged_in_transfer ({self.collaged_in_transfer}) and tasks.restyled_in_transfer"
                f" ({self.restyled_in_transfer}) are shares of the same pictures: together at most 1"
            )
        if sum(self.shares.values()) <= 0:
            raise TrainingError("tasks.shares add up to nothing: give at least one task a share")

    def slices(self, batch: int) -> list[tuple[str, slice]]:
        """Split a batch into one slice a task, largest remainders rounded up, empty ones left out."""
        total = sum(self.shares.values())
        exact = {name: batch * share / total for name, share in self.shares.items()}
        sizes = {name: int(size) for name, size in exact.items()}
        by_remainder = sorted(exact, key=lambda name: sizes[name] - exact[name])
        for name in by_remainder[: batch - sum(sizes.values())]:
            sizes[name] += 1
        slices, begin = [], 0
        for name, size in sizes.items():
            if size:
                slices.append((name, slice(begin, begin + size)))
            begin += size
        return slices
