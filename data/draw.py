"""From offered drawings to parts: admission, drawing on every core, and writing, part after part."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path

from PIL import Image

from data.checks import FileChecks
from data.dataset import on_ground
from data.looks import look_of, perceptual_hash
from data.parts import Drawn, PartWriter, finished_parts
from data.policy import Policy
from data.record import Drawing, Refused
from data.render import Rendered, Unusable, render
from data.workers import Engine

CHUNK_DRAWINGS = 16

Outcome = Drawn | Refused


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A few neighbouring items of one part, judged by the policy; ``last`` ends the part."""

    part: int
    last: bool
    items: tuple[Drawing | Refused, ...]


@dataclass(frozen=True, kw_only=True)
class DrawnChunk:
    """What came of a chunk."""

    part: int
    last: bool
    items: tuple[Outcome, ...]


def draw_parts(
    offered: Iterable[Drawing | Refused],
    policy: Policy,
    folder: Path,
    engine: Engine,
    *,
    picture_px: int,
    checks: FileChecks,
    part_drawings: int,
) -> Iterator[Outcome]:
    """Draw what the policy admits into parts at ``folder``, but for the parts that are there; yield what is done."""
    chunks = _chunks(offered, policy, set(finished_parts(folder)), part_drawings)
    with closing(engine.map(partial(draw, picture_px=picture_px, checks=checks), chunks)) as drawn:
        for _, of_part in groupby(drawn, key=lambda chunk: chunk.part):
            yield from _written(of_part, folder)


def _written(of_part: Iterator[DrawnChunk], folder: Path) -> Iterator[Outcome]:
    """Write one part while yielding what is in it."""
    first = next(of_part)
    with PartWriter(folder, first.part) as writer:
        for chunk in chain([first], of_part):
            for item in chunk.items:
                writer.add(item)
                yield item
            if chunk.last:
                writer.finish()


def draw(chunk: Chunk, *, picture_px: int, checks: FileChecks) -> DrawnChunk:
    """Return what comes of a chunk: pictures, and why there is none."""
    items = tuple(_drawn(item, picture_px, checks) if isinstance(item, Drawing) else item for item in chunk.items)
    return DrawnChunk(part=chunk.part, last=chunk.last, items=items)


def _drawn(drawing: Drawing, picture_px: int, checks: FileChecks) -> Drawn | Refused:
    outcome = render(drawing.content, monochrome=drawing.monochrome, picture_px=picture_px, checks=checks)
    if isinstance(outcome, Unusable):
        return refused(drawing, outcome)
    on_white = on_ground(Image.open(io.BytesIO(outcome.picture)))
    return Drawn.of(
        drawing, outcome.picture, look_of(on_white), perceptual_hash(on_white), **_found(outcome, picture_px)
    )


def _found(rendered: Rendered, picture_px: int) -> dict[str, object]:
    """Return the optional fields of the record that the rendering tells; the dataset's square goes without saying."""
    sides = (rendered.width_px, rendered.height_px)
    width_px, height_px = (0, 0) if sides == (picture_px, picture_px) else sides
    return {"marks": rendered.marks, "width_px": width_px, "height_px": height_px}


def refused(drawing: Drawing, why: Unusable) -> Refused:
    """Return that a drawing was turned away."""
    return Refused(key=drawing.key, collection=drawing.collection, reason=why.reason, detail=why.detail)


def _chunks(
    offered: Iterable[Drawing | Refused], policy: Policy, finished: set[int], part_drawings: int
) -> Iterator[Chunk]:
    """Yield the items of unfinished parts, judged by the policy, in the order of the source."""
    part, count = 0, 0
    items: list[Drawing | Refused] = []
    for item in offered:
        count += 1
        last = count == part_drawings
        if part not in finished:
            verdict = policy.refusal(item) if isinstance(item, Drawing) else None
            items.append(verdict or item)
            if last or len(items) == CHUNK_DRAWINGS:
                yield Chunk(part=part, last=last, items=tuple(items))
                items = []
        if last:
            part, count = part + 1, 0
    if count and part not in finished:
        yield Chunk(part=part, last=True, items=tuple(items))
