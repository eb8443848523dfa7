"""Tables of figures on a terminal: a line each, or two where it is too narrow, so that no label is folded."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def unfolded(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, styles: Sequence[str] | None = None
) -> Table | Text:
    """Return rows of a label and cells, each in its style; the label stands on a line of its own where it must."""
    chosen = styles or [""] * len(rows)
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place and heading else "left", no_wrap=True)
    for row, style in zip(rows, chosen, strict=True):
        table.add_row(*row, style=style)
    wide = console.options.update(width=1000)
    if Measurement.get(console, wide, table).maximum <= console.width:
        return table
    widths = [max(map(len, column)) for column in zip(headings[1:], *(row[1:] for row in rows), strict=True)]
    told = Text(_line(headings[1:], widths))
    for (label, *cells), style in zip(rows, chosen, strict=True):
        told.append(f"\n{label}\n{_line(cells, widths)}", style)
    return told


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  " + "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
