"""Drawing one picture in this process, with the classes the server uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from atelier import PROJECT_ROOT
from evaluation.files import write_whole
from registry.mlflow import ModelStore
from registry.resolve import ResolvedModel, resolve_model
from serving.catalogue import BRAND_PREFIX, CHAMPION, champion_brands
from serving.errors import ServingError
from serving.fields import EditFields, GenerationFields, checked
from serving.marking import MetadataMarking, PictureRecord
from serving.order import Offer, Order, order_edit, order_generation
from serving.pictures import read_mask, read_picture
from serving.roster import BACKBONE_ID, Loader, Roster, load_roster
from serving.settings import Limits

SHIPPED_BACKBONE = PROJECT_ROOT / "assets" / "backbone"
_SUFFIXES = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """What ``atelier generate`` draws, read from conf/generate.yaml; None stands for the default."""

    prompt: str
    out: str
    model: str | None = None
    brand: str | None = None
    task: str | None = None
    source: str | None = None
    mask: str | None = None
    mask_convention: str | None = None
    style: str | None = None
    size: int | str | None = None
    seed: int = 0
    quality: str | None = None
    num_inference_steps: int | None = None
    num_refinement_steps: int | None = None
    guidance_scale: float | None = None
    strength: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._check_out()
        for name in ("source", "mask"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise ServingError(f"{name}={path} is no file: name a PNG, WebP or JPEG picture")
        if self.source is None:
            self._check_without_source()

    def _check_out(self) -> None:
        if Path(self.out).suffix.lower() not in _SUFFIXES:
            raise ServingError(f"out={self.out} must end in {', '.join(_SUFFIXES)}: the ending chooses the format")
        if Path(self.out).is_dir():
            raise ServingError(f"out={self.out} is a folder: name a file in it")

    def _check_without_source(self) -> None:
        if self.mask is not None or self.task not in (None, "text_to_image"):
            raise ServingError(f"{'mask' if self.mask else f'task={self.task}'} needs a picture: pass source=FILE")
        if self.strength is not None:
            raise ServingError(f"strength={self.strength} needs a picture to redraw: pass source=FILE, or leave it out")

    @property
    def output_format(self) -> str:
        """The format that the ending of ``out`` names."""
        return _SUFFIXES[Path(self.out).suffix.lower()]


def choose_models(settings: DrawSettings, store: ModelStore) -> tuple[ResolvedModel, ResolvedModel | None, str | None]:
    """Return the backbone, the brand's adapter if one is asked for, and a remark on where the backbone came from."""
    if settings.brand is not None:
        brand = _brand(settings.brand, store)
        _refuse_other_base(settings, brand, store)
        return _base_of(brand), brand, None
    reference, remark = (settings.model, None) if settings.model else _default_backbone(store)
    model = resolve_model(reference, store)
    if model.card["kind"] == "adapter":
        return _base_of(model), model, None
    return model, None, remark


def draw(
    settings: DrawSettings,
    models: tuple[ResolvedModel, ResolvedModel | None],
    loader: Loader,
    on_step: Callable[[int, int], None],
) -> PictureRecord:
    """Draw the picture, write it to ``settings.out`` in one rename, and return its record.

    ``on_step`` is told (steps done, steps in all). Raises AtelierError; then nothing has been written.
    """
    backbone, brand = models
    name = str(brand.card.get("brand") or brand.card["name"]) if brand else BACKBONE_ID
    roster = load_roster(backbone, {name: brand} if brand else {}, loader, Roster())
    if name not in roster.models:
        raise ServingError(roster.refused[name])
    order = _order(settings, name, Offer(roster=roster))
    picture = _draw(order, on_step)
    content = MetadataMarking()(
        picture, order.records[0], output_format=order.output_format, compression=order.compression
    )
    write_whole(Path(settings.out), content)
    return order.records[0]


def _draw(order: Order, on_step: Callable[[int, int], None]) -> Image:
    for progress in order.served.pipeline.stream(order.request):
        on_step(progress.step, progress.num_steps)
        if progress.final:
            return progress.pictures()[0]
    raise ServingError("the pipeline ended without a picture")


def _order(settings: DrawSettings, model: str, offer: Offer) -> Order:
    wanted: dict[str, Any] = {
        "model": model,
        "prompt": settings.prompt,
        "seed": settings.seed,
        "output_format": settings.output_format,
        "output_compression": 95 if settings.output_format == "jpeg" else 100,
        "style": settings.style,
        "size": _size(settings.size),
        "quality": settings.quality,
        "num_inference_steps": settings.num_inference_steps,
        "num_refinement_steps": settings.num_refinement_steps,
        "guidance_scale": settings.guidance_scale,
    }
    if settings.source is None:
        return order_generation(checked(GenerationFields, wanted), offer)
    edit = {"task": settings.task, "strength": settings.strength, "mask_convention": settings.mask_convention}
    fields = checked(EditFields, wanted | edit)
    image = read_picture(Path(settings.source).read_bytes(), param="source", side_limit_px=Limits().picture_side_px)
    return order_edit(fields, offer, image=image, mask=_mask(settings, fields))


def _size(size: int | str | None) -> str | None:
    """A side in px as the API writes it: 256 is 256x256."""
    return f"{size}x{size}" if isinstance(size, int) else size


def _mask(settings: DrawSettings, fields: EditFields) -> Image | None:
    if settings.mask is None:
        return None
    return read_mask(
        Path(settings.mask).read_bytes(),
        param="mask",
        side_limit_px=Limits().picture_side_px,
        convention=fields.mask_convention,
    )


def _brand(name: str, store: ModelStore) -> ResolvedModel:
    brands = champion_brands(store)
    if name in brands:
        return resolve_model(brands[name], store)
    if "/" in name:
        return resolve_model(name, store)
    if f"{BRAND_PREFIX}{name}" in store.names():
        raise ServingError(
            f"brand '{name}' has no champion: promote a version of {BRAND_PREFIX}{name}, or name one by"
            f" model=models:/{BRAND_PREFIX}{name}/VERSION"
        )
    there_are = f"there are {', '.join(brands)}" if brands else "none is promoted yet; atelier onboard makes one"
    raise ServingError(f"no brand '{name[:60]}': {there_are}")


def _refuse_other_base(settings: DrawSettings, brand: ResolvedModel, store: ModelStore) -> None:
    if settings.model is None:
        return
    model = resolve_model(settings.model, store)
    if model.digest not in (_base_of(brand).digest, brand.digest):
        raise ServingError(
            f"brand '{settings.brand}' was made on backbone {_base_of(brand).digest[:12]}, model={settings.model} is"
            f" {model.digest[:12]}: leave model out"
        )


def _base_of(adapter: ResolvedModel) -> ResolvedModel:
    if adapter.base is None:
        raise ServingError(f"{adapter.reference} is a backbone, not a brand's adapter: pass it as model=")
    return adapter.base


def _default_backbone(store: ModelStore) -> tuple[str, str | None]:
    if store.exists() and store.alias_version("backbone", CHAMPION) is not None:
        return f"models:/backbone@{CHAMPION}", None
    if not SHIPPED_BACKBONE.is_dir():
        raise ServingError("no backbone is registered and none ships in assets/backbone: pass model=FOLDER")
    return str(SHIPPED_BACKBONE), "no backbone is registered: drawing with the shipped one, assets/backbone"
