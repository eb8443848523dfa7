"""Does the model copy what it learnt: the panel ``memorisation``.

Shapes: pictures uint8 [N,3,H,W], features [N,D], similarities [N].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from evaluation.drawing import check_count, check_range
from evaluation.extractors.protocol import extractor_identity
from evaluation.figures import Figure
from evaluation.intervals import LEVEL, Interval
from evaluation.measurement import Finding, Grid, Histogram, PerPicture, Row, Section, Table, Tile
from evaluation.memorisation.copies import CopyTest, mean_of, share_of
from evaluation.memorisation.gallery import Gallery, gallery_of
from evaluation.memorisation.mirrored import nearest_by_edges
from evaluation.memorisation.neighbours import Neighbours, distance_ratio, nearest_neighbours
from evaluation.memorisation.structure import StructureExtractor
from evaluation.panels.remembered import Remembered, remembered_prompts
from evaluation.scene import Scene, label_of
from evaluation.selection import most_alike
from evaluation.wording import interval_text, number_text, value_text

MOST_ALIKE = 8
LEAST_FOR_RATIO = 10
TESTS = 3
TITLE = "Copying"
NOTE = (
    "Each made picture is held against the learnt drawing most like it. The control are as many real drawings that"
    " nobody learnt, {captions}, held against the same learnt drawings: they say how alike two drawings of"
    " this kind usually are."
)


@dataclass(frozen=True, kw_only=True)
class MemorisationPanel:
    """Whether made pictures come closer to learnt drawings than real, unseen ones do, and which captions are known.

    A copy lies closer to a learnt drawing than all but ``control_share`` of the control (more where the control is
    small) and than ``least_feature`` or ``least_edges``.  The distance ratio takes ``neighbours`` neighbours.  The
    test of the first step asks ``prompts`` learnt captions and as many unseen ones with ``seeds`` noises each; 0
    leaves it out.  ``asked`` learnt captions are drawn to the end and looked at for copies; 0 draws none.
    """

    control_share: float = 0.01
    least_feature: float = 0.9
    least_edges: float = 0.9
    neighbours: int = 50
    prompts: int = 48
    seeds: int = 2
    asked: int = 8

    def __post_init__(self) -> None:
        check_range("control_share", self.control_share, 0.0001, 0.2)
        check_range("least_feature", self.least_feature, 0, 1)
        check_range("least_edges", self.least_edges, 0, 1)
        check_count("neighbours", self.neighbours, LEAST_FOR_RATIO, 1000)
        check_count("prompts", self.prompts, 0, 10_000)
        check_count("seeds", self.seeds, 1, 64)
        check_count("asked", self.asked, 0, 10_000)

    def measure(self, scene: Scene) -> Section:
        """Return shares of copies by features and by edges, the excess, the ratio test and the first step's test."""
        gallery = gallery_of(scene)
        if gallery is None:
            missing = "nothing says what the model learnt: pass suite.learn=DIR, the dataset that it learnt from"
            return Section(name="memorisation", title=TITLE, note=note_of(scene), missing=missing)
        near, control = self._by_features(scene, gallery)
        feature = self._test(near, control, self.least_feature)
        pixel = self._test(*by_edges(scene, gallery), self.least_edges)
        known = remembered_prompts(
            scene, gallery, (feature, pixel), prompts=self.prompts, seeds=self.seeds, asked=self.asked
        )
        copies = self._copy_figures(scene, gallery, feature, pixel)
        ratio = self._ratio(scene, gallery, near, control)
        figures = (*copies, *([ratio[0]] if ratio else []), *known.figures)
        return Section(
            name="memorisation",
            title=TITLE,
            note=note_of(scene),
            figures=figures,
            findings=(finding(copies, pixel, feature, known),),
            histograms=(*_histograms(feature, pixel), *known.histograms),
            tables=(_table(feature, pixel, ratio),),
            grids=(_grid(scene, gallery, feature, pixel), *known.grids),
            per_picture=(*_per_picture(copies, feature, pixel), *([ratio[1]] if ratio else [])),
        )

    def _by_features(self, scene: Scene, gallery: Gallery) -> tuple[Neighbours, Neighbours]:
        """Return the neighbours of the made pictures and of the control, by the studio's own extractor."""
        count = min(self.neighbours, len(gallery))
        made = nearest_neighbours(scene.made.features, gallery.features, count)
        return made, nearest_neighbours(scene.real.features, gallery.features, count)

    def _test(self, made: Neighbours, control: Neighbours, least: float) -> CopyTest:
        return CopyTest(
            made=made.nearest, rows=made.rows[:, 0], control=control.nearest, share=self.control_share, least=least
        )

    def _copy_figures(
        self, scene: Scene, gallery: Gallery, feature: CopyTest, pixel: CopyTest
    ) -> tuple[Figure, Figure, Figure]:
        edges = extractor_identity(StructureExtractor())
        identity = self._identity(scene, gallery, "memorisation")
        return (
            _share("memorisation_excess", feature.excess(), scene, identity),
            _share(
                "copies_pixel", share_of(pixel.copies), scene, self._identity(scene, gallery, "copies", edges, pixel)
            ),
            _share(
                "copies_feature",
                share_of(feature.copies),
                scene,
                self._identity(scene, gallery, "copies", None, feature),
            ),
        )

    def _identity(
        self,
        scene: Scene,
        gallery: Gallery,
        metric: str,
        extractor: str | None = None,
        test: CopyTest | None = None,
    ) -> str:
        least = f",least={test.least}" if test else ""
        learnt = f"{label_of(gallery.dataset)}[{len(gallery)}]"
        control = f"control={len(scene.real.features)}:{self.control_share}{least}"
        return f"{scene.identity(metric, extractor)}/{learnt}/{control}"

    def _ratio(
        self, scene: Scene, gallery: Gallery, made: Neighbours, control: Neighbours
    ) -> tuple[Figure, PerPicture, Tensor] | None:
        """Return the ratio test's figure, its values picture by picture, and the control's; None for few drawings."""
        count = made.similarity.shape[1]
        if count < LEAST_FOR_RATIO or len(gallery) <= count // 2:
            return None
        values, of_control = distance_ratio(made), distance_ratio(control)
        identity = f"{scene.identity(f'nearest-ratio[{count}]')}/{label_of(gallery.dataset)}[{len(gallery)}]"
        figure = Figure.of("nearest_ratio", mean_of(values), count=scene.count, identity=identity, better="higher")
        title = "Distance to the nearest learnt drawing, as a share of the mean distance to its neighbours"
        each = PerPicture(name="nearest_ratio", title=title, values=values, identity=identity, better="higher")
        return figure, each, of_control


