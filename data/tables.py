"""Shows a dataset to a person: what is in it, under which licences, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data.dataset import DatasetCard


def summary(card: DatasetCard) -> str:
    """Return the table that ends ``atelier ingest`` and ``atelier verify``."""
    licence_of = {origin.collection: origin.licence for origin in card.sources}
    rows = [(name, licence_of.get(name, ""), f"{count:,}") for name, count in card.collections.items()]
    lines = [f"dataset {card.name}: {card.count:,} pictures of {card.picture_px} px, policy {card.policy}", ""]
    lines += columns(("collection", "licence", "pictures"), rows)
    lines += ["", *_counts("licence", card.licences), "", *_counts("split", card.splits)]
    lines += ["", *_counts("refused because", card.refused)] if card.refused else []
    if card.near_copies:
        lines += ["", f"  {card.near_copies:,} pairs of near copies in training are listed in near_copies.jsonl"]
    return "\n".join([*lines, "", f"version {card.version}"])


def _counts(title: str, counts: Mapping[str, int]) -> list[str]:
    return columns((title, "pictures"), [(name, f"{count:,}") for name, count in counts.items()])


def columns(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return aligned lines, the last column to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return ["  " + "  ".join(_aligned(row, widths)).rstrip() for row in (titles, *rows)]


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    *words, number = (text.ljust(width) for text, width in zip(row, widths, strict=True))
    return [*words, number.strip().rjust(widths[-1])]
