"""``atelier fit fitted=descriptor``: fits the style descriptor on a corpus, judges it, and writes its folder.

Shapes: pictures uint8 [N,3,H,W], statistics [N,D], descriptors [N,E].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from data.dataset import Dataset, open_dataset
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.store import FeatureStore
from evaluation.extractors.weights import weights_sha256
from evaluation.style.descriptor import WEIGHTS_FILE, StyleHead
from evaluation.style.statistics import StyleStatistics, parts
from evaluation.style.telling import Seen
from training.descriptor_card import OWN, Judged, told, write_cards
from training.descriptor_head import Lesson, Recipe, fit_head
from training.descriptor_pictures import PX, Shown, chosen, halves, joined, joined_seen, shown
from training.errors import TrainingError
from training.export import written_whole

LEAST_SETS = 3
HELD_OUT = ("heldout_subject", "heldout_pair")
EVERY_SPLIT = ("train", *HELD_OUT)


@dataclass(frozen=True, kw_only=True)
class DescriptorFit:
    """The settings of a fit, and the fit.

    ``dataset`` teaches by its training split and judges by what it holds out; ``brands`` are folders of datasets that
    are judged by and never learnt.  Of each set ``learn_pictures`` are learnt, every other one at 64 px and the rest at
    128 px, and ``judge_pictures`` are judged by at both sizes (of a brand ``brand_pictures``).
    """

    dataset: str
    out: str
    cache: str = "var/cache"
    name: str = "descriptor"
    brands: Sequence[str] = ()
    seed: int = 0
    device: str = "cpu"
    learn_pictures: int = 200
    judge_pictures: int = 40
    brand_pictures: int = 100
    hidden: int = 384
    dimensions: int = 128
    steps: int = 800
    pictures_a_set: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.3

    def __post_init__(self) -> None:
        limits: Mapping[str, tuple[float, float]] = {
            "seed": (0, 2**31),
            "learn_pictures": (8, 100_000),
            "judge_pictures": (20, 10_000),
            "brand_pictures": (20, 10_000),
            "hidden": (8, 4096),
            "dimensions": (4, 1024),
            "steps": (20, 1_000_000),
            "pictures_a_set": (2, 64),
            "learning_rate": (1e-6, 1),
            "weight_decay": (0, 10),
            "dropout": (0, 0.9),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise TrainingError(f"fitted.{name} must be between {low:g} and {high:g}, got {getattr(self, name)}")

    def fit(self) -> Path:
        """Learn, judge, write the folder whole or not at all, and return it.

        Raises TrainingError for a dataset of too few sets, DatasetError for one that does not open.
        """
        dataset, brands = open_dataset(self.dataset), [open_dataset(folder) for folder in self.brands]
        store = self._store(StyleStatistics(device=self.device))
        lesson = self.lesson(dataset, store)
        head = fit_head(lesson_of(lesson), self.recipe())
        found = self._judge(dataset, brands, store, head, lesson)
        folder = Path(self.out)
        with written_whole(folder) as building:
            digest = write_head(building, head, store.extractor.digest)
            write_cards(building, self, [dataset, *brands], lesson, found, digest)
        print(told(found))
        return folder

    def lesson(self, dataset: Dataset, store: FeatureStore) -> Shown:
        """Return what is learnt, seen; TrainingError when the dataset has fewer than three sets to learn from."""
        learnt = chosen(dataset, ("train",), self.learn_pictures, self.seed)
        learnt = {name: rows for name, rows in learnt.items() if len(rows) >= len(PX)}
        if len(learnt) < LEAST_SETS:
            raise TrainingError(
                f"{dataset.folder} has {len(learnt)} sets to learn from, at least {LEAST_SETS} are needed"
            )
        return joined([shown(dataset, rows, store, px) for px, rows in halves(learnt).items()])

    def recipe(self) -> Recipe:
        """Return how the head learns it."""
        return Recipe(
            hidden=self.hidden,
            dimensions=self.dimensions,
            steps=self.steps,
            pictures_a_set=self.pictures_a_set,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            dropout=self.dropout,
            seed=self.seed,
        )

    def _store(self, extractor: StyleStatistics | EfficientNetLite0) -> FeatureStore:
        return FeatureStore(extractor, Path(self.cache) / "features")

    def _judge(
        self, dataset: Dataset, brands: Sequence[Dataset], store: FeatureStore, head: StyleHead, lesson: Shown
    ) -> list[Judged]:
        """Judge the head at every size, and the baselines at the first, at which models draw."""
        plain = self._store(EfficientNetLite0(device=self.device))
        found = []
        for px in PX:
            seen = self._unseen(dataset, brands, store, px)
            for name, descriptors in rivals(head, lesson, seen.descriptors).items():
                if name == OWN or px == PX[0]:
                    found.append(Judged.of(name, px, seen.described(descriptors), self.seed))
            if px == PX[0]:
                found.append(Judged.of("pooled features", px, self._unseen(dataset, brands, plain, px), self.seed))
        return found

    def _unseen(self, dataset: Dataset, brands: Sequence[Dataset], store: FeatureStore, px: int) -> Seen:
        held_out = chosen(dataset, HELD_OUT, self.judge_pictures, self.seed)
        seen = [shown(dataset, _flat(held_out), store, px).seen()]
        for brand in brands:
            rows = chosen(brand, EVERY_SPLIT, self.brand_pictures, self.seed)
            seen.append(shown(brand, _flat(rows), store, px).seen("brand"))
        return joined_seen(seen)


def lesson_of(shown: Shown) -> Lesson:
    """Return what a head learns from: sets and subjects as numbers."""
    sets = {name: number for number, name in enumerate(sorted({record.style for record in shown.records}))}
    subjects = {name: number for number, name in enumerate(sorted({record.subject for record in shown.records}))}
    return Lesson(
        statistics=shown.features,
        labels=torch.tensor([sets[record.style] for record in shown.records]),
        subjects=torch.tensor([subjects[record.subject] for record in shown.records]),
    )


def rivals(head: StyleHead, lesson: Shown, statistics_ND: Tensor) -> dict[str, Tensor]:
    """Return the descriptors and the baselines that it must beat: each number standardised as the head's are."""
    deviation, mean = torch.std_mean(lesson.features, dim=0)
    standard_ND = ((statistics_ND - mean) / deviation.clamp_min(1e-4)).clamp(-6, 6)
    places = parts()
    with torch.inference_mode():
        return {
            "descriptor": head(statistics_ND),
            "mean and deviation": functional.normalize(standard_ND[:, places["moments"]], dim=1),
            "Gram": functional.normalize(standard_ND[:, places["correlations"]], dim=1),
        }


def write_head(folder: Path, head: StyleHead, statistics_sha256: str) -> str:
    """Write the weights in half precision, the moments in full, and return the file's sha256."""
    weights = {
        name: (value.float() if name in ("mean", "deviation") else value.half()).contiguous()
        for name, value in head.state_dict().items()
    }
    (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"statistics": statistics_sha256}))
    return weights_sha256([folder / WEIGHTS_FILE])


def _flat(rows_of: Mapping[str, Sequence[int]]) -> list[int]:
    return [row for rows in rows_of.values() for row in rows]