def note_of(scene: Scene) -> str:
    """Return what the section says of its control, which shows the made pictures' captions only where it was asked to.

    A folder of pictures, and prompts that probe, have captions of their own.
    """
    asked = [order.prompt for order in scene.orders]
    same = asked == [scene.judge.records[row].caption for row in scene.judge_rows]
    return NOTE.format(captions="of the same captions" if same else "of captions of their own")


def by_edges(scene: Scene, gallery: Gallery) -> tuple[Neighbours, Neighbours]:
    """Return the nearest by edges of the made pictures and of the control, each as it is or mirrored."""
    studio = scene.studio
    learnt = studio.features(StructureExtractor(), gallery.pictures, "what it learnt")
    made = nearest_by_edges(studio, scene.made.pictures, learnt, "the pictures")
    return made, nearest_by_edges(studio, scene.real.pictures, learnt, "the control")


def finding(copies: tuple[Figure, ...], pixel: CopyTest, feature: CopyTest, known: Remembered) -> Finding:
    """Return what the figures say together: bad where more is copied than chance allows.

    Three intervals each get a third of the error, so that one law of made and control is called copying in at most
    2.5 % of cases by any of them.
    """
    excess, by_pixel, by_feature = copies
    amount = f"excess {value_text(excess)}, 95 % interval {interval_text(excess)}"
    level = 1 - (1 - LEVEL) / TESTS
    tests = (feature.excess(level), pixel.beyond_control(level), feature.beyond_control(level))
    if any(each.low > 0 for each in tests):
        return Finding(
            tone="bad",
            sentence="It copies: more of its pictures than chance allows come closer to a drawing that it learnt than"
            f" unseen drawings do ({amount}; {value_text(by_pixel)} copies by edges, {value_text(by_feature)} by"
            " features).",
        )
    if known.sentence:
        return Finding(tone="unsure", sentence=known.sentence)
    found = int((pixel.copies | feature.copies).sum())
    alarms = int((pixel.false_alarms | feature.false_alarms).sum())
    if found > alarms:
        return Finding(
            tone="unsure",
            sentence=f"{found} of {excess.count} pictures lie as close to a learnt drawing as copies do, and"
            f" {alarms} of as many unseen real ones: look at them below ({amount}).",
        )
    return Finding(
        tone="good",
        sentence="No sign of copying: its pictures come no closer to the drawings that it learnt than unseen drawings"
        f" do ({amount}).",
    )


