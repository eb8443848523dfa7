"""The suite ``pictures``: a folder of pictures, wherever they come from, against a brand's own drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from data.dataset import Dataset, open_dataset
from evaluation.drawing import check_count, check_seed, to_tensor
from evaluation.drawings import picture_files, real_pictures, refuse_learnt, two_halves
from evaluation.extractors.pictures import fitted, opened
from evaluation.measurement import Column, Measurement, Source
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.metrics.nearest import nearest_cosine
from evaluation.panels.distribution import DistributionPanel
from evaluation.panels.memorisation import MemorisationPanel
from evaluation.panels.protocol import Panel
from evaluation.scene import Scene
from evaluation.studio import Studio
from evaluation.suites.protocol import measurement_of
from evaluation.suites.verdicts import pictures_verdict
from registry.artifacts import digest_folder

NEIGHBOUR_TITLE = "The most alike of the brand's own drawings"


@dataclass(frozen=True, kw_only=True)
class PicturesSuite:
    """A folder of pictures, wherever they come from, against a brand's own drawings and their floor.

    ``learn`` is the dataset that their maker learnt, where it is known: the copy check looks into it.  A picture's
    caption is the text file of its name beside it (``sun.txt`` of ``sun.png``), else its name.
    """

    name: str = "pictures"
    pictures: int = 128
    seed: int = 0
    judge: str = "assets/sample/openmoji-judge"
    learn: str | None = None
    side_px: int = 64
    panels: Sequence[Panel] = (DistributionPanel(), MemorisationPanel())

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_count("suite.pictures", self.pictures, LEAST_PICTURES, 100_000)
        check_count("suite.side_px", self.side_px, 16, 4096)

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the measurement; EvaluationError when the folder holds too few pictures or a broken one."""
        return self.measure_files(picture_files(Path(reference), self.pictures), reference, studio)

    def measure_files(self, files: Sequence[Path], reference: str, studio: Studio) -> Measurement:
        """Return the measurement of some files of the folder ``reference``."""
        made = to_tensor([fitted(opened(file), self.side_px) for file in files])
        captions = tuple(caption_of(file) for file in files)
        judge = open_dataset(Path(self.judge))
        learn = open_dataset(Path(self.learn)) if self.learn else None
        scene = self._scene(made, captions, judge, learn, studio)
        neighbours = _nearest(scene.real, scene.made)
        return measurement_of(
            scene,
            self.panels,
            pictures_verdict,
            suite=self.name,
            reference=reference,
            digest=digest_folder(Path(reference)),
            title=Path(reference).name,
            columns=(neighbours, scene.made),
            sources=(Source.of("judged by", judge), *([Source.of("learnt", learn)] if learn else [])),
            settings={"side_px": self.side_px},
            asked=tuple(file.stem for file in files),
        )

    def _scene(
        self, made_N3HW: Tensor, captions: tuple[str, ...], judge: Dataset, learn: Dataset | None, studio: Studio
    ) -> Scene:
        rows, others = two_halves(judge, self.pictures, self.seed)
        if learn is not None:
            refuse_learnt(judge, [*rows, *others], learn)
        px = self.side_px
        return Scene(
            kind="pictures",
            suffix="pictures",
            seed=self.seed,
            captions=captions,
            made=studio.column("The pictures", "pictures", made_N3HW),
            real=studio.column("The brand's own drawings", "brand", real_pictures(judge, rows, px)),
            floor=studio.column("Other drawings of the brand", "floor", real_pictures(judge, others, px)),
            learnt=studio.column("What was learnt", "learnt", real_pictures(learn, range(len(learn)), px))
            if learn
            else None,
            judge=judge,
            judge_rows=tuple(rows),
            floor_rows=tuple(others),
            learn=learn,
            studio=studio,
        )


def caption_of(file: Path) -> str:
    """Return the text beside a picture, else its name."""
    text = file.with_suffix(".txt")
    if not text.is_file():
        return file.stem
    return " ".join(text.read_text(encoding="utf-8", errors="replace").split()) or file.stem


def _nearest(real: Column, made: Column) -> Column:
    """Return for each made picture the real one most like it: no caption pairs them."""
    _, rows = nearest_cosine(made.features, real.features)
    return Column(title=NEIGHBOUR_TITLE, short="nearest", pictures=real.pictures[rows], features=real.features[rows])
