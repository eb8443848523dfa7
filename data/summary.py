"""Sums a dataset up as training content, in the parts of the template that the EU's AI Office gave in July 2025.

Article 53(1)(d) of Regulation (EU) 2024/1689 asks providers of general-purpose models for a public summary of what
they trained on. What the card knows is filled in; what only the provider can say is marked as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.dataset import DatasetCard
    from data.record import Origin

PROVIDER_SAYS = "_to be stated by the provider_"
# Refusals by the part of the template that asks for them; the rest is told as other processing.
RIGHTS_REASONS = ("licence", "trademark", "opt", "revoked", "rights")
UNLAWFUL_REASONS = ("unsafe picture", "nsfw")
SIZE_RANGES = ((1_000_000, "fewer than 1 million"), (1_000_000_000, "1 million to 1 billion"))


def training_content(card: DatasetCard) -> str:
    """Return the text of ``TRAINING_CONTENT.md``."""
    parts = (_general(card), _sources(card), _processing(card))
    return "\n\n".join(["# Summary of training content", *("\n".join(part) for part in parts)]) + "\n"


def _general(card: DatasetCard) -> list[str]:
    trained = card.splits.get("train", 0)
    size = next((words for below, words in SIZE_RANGES if card.count < below), "more than 1 billion")
    return [
        "## 1. General information",
        "",
        "| | |",
        "|---|---|",
        f"| Provider, and its representative in the Union | {PROVIDER_SAYS} |",
        f"| Model, its version and date of placing on the market | {PROVIDER_SAYS} |",
        f"| Dataset | {card.name}, version `{card.version}` |",
        "| Modalities | images, each with short texts that say what it shows |",
        f"| Size | {size} images: {card.count:,}, of which {trained:,} for training and "
        f"{card.count - trained:,} held out to judge by |",
        "| Type of content | " + _listed(sorted(card.collections)) + " |",
        f"| Languages of the texts | {PROVIDER_SAYS} |",
    ]


def _sources(card: DatasetCard) -> list[str]:
    public = [origin for origin in card.sources if _is_public(origin)]
    at_hand = [origin for origin in card.sources if not _is_public(origin)]
    licences = [f"| {licence} | {count:,} |" for licence, count in card.licences.items()]
    return [
        "## 2. Data sources",
        "",
        "### 2.1 Publicly available datasets",
        "",
        *_table(card, public),
        "",
        "### 2.2 Private datasets of third parties",
        "",
        f"{PROVIDER_SAYS}: which of 2.6, if any, were obtained from others under contract.",
        "",
        "### 2.3 Data crawled and scraped from online sources",
        "",
        f"Nothing was crawled in making this dataset. {PROVIDER_SAYS}: whether files of 2.6 were before.",
        "",
        "### 2.4 User data",
        "",
        PROVIDER_SAYS,
        "",
        "### 2.5 Synthetic data",
        "",
        PROVIDER_SAYS,
        "",
        "### 2.6 Other sources: files at hand",
        "",
        *_table(card, at_hand),
        "",
        "### By licence",
        "",
        "| licence | images |",
        "|---|---:|",
        *licences,
    ]


def _processing(card: DatasetCard) -> list[str]:
    rights = _refusals(card, RIGHTS_REASONS)
    unlawful = _refusals(card, UNLAWFUL_REASONS)
    other = {reason: count for reason, count in card.refused.items() if reason not in rights | unlawful}
    return [
        "## 3. Data processing",
        "",
        "### 3.1 Rights reserved from text and data mining",
        "",
        f"Each image was admitted by policy `{card.policy}` on the ground of the licence that its source states; "
        "its record names that licence, its author, its address and the evidence. Reservations in the files "
        "themselves and lists of opt-outs and revoked works are honoured. Turned away:",
        "",
        *_reasons(rights),
        "",
        "### 3.2 Unlawful content",
        "",
        *_reasons(unlawful),
        "",
        "### 3.3 Other",
        "",
        "Equal images are there once, and near copies of held-out images are not trained on. Turned away for other "
        "reasons:",
        "",
        *_reasons(other),
    ]


def _is_public(origin: Origin) -> bool:
    """Return whether others can fetch the source under its name; of files at hand the card cannot tell."""
    return origin.uri.startswith(("pkg:", "https:", "http:", "hf:", "doi:"))


def _table(card: DatasetCard, origins: list[Origin]) -> list[str]:
    if not origins:
        return ["None."]
    rows = [
        f"| {origin.collection} | {origin.title} | {origin.creator} | {origin.licence or 'stated by each image'} "
        f"| `{origin.uri}` | {card.collections[origin.collection]:,} |"
        for origin in origins
    ]
    return ["| collection | title | author | licence | source | images |", "|---|---|---|---|---|---:|", *rows]


def _refusals(card: DatasetCard, words: tuple[str, ...]) -> dict[str, int]:
    return {reason: count for reason, count in card.refused.items() if any(word in reason for word in words)}


def _reasons(refused: dict[str, int]) -> list[str]:
    return [f"- {reason}: {count:,}" for reason, count in refused.items()] or ["- none"]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
