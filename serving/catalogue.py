"""Which models should be served, asked of the registry every few seconds, and the roster of those that are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from atelier import AtelierError
from registry.mlflow import ModelStore
from registry.resolve import ResolvedModel, parse_reference, resolve_model
from serving.engine import Engine
from serving.errors import EngineStopped
from serving.metrics import Metrics
from serving.roster import BACKBONE_ID, Loader, Roster, load_roster

logger = logging.getLogger(__name__)

CHAMPION = "champion"
BRAND_PREFIX = "brand-"


def champion_brands(store: ModelStore) -> dict[str, str]:
    """Return the reference of every registered brand that has a champion, by the brand's name."""
    names = [name for name in store.names() if name.startswith(BRAND_PREFIX)]
    served = [name for name in names if store.alias_version(name, CHAMPION) is not None]
    return {name.removeprefix(BRAND_PREFIX): f"models:/{name}@{CHAMPION}" for name in served}


class Catalogue:
    """Keeps ``roster`` true to the registry. Reading ``roster`` is safe from any thread; it is replaced as a whole."""

    def __init__(
        self,
        *,
        backbone: str,
        brands: Mapping[str, str] | None,
        store: ModelStore | None,
        loader: Loader,
        engine: Engine,
        metrics: Metrics,
    ) -> None:
        self.roster = Roster()
        self._backbone = backbone
        self._brands = brands
        self._store = store
        self._loader = loader
        self._engine = engine
        self._metrics = metrics
        self._pinned: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def refresh(self) -> bool:
        """Load what has changed since the last call; whether anything had.

        Raises AtelierError when the backbone cannot be found or loaded; the roster then stays as it was.
        """
        pinned = self._pin()
        if pinned == self._pinned:
            return False
        # Remembered even when loading fails, so that a broken champion is reported once and not every few seconds.
        self._pinned = pinned
        backbone = resolve_model(pinned[BACKBONE_ID], self._store)
        brands = {name: self._resolved(reference) for name, reference in pinned.items() if name != BACKBONE_ID}
        before = self.roster
        loading = self._engine.call(lambda: load_roster(backbone, brands, self._loader, before))
        self.roster = loading.result()
        self._report()
        return True

    def watch(self, poll_seconds: float) -> None:
        """Refresh in a thread every ``poll_seconds`` until ``close``; does nothing where no reference can move."""
        if self._store is None:
            return
        self._thread = threading.Thread(target=self._poll, args=(poll_seconds,), name="atelier-catalogue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _poll(self, poll_seconds: float) -> None:
        while not self._stop.wait(poll_seconds):
            try:
                self.refresh()
            except EngineStopped:
                return
            except AtelierError as error:
                logger.warning("the served models stay as they are: %s", error)
            except Exception:
                logger.exception("the served models stay as they are")

    def _pin(self) -> dict[str, str]:
        """Return every reference with its alias replaced by the version that it means now."""
        brands = self._brands
        if brands is None:
            brands = champion_brands(self._store) if self._store else {}
        return {BACKBONE_ID: self._version_of(self._backbone)} | {
            name: self._version_of(reference) for name, reference in brands.items() if name != BACKBONE_ID
        }

    def _version_of(self, reference: str) -> str:
        if self._store is None or not reference.startswith("models:/"):
            return reference
        try:
            name, version = parse_reference(reference, self._store)
        except AtelierError:
            return reference  # resolving it says what is wrong
        return f"models:/{name}/{version}"

    def _resolved(self, reference: str) -> ResolvedModel | AtelierError:
        try:
            model = resolve_model(reference, self._store)
        except AtelierError as error:
            return error
        return replace(model, base=self._registered(model.base)) if model.base else model

    def _registered(self, base: ResolvedModel) -> ResolvedModel:
        """Give a base that was found as a folder the name and version under which the registry knows it."""
        known = self._store.with_digest(base.digest) if self._store and base.name is None else []
        return replace(base, name=known[0].name, version=known[0].version) if known else base

    def _report(self) -> None:
        for name, model in self.roster.models.items():
            self._metrics.model_loads.labels(name, "loaded").inc()
            logger.info("serving %s: %s %s", name, self._pinned.get(name), model.artifact.digest[:12])
        for name in self.roster.refused:
            self._metrics.model_loads.labels(name, "refused").inc()
