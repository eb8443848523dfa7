"""What is written beside a dataset's shards for people and for other tools, each from the card alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.attribution import attribution
from data.croissant import croissant
from data.summary import training_content

if TYPE_CHECKING:
    from data.dataset import DatasetCard


def exports(card: DatasetCard) -> dict[str, str]:
    """Return the texts by file name."""
    return {
        "croissant.json": croissant(card),
        "ATTRIBUTION.md": attribution(card),
        "TRAINING_CONTENT.md": training_content(card),
    }
