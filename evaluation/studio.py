"""Where suites work: it finds models, draws, extracts features, and shows how far each of these is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from evaluation.drawing import DrawingSettings, Order, PictureArchive, PipelineIllustrator
from evaluation.extractors import Extractor
from evaluation.features import FeatureStore
from evaluation.measurement import Column
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
        self._features = FeatureStore(extractor, cache / "features")
        self.extractor_identity = self._features.identity
        self._archive = PictureArchive(cache / "drawings")
        self._store = store
        self._device = device
        self._console = console or Console(stderr=True)

    def resolve(self, reference: str) -> ResolvedModel:
        """Find a model by folder or ``models:/`` reference; RegistryError says what there is."""
        return resolve_model(reference, self._store)

    def drawn(
        self, model: ResolvedModel, orders: Sequence[Order], settings: DrawingSettings, title: str, short: str
    ) -> Column:
        """Return what a model draws to order, under a title, with its features."""
        illustrator = PipelineIllustrator(model, settings, self._device)
        with self._progress(f"drawing: {_lowered(title)}", len(orders)) as advance:
            pictures = self._archive.collect(
                illustrator, orders, batch_pictures=settings.batch_pictures, advance=advance
            )
        return self.column(title, short, pictures)

    def column(self, title: str, short: str, pictures_N3HW: Tensor) -> Column:
        """Return pictures with their features under a title."""
        with self._progress(f"looking at: {_lowered(title)}", len(pictures_N3HW)) as advance:
            features_ND = self._features(pictures_N3HW, advance)
        return Column(title=title, short=short, pictures=pictures_N3HW, features=features_ND)

    @contextmanager
    def _progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        columns = (
            TextColumn("{task.description:<40}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(label, total=total)
            yield lambda count: progress.advance(task, count)


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]