def _share(name: str, interval: Interval, scene: Scene, identity: str) -> Figure:
    return Figure.of(name, interval, count=scene.count, identity=identity, better="lower", unit="share")


def _histograms(feature: CopyTest, pixel: CopyTest) -> tuple[Histogram, ...]:
    return tuple(
        Histogram(
            title=title,
            note="What lies above the mark is called a copy.",
            x_label=x_label,
            values=(("made", test.made), ("real, unseen", test.control)),
            marks=((test.threshold, number_text(test.threshold)),),
        )
        for title, x_label, test in (
            ("Likeness to what was learnt", "highest cosine similarity of features to a learnt drawing", feature),
            ("Edges in common with what was learnt", "highest correlation of edges with a learnt drawing", pixel),
        )
    )


def _table(feature: CopyTest, pixel: CopyTest, ratio: tuple[Figure, PerPicture, Tensor] | None) -> Table:
    rows = [
        _counted("features", feature.copies, feature.false_alarms, number_text(feature.threshold)),
        _counted(
            "edges (moved, mirrored, recoloured too)", pixel.copies, pixel.false_alarms, number_text(pixel.threshold)
        ),
        _counted("either", feature.copies | pixel.copies, feature.false_alarms | pixel.false_alarms, ""),
    ]
    if ratio:
        below = float(ratio[2].sort().values[max(0, round(feature.tail * len(ratio[2])) - 1)])
        rows.append(_counted("distance ratio", ratio[1].values < below, ratio[2] < below, number_text(below)))
    return Table(
        title="How many are copies",
        note="As many unseen real drawings stand beside: what is found among them are false alarms.",
        headings=("told by", "made", "real, unseen", "threshold"),
        rows=tuple(rows),
    )


def _counted(told_by: str, made_N: Tensor, control_C: Tensor, threshold: str) -> tuple[str, str, str, str]:
    made, control = (f"{int(flags.sum())} of {len(flags)}" for flags in (made_N, control_C))
    return told_by, made, control, threshold


def _grid(scene: Scene, gallery: Gallery, feature: CopyTest, pixel: CopyTest) -> Grid:
    """Return the pictures that come nearest to a learnt drawing, by either likeness, beside it."""
    by_feature, by_edges = ((test.made - test.threshold) / (1 - test.threshold + 1e-6) for test in (feature, pixel))
    rows = []
    for row in most_alike(by_feature.maximum(by_edges), MOST_ALIKE):
        test = feature if by_feature[row] >= by_edges[row] else pixel
        nearest = int(test.rows[row])
        tiles = (
            Tile(label=f"drawn: {scene.captions[row]}", picture=scene.made.pictures[row]),
            Tile(label=f"learnt: {gallery.caption(nearest)}", picture=gallery.picture(nearest)),
        )
        told = f"{'features' if test is feature else 'edges'} {float(test.made[row]):.2f}"
        rows.append(Row(tiles=tiles, remark=f"{told}: {'a copy' if bool(test.copies[row]) else 'no copy'}"))
    return Grid(title="Most like what was learnt", note="The nearest learnt drawing beside each.", rows=tuple(rows))


def _per_picture(copies: tuple[Figure, Figure, Figure], feature: CopyTest, pixel: CopyTest) -> tuple[PerPicture, ...]:
    _, by_pixel, by_feature = copies
    return tuple(
        PerPicture(
            name=figure.name,
            title=title,
            values=test.copies.double(),
            identity=figure.identity,
            better="lower",
            unit="share",
        )
        for figure, title, test in (
            (by_pixel, "Copies by edges", pixel),
            (by_feature, "Copies by features", feature),
        )
    )
