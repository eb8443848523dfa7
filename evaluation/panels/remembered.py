"""Which learnt captions a model remembers: the part of the panel ``memorisation`` that asks the model itself.

Shapes: magnitudes [P], pictures uint8 [P,3,H,W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from evaluation.drawing import DrawingSettings, Order
from evaluation.drawings import in_drawn_order
from evaluation.figures import Figure
from evaluation.intervals import share_above, tail_threshold
from evaluation.measurement import Grid, Histogram, Row, Tile
from evaluation.memorisation.copies import CopyTest, share_of, tail_share
from evaluation.memorisation.first_step import FirstStep, first_step
from evaluation.memorisation.gallery import Gallery
from evaluation.memorisation.mirrored import nearest_by_edges
from evaluation.memorisation.neighbours import nearest_neighbours
from evaluation.memorisation.structure import StructureExtractor
from evaluation.scene import Scene, label_of
from evaluation.selection import most_alike
from evaluation.wording import interval_text, number_text, value_text

LEAST_PROMPTS = 8
SHOWN = 6
PROMPT_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What asking for learnt captions showed; empty where there is no model to ask."""

    figures: tuple[Figure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    grids: tuple[Grid, ...] = ()
    sentence: str = ""  # set where there is something to look at


def remembered_prompts(
    scene: Scene, gallery: Gallery, tests: tuple[CopyTest, CopyTest], *, prompts: int, seeds: int, asked: int
) -> Remembered:
    """Ask the scene's model for captions that it learnt and for as many that it did not.

    ``tests`` are the copy tests by features and by edges, whose thresholds hold here too.
    """
    learnt, places = learnt_orders(scene, gallery, max(prompts, asked))
    unseen = unseen_orders(scene, learnt)
    count = min(prompts, len(learnt), len(unseen))
    parts = []
    if scene.model is not None and count >= LEAST_PROMPTS:
        parts.append(_first_steps(scene, gallery, learnt[:count], places[:count], unseen[:count], seeds))
    if scene.model is not None and min(asked, len(learnt)) > 0:
        parts.append(_asked(scene, gallery, learnt[:asked], tests))
    return Remembered(
        figures=tuple(figure for part in parts for figure in part.figures),
        histograms=tuple(histogram for part in parts for histogram in part.histograms),
        grids=tuple(grid for part in parts for grid in part.grids),
        sentence=" ".join(part.sentence for part in parts if part.sentence),
    )


def learnt_orders(scene: Scene, gallery: Gallery, count: int) -> tuple[list[Order], list[int]]:
    """Return orders for learnt captions, each once, in the style that the scene's own orders name, and their places."""
    styled = any(order.style is not None for order in scene.orders)
    orders: list[Order] = []
    places: list[int] = []
    seen = set()
    at = {row: place for place, row in enumerate(gallery.rows)}
    for row in in_drawn_order(gallery.dataset, gallery.rows, scene.seed):
        if len(orders) == count:
            break
        record = gallery.dataset.record(row)
        order = Order(prompt=record.caption, seed=scene.seed + len(orders), style=record.style if styled else None)
        if order.prompt.strip() and (order.prompt, order.style) not in seen:
            seen.add((order.prompt, order.style))
            orders.append(order)
            places.append(at[row])
    return orders, places


def unseen_orders(scene: Scene, learnt: Sequence[Order]) -> list[Order]:
    """Return orders for captions of judging drawings that are none of the learnt ones, each once, styled as those."""
    styled = any(order.style is not None for order in learnt)
    known = {order.prompt for order in learnt}
    records = (scene.judge.records[row] for row in scene.judge_rows)
    captions = {record.caption: record.style for record in records if record.caption.strip()}
    return [
        Order(prompt=caption, seed=scene.seed, style=style if styled else None)
        for caption, style in captions.items()
        if caption not in known
    ]


def _first_steps(
    scene: Scene, gallery: Gallery, learnt: Sequence[Order], places: Sequence[int], unseen: Sequence[Order], seeds: int
) -> Remembered:
    """Return the share of learnt captions that decide more at the first step than unseen ones, less the control's."""
    assert scene.model is not None
    batch = scene.drawing.batch_pictures if scene.drawing else DrawingSettings().batch_pictures
    both = first_step(
        scene.studio, scene.model, [*learnt, *unseen], seeds=seeds, batch_pictures=batch, title="First steps"
    )
    known, control = both.magnitudes[: len(learnt)], both.magnitudes[len(learnt) :]
    tail = tail_share(len(control), PROMPT_SHARE)
    identity = (
        f"{scene.identity(f'first-step[{seeds} seeds]', 'no-extractor')}/{label_of(gallery.dataset)}[{len(gallery)}]"
        f"/prompts={len(learnt)}:{PROMPT_SHARE}"
    )
    interval = share_above(known, control, tail)
    figure = Figure.of(
        "first_step_excess", interval, count=len(learnt), identity=identity, better="lower", unit="share"
    )
    return Remembered(
        figures=(figure,),
        histograms=(_first_histogram(known, control, tail_threshold(control, tail)),),
        grids=(_first_grid(gallery, learnt, places, known, both),),
        sentence=_remembering(figure),
    )


def _first_histogram(known_P: Tensor, control_P: Tensor, threshold: float) -> Histogram:
    return Histogram(
        title="What a caption decides at the first step",
        note="A remembered caption calls its drawing up out of pure noise. Above the mark lies the tail of captions"
        " that the model never learnt.",
        x_label="root mean square difference that the caption makes, of 2",
        values=(("learnt captions", known_P), ("unseen captions", control_P)),
        marks=((threshold, number_text(threshold)),),
    )


def _remembering(figure: Figure) -> str:
    """Return what the excess at the first step says, empty where it is not proven."""
    if figure.low <= 0:
        return ""
    return (
        f"It remembers captions: at the first step {value_text(figure)} more of the learnt ones than of unseen ones"
        f" decide the picture (95 % interval {interval_text(figure)})."
    )


def _first_grid(
    gallery: Gallery, learnt: Sequence[Order], places: Sequence[int], magnitudes_P: Tensor, both: FirstStep
) -> Grid:
    rows = []
    for row in most_alike(magnitudes_P, SHOWN):
        tiles = (
            Tile(label=f"first step: {learnt[row].prompt}", picture=both.estimates[row]),
            Tile(label="learnt", picture=gallery.picture(places[row])),
        )
        rows.append(Row(tiles=tiles, remark=f"magnitude {float(magnitudes_P[row]):.2f}"))
    return Grid(
        title="Captions that decide most at the first step",
        note="Out of pure noise, in one step: a blur is right, a finished drawing is remembered.",
        rows=tuple(rows),
    )


def _asked(scene: Scene, gallery: Gallery, learnt: Sequence[Order], tests: tuple[CopyTest, CopyTest]) -> Remembered:
    """Return the share of pictures drawn to learnt captions that are as close to a learnt drawing as copies are.

    It is told as a count and held against nothing: the control shows subjects that were not learnt, and what shows a
    learnt subject is like its learnt drawing without any copying.
    """
    assert scene.model is not None
    settings = scene.drawing or DrawingSettings()
    drawn = scene.studio.drawn(scene.model, learnt, settings, "Asked for what it learnt", "asked")
    vectors = scene.studio.features(StructureExtractor(), gallery.pictures, "what it learnt")
    edges = nearest_by_edges(scene.studio, drawn.pictures, vectors, "asked")
    feature = nearest_neighbours(drawn.features, gallery.features, 1)
    by_feature, by_edges = tests
    copies = (feature.nearest > by_feature.threshold) | (edges.nearest > by_edges.threshold)
    identity = f"{scene.identity('copies-asked')}/{label_of(gallery.dataset)}[{len(gallery)}]/asked={len(learnt)}"
    figure = Figure.of(
        "copies_asked", share_of(copies), count=len(learnt), identity=identity, better="lower", unit="share"
    )
    rows = [
        Row(
            tiles=(
                Tile(label=f"drawn: {learnt[row].prompt}", picture=drawn.pictures[row]),
                Tile(label="learnt", picture=gallery.picture(int(edges.rows[row, 0]))),
            ),
            remark=f"edges {float(edges.nearest[row]):.2f}: {'a copy' if bool(copies[row]) else 'no copy'}",
        )
        for row in most_alike(edges.nearest, SHOWN)
    ]
    found = int(copies.sum())
    sentence = (
        f"Asked for {len(learnt)} captions that it learnt, it draws {found} as close to a learnt drawing as copies are:"
        " drawings of one subject are alike anyway, so look at them below."
        if found
        else ""
    )
    note = "Drawn to captions that it learnt, each beside the learnt drawing nearest by edges."
    return Remembered(
        figures=(figure,),
        grids=(Grid(title="Asked for what it learnt", note=note, rows=tuple(rows)),),
        sentence=sentence,
    )
