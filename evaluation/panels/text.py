"""What is written in pictures: the part of the panel ``elements`` for words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from evaluation.elements.estimates import NOT_NEGATIVE, hashed, mean_of
from evaluation.elements.text import Reader, Reading, character_error_rate, normal, wanted_text
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import Interval, share_interval
from evaluation.measurement import Column, Finding, Grid, PerPicture, Row, Table, Tile
from evaluation.panels.kit import per_picture_of
from evaluation.scene import Scene
from evaluation.studio import Studio
from evaluation.wording import interval_text, value_text

WORST = 8


class TextReader(Protocol):
    """Reads what is written in pictures."""

    @property
    def identity(self) -> str:
        """Which reader it is, with the digest of its weights."""

    def __call__(self, picture_3HW: Tensor) -> Reading:
        """Return what is written in a uint8 picture, an empty text where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What was read in each column, row by row; ``wanted`` is what each caption asks for, ``allowed`` by the kit."""

    readings: Mapping[str, Sequence[Reading]]
    wanted: Sequence[str | None]
    allowed: frozenset[str]

    def unasked(self, suffix: str) -> list[int]:
        """Return the rows that hold a text although none was asked for."""
        pairs = enumerate(zip(self.readings[suffix], self.wanted, strict=True))
        return [row for row, (read, wanted) in pairs if wanted is None and self._strange(read)]

    def asked(self) -> list[int]:
        """Return the rows whose captions ask for a text."""
        return [row for row, wanted in enumerate(self.wanted) if wanted is not None]

    def _strange(self, read: Reading) -> bool:
        return bool(read.text) and normal(read.text) not in self.allowed


def read_all(studio: Studio, reader: TextReader, pictures_N3HW: Tensor, title: str) -> list[Reading]:
    """Return what is written in each picture, and show how many were read."""
    readings = []
    with studio.progress(f"reading: {title[0].lower()}{title[1:]}", len(pictures_N3HW)) as advance:
        for picture in pictures_N3HW:
            readings.append(reader(picture))
            advance(1)
    return readings


def read_words(scene: Scene, columns: Mapping[str, Column], reader: Reader, allowed: Sequence[str]) -> Words:
    """Read every picture of every column."""
    return Words(
        readings={
            suffix: read_all(scene.studio, reader, column.pictures, column.title) for suffix, column in columns.items()
        },
        wanted=[wanted_text(caption) for caption in scene.captions],
        allowed=frozenset(normal(text) for text in allowed),
    )


def text_figures(scene: Scene, words: Words, reader: Reader) -> list[Figure]:
    """Return for each column the share of unasked texts; where texts are wanted, how many and how well they came."""
    asked, label = words.asked(), f"{reader.identity}/allowed@{hashed(sorted(words.allowed))}"
    figures = []

    def figure(name: str, suffix: str, interval: Interval, better: Better, unit: Unit) -> Figure:
        identity = scene.identity(name.replace("_", "-"), label)
        return Figure.of(f"{name}_{suffix}", interval, count=scene.count, identity=identity, better=better, unit=unit)

    for suffix, readings in words.readings.items():
        if without := scene.count - len(asked):
            unasked = share_interval(len(words.unasked(suffix)), without)
            figures.append(figure("text_unasked", suffix, unasked, "lower", "share"))
        if not asked:
            continue
        pairs = [(readings[row].text, str(words.wanted[row])) for row in asked]
        exact = sum(normal(read) == normal(wanted) for read, wanted in pairs)
        figures.append(figure("text_exact", suffix, share_interval(exact, len(asked)), "higher", "share"))
        if len(asked) > 1:
            errors = np.array([character_error_rate(read, wanted) for read, wanted in pairs])
            interval = mean_of(errors, NOT_NEGATIVE).interval()
            figures.append(figure("text_error_rate", suffix, interval, "lower", "number"))
    return figures


def text_values(scene: Scene, words: Words, figures: Sequence[Figure]) -> list[PerPicture]:
    """Return 0 or 1 for each made picture behind the shares, NaN for a picture that a share leaves out."""
    readings, asked = words.readings[scene.suffix], set(words.asked())
    unasked = set(words.unasked(scene.suffix))
    exact = {row for row in asked if normal(readings[row].text) == normal(str(words.wanted[row]))}
    named = {figure.name: figure for figure in figures}
    values = {
        f"text_unasked_{scene.suffix}": [math.nan if r in asked else float(r in unasked) for r in range(scene.count)],
        f"text_exact_{scene.suffix}": [float(r in exact) if r in asked else math.nan for r in range(scene.count)],
    }
    return [per_picture_of(named[name], each) for name, each in values.items() if name in named]


def text_findings(scene: Scene, figures: Sequence[Figure]) -> list[Finding]:
    """Say whether the model writes where the brand's own drawings do not."""
    named = {figure.name: figure for figure in figures}
    made, real = named.get(f"text_unasked_{scene.suffix}"), named.get("text_unasked_real")
    if made is None or real is None:
        return []
    amount = (
        f"{value_text(made)} of the pictures, 95 % interval {interval_text(made)}; real drawings {value_text(real)}"
    )
    if made.low > real.high:
        return [Finding(tone="unsure", sentence=f"It writes words that nobody asked for ({amount}).")]
    return [Finding(tone="good", sentence=f"It writes no more unasked words than real drawings hold ({amount}).")]


def text_table(words: Words, columns: Mapping[str, Column]) -> Table:
    """Return what was read where nothing was asked for, the commonest first."""
    rows = []
    for suffix, column in columns.items():
        found = [words.readings[suffix][row].text for row in words.unasked(suffix)]
        common = sorted(set(found), key=lambda text: (-found.count(text), text))[:WORST]
        rows.append((column.title, str(len(found)), ", ".join(f"“{text}”" for text in common) or "–"))
    return Table(
        title="Words that nobody asked for",
        note="Captions ask for words by putting them in double quotation marks.",
        headings=("pictures", "with words", "read"),
        rows=tuple(rows),
    )


def text_grid(scene: Scene, words: Words, columns: Mapping[str, Column]) -> Grid | None:
    """Return pictures that do not hold the words they should, and those whose unasked words are read most surely."""
    readings = words.readings[scene.suffix]
    unasked = sorted(words.unasked(scene.suffix), key=lambda row: -readings[row].sureness)
    wrong = [row for row in words.asked() if normal(readings[row].text) != normal(str(words.wanted[row]))]
    rows = []
    for row in (*wrong, *unasked)[:WORST]:
        tiles = tuple(Tile(label=column.short, picture=column.pictures[row]) for column in columns.values())
        rows.append(Row(tiles=tiles, caption=scene.captions[row], remark=f"reads “{readings[row].text or 'nothing'}”"))
    return Grid(title="Words", note="Wrong or unasked words.", rows=tuple(rows)) if rows else None
