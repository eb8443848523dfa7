"""Where suites work: it finds models, draws, extracts features, and shows how far each of these is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from rich.console import Console
from torch import Tensor

from evaluation.drawing import DrawingSettings, Order, PictureArchive, PipelineIllustrator
from evaluation.drawings import is_picture_folder, pictures_of
from evaluation.errors import EvaluationError
from evaluation.extractors.pictures import Pictures
from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.extractors.store import FeatureStore
from evaluation.measurement import Column
from evaluation.progress import SetsBar
from registry.mlflow import ModelStore
from registry.resolve import ResolvedModel, resolve_model


class Studio:
    """One evaluation's tools; ``cache`` keeps pictures and features between evaluations."""

    def __init__(
        self,
        extractor: Extractor,
        *,
        cache: Path,
        store: ModelStore | None = None,
        device: str = "cpu",
        console: Console | None = None,
    ) -> None:
        self.extractor = extractor
        self.device = device
        self._cache = cache
        self.extractor_identity = extractor_identity(extractor)
        self._archive = PictureArchive(cache / "drawings")
        self._store = store
        self._illustrators: dict[str, PipelineIllustrator] = {}
        self._bar = SetsBar(console or Console(stderr=True))

    @cached_property
    def _features(self) -> FeatureStore:
        # Not before the first picture: a mistake in a command must leave no folder behind.
        return FeatureStore(self.extractor, self._cache / "features")

    def resolve(self, reference: str) -> ResolvedModel:
        """Find a model by folder or ``models:/`` reference; EvaluationError for a folder of pictures.

        RegistryError says what models there are when it is none.
        """
        folder = Path(reference)
        if is_picture_folder(folder):
            count = len(pictures_of(folder))
            held = f"{count} picture{'s' if count > 1 else ''}"
            raise EvaluationError(f"{reference} is no model, it holds {held}: use suite=pictures")
        return resolve_model(reference, self._store)

    def drawn(
        self, model: ResolvedModel, orders: Sequence[Order], settings: DrawingSettings, title: str, short: str
    ) -> Column:
        """Return what a model draws to order, under a title, with its features."""
        return self.column(title, short, self.pictures(model, orders, settings, title))

    def pictures(self, model: ResolvedModel, orders: Sequence[Order], settings: DrawingSettings, title: str) -> Tensor:
        """Return what a model draws to order, uint8 [N,3,H,W]."""
        illustrator = PipelineIllustrator(model, settings, self.device)
        illustrator = self._illustrators.setdefault(illustrator.identity, illustrator)  # loads its model once
        with self.progress(f"drawing: {_lowered(title)}", len(orders)) as advance:
            return self._archive.collect(illustrator, orders, batch_pictures=settings.batch_pictures, advance=advance)

    def column(self, title: str, short: str, pictures_N3HW: Tensor) -> Column:
        """Return pictures with their features under a title."""
        with self.progress(f"looking at: {_lowered(title)}", len(pictures_N3HW)) as advance:
            features_ND = self._features(pictures_N3HW, advance)
        return Column(title=title, short=short, pictures=pictures_N3HW, features=features_ND)

    def features(self, extractor: Extractor, pictures: Tensor | Pictures, title: str = "the pictures") -> Tensor:
        """Return another network's features float32 [N,D] of pictures uint8 [N,3,H,W], from the cache where they are.

        ``extractor_identity(extractor)`` belongs into the identity of every figure that is made with them.
        Raises EvaluationError when one is not a finite number.
        """
        store = self._features if extractor is self.extractor else FeatureStore(extractor, self._cache / "features")
        with self.progress(f"{extractor.name}: {title}", len(pictures)) as advance:
            return store(pictures, advance)

    def watched(self) -> AbstractContextManager[None]:
        """Keep the bar of ``progress`` on the terminal until all sets are done."""
        return self._bar.kept()

    def progress(self, label: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        """Show a set of pictures that takes long; what it gives is called with each count that was done."""
        return self._bar.over(label, total)


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]
