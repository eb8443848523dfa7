"""The models being served at one moment: never changed, only replaced, so that a request keeps what it began with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from atelier import AtelierError
from registry.resolve import ResolvedModel
from serving.engine import Painter
from serving.errors import RequestRefused, ServingError
from serving.marking import Artifact

logger = logging.getLogger(__name__)

BACKBONE_ID = "atelier"


class Pipeline(Painter, Protocol):
    """What serving needs of ``synthesis.pipeline.MultiTaskPipeline``."""

    @property
    def picture_px(self) -> int: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def styles(self) -> tuple[str, ...]: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def own_steps(self) -> int | None: ...
    @property
    def own_guidance(self) -> float | None: ...
    @property
    def brands(self) -> tuple[str, ...]: ...
    def load_brand(self, folder: Path, name: str) -> None: ...


Loader = Callable[[Path], Pipeline]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One name a customer may ask for: the backbone itself, or a brand's adapter on the backbone it was made on."""

    id: str
    pipeline: Pipeline
    backbone: Artifact
    adapter: Artifact | None = None
    adapter_name: str | None = None  # the adapter's name inside the pipeline
    created: int = 0  # seconds since 1970

    @property
    def artifact(self) -> Artifact:
        """The model that the name stands for."""
        return self.adapter or self.backbone


@dataclass(frozen=True, kw_only=True)
class Roster:
    """The served models by name, and those that could not be loaded, with the reason."""

    models: Mapping[str, ServedModel] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)  # by the backbone's digest

    def find(self, name: str, *, param: str = "model") -> ServedModel:
        """Return the model of a name, or refuse with the names there are."""
        if name in self.models:
            return self.models[name]
        if name in self.refused:
            raise RequestRefused(
                f"The model '{name}' could not be loaded: {self.refused[name]}",
                param=param,
                code="model_not_found",
                status=404,
            )
        raise RequestRefused(
            f"The model '{name[:60]}' does not exist: there are {', '.join(self.models)}.",
            param=param,
            code="model_not_found",
            status=404,
        )


def load_roster(
    backbone: ResolvedModel, brands: Mapping[str, ResolvedModel | AtelierError], loader: Loader, previous: Roster
) -> Roster:
    """Load what is new and take over what ``previous`` has loaded. Runs in the thread that owns the pipelines.

    A brand that does not load is refused by name and the others go on; a backbone that does not load raises.
    """
    if backbone.card["kind"] != "backbone":
        raise ServingError(f"{backbone.reference} is an adapter: model= takes a backbone, brands= takes adapters")
    pipelines: dict[str, Pipeline] = {backbone.digest: _pipeline(backbone, loader, previous.pipelines)}
    models = {BACKBONE_ID: _served_backbone(backbone, pipelines)}
    refused: dict[str, str] = {}
    for name, brand in brands.items():
        try:
            models[name] = _served_brand(name, brand, loader, pipelines, previous)
        except AtelierError as error:
            refused[name] = str(error)
        except Exception as error:
            logger.exception("brand %s does not load", name)
            refused[name] = f"{type(error).__name__}, see the server's log"
        if name in refused:
            logger.warning("brand %s is not served: %s", name, refused[name])
    return Roster(models=models, refused=refused, pipelines=pipelines)


def artifact_of(model: ResolvedModel) -> Artifact:
    """Return the identity and terms that a model's pictures carry."""
    return Artifact(
        name=model.name or str(model.card["name"]),
        version=model.version,
        digest=model.digest,
        licence=str(model.card.get("licence") or "unknown"),
        obligations=tuple(map(str, model.card.get("obligations") or ())),
    )


def load_brand(name: str, brand: ResolvedModel, pipeline: Pipeline) -> str:
    """Load an adapter and return its name inside the pipeline.

    The name bears the digest: a champion that moves is a new adapter, and pictures under way keep the old one.
    """
    adapter_name = f"{name}-{brand.digest[:12]}".replace(".", "_")
    if adapter_name not in pipeline.brands:
        pipeline.load_brand(brand.folder, adapter_name)
    return adapter_name


def _served_backbone(model: ResolvedModel, pipelines: Mapping[str, Pipeline]) -> ServedModel:
    return ServedModel(
        id=BACKBONE_ID, pipeline=pipelines[model.digest], backbone=artifact_of(model), created=_created(model)
    )


def _served_brand(
    name: str,
    brand: ResolvedModel | AtelierError,
    loader: Loader,
    pipelines: dict[str, Pipeline],
    previous: Roster,
) -> ServedModel:
    if isinstance(brand, AtelierError):
        raise brand
    if name == BACKBONE_ID:
        raise ServingError(f"a brand cannot be named '{BACKBONE_ID}': the backbone is")
    if brand.base is None:
        raise ServingError(f"{brand.reference} is a backbone, not a brand's adapter")
    digest = brand.base.digest
    pipelines.setdefault(digest, _pipeline(brand.base, loader, {**previous.pipelines, **pipelines}))
    return ServedModel(
        id=name,
        pipeline=pipelines[digest],
        backbone=artifact_of(brand.base),
        adapter=artifact_of(brand),
        adapter_name=load_brand(name, brand, pipelines[digest]),
        created=_created(brand),
    )


def _pipeline(model: ResolvedModel, loader: Loader, known: Mapping[str, Pipeline]) -> Pipeline:
    return known[model.digest] if model.digest in known else loader(model.folder)


def _created(model: ResolvedModel) -> int:
    try:
        return int(datetime.fromisoformat(str(model.card.get("created"))).timestamp())
    except ValueError:
        return 0
