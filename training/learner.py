"""What a run asks of the network that it teaches: ours and a pretrained one are made, told and written in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from data.dataset import Dataset
from training.corpus import Corpus
from training.steps import ExampleMaker, Examples
from training.terms import Terms


class Learner(Protocol):
    """A network with all that a run needs to know of its kind."""

    @property
    def network(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def objective(self) -> Terms: ...

    @property
    def earlier(self) -> Mapping[str, Any] | None:
        """The model that it starts from: digest, source and images_seen; None for a fresh one."""
        ...

    def examples(self, rows: list[int], device: torch.device, *, augmented: bool) -> Examples:
        """Bring rows of the dataset to a device as examples in the making."""

    def export(self, weights: Mapping[str, Tensor], folder: Path, card: Mapping[str, Any], attribution: str) -> None:
        """Write the model folder with these weights, whole or not at all; ``card`` is what the run says of itself,
        but for the summary, which is the learner's."""


def example_maker(
    config: DictConfig, dataset: Dataset, corpus: Corpus, *, augmented: bool, side_px: int, **shown: int
) -> ExampleMaker:
    """Make examples of a corpus as the settings say; pictures far larger than ``side_px`` are kept halved too."""
    augmentation = instantiate(config.augmentation if augmented else config.augmentation_heldout)
    if augmented and dataset.card.picture_px >= 4 * side_px:
        corpus.bank.halved()
    return ExampleMaker(corpus, instantiate(config.tasks), augmentation, side_px, **shown)


def style_rows(dataset: Dataset, rows: list[int], styles: tuple[str, ...]) -> list[int]:
    """The number of each row's style; 0 is for none."""
    return [1 + styles.index(dataset.records[row].style) for row in rows]


def styles_of(dataset: Dataset) -> tuple[str, ...]:
    """Names of the dataset's styles in the order of their numbers."""
    return tuple(sorted({record.style for record in dataset.records}))
