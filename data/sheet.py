"""A page of a dataset's pictures with their captions, in one file, to be read while the captions are edited."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from data.dataset import Dataset
from data.partial import partial_file
from data.record import Record

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body{{font:14px/1.4 system-ui,sans-serif;margin:2em;background:#fff;color:#222}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:12px}}
figure{{margin:0;padding:10px;border:1px solid #ddd;border-radius:6px;overflow-wrap:anywhere}}
img{{width:96px;height:96px;object-fit:contain;background:#f4f4f4}}
code{{color:#777;font-size:11px}} small{{color:#777}} li{{margin:2px 0}} ul{{padding-left:1.2em}}
</style><h1>{title}</h1><p>{told}</p><main>
"""


def write_sheet(dataset: Dataset, out: Path, *, most: int) -> None:
    """Write the first ``most`` pictures, two kilobytes each, with key, captions and where these come from."""
    shown = min(most, len(dataset))
    told = f"{shown:,} of {len(dataset):,} samples. Find a key here, edit its row in the table."
    with partial_file(out) as partial, partial.open("w", encoding="utf-8") as page:
        page.write(_HEAD.format(title=escape(f"Captions of {dataset.card.name}"), told=told))
        for _, (text, picture) in zip(range(shown), dataset.samples(), strict=False):
            page.write(_figure(Record.from_json(text), picture))
        page.write("</main></html>\n")


def _figure(record: Record, picture: bytes) -> str:
    sources = (*record.caption_sources, *[""] * len(record.captions))
    items = (
        f"<li>{escape(caption)} <small>{escape(source)}</small></li>"
        for caption, source in zip(record.captions, sources, strict=False)
    )
    image = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="" loading="lazy" src="data:image/webp;base64,{image}">'
        f"<ul>{''.join(items)}</ul><code>{escape(record.key)}</code></figure>\n"
    )
