"""What a suite drew and what it is held against; every panel looks at the same scene.

Shapes: pictures uint8 [N,3,H,W], features float32 [N,D]; row n of ``made``, ``real`` and ``plain`` shows one caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data.dataset import Dataset
from evaluation.drawing import DrawingSettings, Order
from evaluation.measurement import Column
from evaluation.studio import Studio
from registry.resolve import ResolvedModel

VERSION_CHARACTERS = 12
Kind = Literal["brand", "backbone", "pictures"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Pictures of one model, the real drawings that judge them, and where both come from.

    ``real`` are the judging drawings, ``floor`` as many others of the same law; ``plain`` is what the backbone draws
    to the same orders without an adapter, ``learnt`` what the model learnt: each None where there is no such thing.
    ``suffix`` ends the names of the figures of ``made``.  Columns hold the features of the studio's own extractor; a
    panel that needs another network's asks ``studio``.
    """

    kind: Kind
    suffix: str
    seed: int
    captions: tuple[str, ...]
    made: Column
    real: Column
    floor: Column
    judge: Dataset
    judge_rows: tuple[int, ...]
    floor_rows: tuple[int, ...]
    studio: Studio
    orders: tuple[Order, ...] = ()
    plain: Column | None = None
    learnt: Column | None = None
    learn: Dataset | None = None
    model: ResolvedModel | None = None
    drawing: DrawingSettings | None = None

    @property
    def count(self) -> int:
        """N, the number of pictures a side."""
        return len(self.made.pictures)

    @property
    def px(self) -> int:
        """Side of the pictures."""
        return int(self.made.pictures.shape[-1])

    def identity(self, metric: str, extractor: str | None = None) -> str:
        """Return what a figure must share with another to be compared with it.

        ``extractor`` is the identity of the network that a panel used, None for the studio's own.
        """
        network = extractor or self.studio.extractor_identity
        return f"{metric}/{network}/{self.px}px/{label_of(self.judge, self.seed)}/N={self.count}"


def label_of(dataset: Dataset, seed: int | None = None) -> str:
    """Return NAME@VERSION, with the seed that chose the judging drawings from it."""
    label = f"{dataset.card.name}@{dataset.card.version[:VERSION_CHARACTERS]}"
    return label if seed is None else f"{label}:seed{seed}"
