"""Protected marks, logos and the like, to hold pictures against.  None ships: a person names where theirs lie.

Shapes: pictures uint8 [M,3,H,W].
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from data.dataset import CARD_FILE, open_dataset
from data.iconify import IconifySource
from data.record import Refused
from data.render import Rendered, render
from evaluation.drawing import to_tensor
from evaluation.drawings import real_pictures
from evaluation.errors import EvaluationError
from evaluation.extractors.pictures import fitted
from evaluation.scene import VERSION_CHARACTERS, label_of

RENDERED_PX = 128


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Names and pictures of marks; ``label`` says which collection and version."""

    label: str
    names: tuple[str, ...]
    pictures: Tensor


def load_marks(source: Path, side_px: int, advance: Callable[[int], None] | None = None) -> Marks:
    """Return the marks of a dataset folder, or of icon sets in Iconify form (tarballs of ``npm pack``), on white.

    ``advance`` is called with each count of them that was drawn; a dataset's are read, and counted at once.
    Raises EvaluationError when there is no such place or it holds no mark, SourceError when a file is no icon set.
    """
    check_marks(source)
    if (source / CARD_FILE).is_file():
        dataset = open_dataset(source)
        names = tuple(record.caption for record in dataset.records)
        if not names:
            raise EvaluationError(f"{source} holds no mark: it is an empty dataset")
        pictures = real_pictures(dataset, range(len(dataset)), side_px)
        if advance:
            advance(len(names))
        return Marks(label=label_of(dataset), names=names, pictures=pictures)
    icons = IconifySource(source)
    drawn = []
    for each in _drawn(icons, side_px):
        drawn.append(each)
        if advance:
            advance(1)
    if not drawn:
        raise EvaluationError(f"{source} holds no mark that can be drawn: pass suite.marks=DIR with one or more")
    label = "+".join(f"{origin.collection}@{origin.sha256[:VERSION_CHARACTERS]}" for origin in icons.origins())
    return Marks(label=label, names=tuple(name for name, _ in drawn), pictures=to_tensor([each for _, each in drawn]))


def check_marks(source: Path) -> None:
    """Raise EvaluationError when there is no such place: told before anything is drawn."""
    if not source.exists():
        raise EvaluationError(
            f"no marks at {source}: pass suite.marks=DIR, a dataset, or a tarball of npm pack @iconify-json/logos"
        )


def _drawn(icons: IconifySource, side_px: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture of each drawing; variants that the source leaves out and broken ones are no marks."""
    for drawing in icons.drawings():
        if isinstance(drawing, Refused):
            continue
        rendered = render(drawing.content, monochrome=drawing.monochrome, picture_px=RENDERED_PX)
        if isinstance(rendered, Rendered):
            picture = Image.open(io.BytesIO(rendered.picture)).convert("RGBA")
            yield drawing.key, fitted(picture, side_px)
