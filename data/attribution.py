"""Says in words whose pictures a dataset holds and under which licence, as the licences ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.dataset import DatasetCard

CHANGES = "Each drawing was rendered to a square picture; nothing else was altered."


def attribution(card: DatasetCard) -> str:
    """Return the text of ``ATTRIBUTION.md``: per collection its title, author, licence, address and count."""
    lines = [
        f"# Attribution: dataset {card.name}",
        "",
        f"{card.count:,} pictures, version `{card.version}`, policy {card.policy}. {CHANGES}",
        "",
        "| collection | title | author | licence | source | pictures |",
        "|---|---|---|---|---|---:|",
    ]
    for origin in card.sources:
        author = f"[{origin.creator}]({origin.creator_url})" if origin.creator_url else origin.creator
        licence = f"[{origin.licence}]({origin.licence_url})" if origin.licence_url else origin.licence
        count = card.collections[origin.collection]
        lines.append(f"| {origin.collection} | {origin.title} | {author} | {licence} | `{origin.uri}` | {count:,} |")
    return "\n".join(lines) + "\n"
