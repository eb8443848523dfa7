"""The drawings that a model learnt, as a gallery to look for copies in; a large one is read as it is needed.

Shapes: pictures uint8 [B,3,H,W], features float32 [M,D].
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from data.dataset import Dataset
from evaluation.drawings import real_pictures
from evaluation.errors import EvaluationError
from evaluation.extractors.pictures import Pictures, PicturesInMemory
from evaluation.scene import Scene


class PicturesOfDataset:
    """Drawings of a dataset on white at one size, decoded when a batch asks for them."""

    def __init__(self, dataset: Dataset, rows: Sequence[int], side_px: int) -> None:
        self._dataset = dataset
        self._rows = rows
        self._side_px = side_px
        self._sha256 = dataset.index.column("sha256")

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, place: int) -> bytes:
        """Return a digest of the drawing's own and of what is done to it."""
        treatment = f"white {self._side_px}px bicubic\0".encode()
        return hashlib.sha256(treatment + bytes(self._sha256[self._rows[place]])).digest()

    def batch(self, places: Sequence[int]) -> Tensor:
        """Return some of them."""
        return real_pictures(self._dataset, [self._rows[place] for place in places], self._side_px)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What a model learnt: ``rows`` of ``dataset``, their pictures, and features of the studio's own extractor."""

    dataset: Dataset
    rows: Sequence[int]
    pictures: Pictures
    features: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def caption(self, place: int) -> str:
        """Return the caption of a drawing."""
        return self.dataset.record(self.rows[place]).caption

    def picture(self, place: int) -> Tensor:
        """Return a drawing, uint8 [3,H,W]."""
        return self.pictures.batch([place])[0]


def gallery_of(scene: Scene) -> Gallery | None:
    """Return what the scene's model learnt, None where nothing says what that is.

    Either the suite has all of it in memory (``scene.learnt``), or ``scene.learn`` is a corpus whose training split is
    read as it is needed.  Raises EvaluationError when it is empty, or when judging drawings are among it.
    """
    if scene.learn is None:
        return None
    rows = range(len(scene.learn)) if scene.learnt is not None else scene.learn.rows(split="train")
    if not len(rows):
        raise EvaluationError(
            f"{scene.learn.folder} holds no drawing that a model learnt: pass suite.learn=DIR, a dataset with a"
            " training split"
        )
    refuse_judging(scene, scene.learn, rows)
    if scene.learnt is not None:
        pictures, features = PicturesInMemory(scene.learnt.pictures), scene.learnt.features
        return Gallery(dataset=scene.learn, rows=rows, pictures=pictures, features=features)
    read = PicturesOfDataset(scene.learn, rows, scene.px)
    features = scene.studio.features(scene.studio.extractor, read, "what it learnt")
    return Gallery(dataset=scene.learn, rows=rows, pictures=read, features=features)


def refuse_judging(scene: Scene, learn: Dataset, rows: Sequence[int]) -> None:
    """Raise EvaluationError when a judging drawing lies in the gallery: as a control it would call copies normal."""
    if learn.card.version == scene.judge.card.version:
        shared = sorted(set(scene.judge_rows) & set(rows))
    else:
        learnt = {learn.records[row].sha256 for row in rows}
        shared = [row for row in scene.judge_rows if scene.judge.records[row].sha256 in learnt]
    if shared:
        raise EvaluationError(
            f"{len(shared)} of {len(scene.judge_rows)} judging drawings of {scene.judge.folder} lie among what was"
            f" learnt, {learn.folder} ({scene.judge.records[shared[0]].key}): the control must be unseen; pass"
            " suite.judge=DIR with other drawings"
        )
