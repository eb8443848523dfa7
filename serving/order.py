"""From the fields of a request to what the engine draws: checked against the served models, nothing drawn yet."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

from PIL.Image import Image

from atelier import AtelierError
from serving.errors import RequestRefused
from serving.fields import SEED_LIMIT, EditFields, GenerationFields, PictureFields
from serving.marking import PictureRecord, digest_prompt
from serving.roster import Roster, ServedModel
from serving.settings import Limits, QualitySteps
from synthesis.request import DEFAULT_GUIDANCE, DEFAULT_REFINEMENT_STEPS, PictureRequest
from synthesis.tasks import STARTING_TASKS

# A seed of ours stays below 2^53, so that even careless JavaScript reads it back whole.
_OWN_SEED_LIMIT = 2**53
_TOKEN_SIDE_PX = 8
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What this server draws and how much of it: the models, the limits, the meaning of quality."""

    roster: Roster
    limits: Limits = field(default_factory=Limits)
    quality: QualitySteps = field(default_factory=QualitySteps)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One accepted request: who draws it, what exactly, and how the answer is to look."""

    served: ServedModel
    request: PictureRequest
    records: tuple[PictureRecord, ...]  # one a picture
    size: str
    quality: str
    output_format: str
    compression: int
    stream: bool
    preview_count: int
    text_tokens: int
    image_tokens: int  # of the pictures sent
    picture_tokens: int  # of one picture drawn


def order_generation(fields: GenerationFields, offer: Offer) -> Order:
    """Accept a text-to-image request. Raises RequestRefused with the field at fault."""
    return _order(fields, offer, task="text_to_image", images=(), mask=None)


def order_edit(fields: EditFields, offer: Offer, *, image: Image, mask: Image | None) -> Order:
    """Accept an edit of ``image``; ``mask`` is white (255) where drawn anew. Raises RequestRefused."""
    task = fields.task or ("inpainting" if mask else "image_to_image")
    offered = [name for name in _served(fields, offer).pipeline.tasks if name != "text_to_image"]
    if task not in offered:
        raise RequestRefused(
            f"Invalid value for 'task': '{task[:60]}'. There are {', '.join(offered) or 'none'}.", param="task"
        )
    if task in ("inpainting", "outpainting") and mask is None:
        raise RequestRefused(
            f"Missing required parameter: 'mask'. The task {task} draws anew where the mask is transparent, or white.",
            param="mask",
            code="missing_required_parameter",
        )
    if fields.strength is not None and task not in STARTING_TASKS:
        tasks = " and ".join(STARTING_TASKS)
        raise RequestRefused(f"'strength' is for {tasks}: leave it out for {task}.", param="strength")
    if mask and mask.size != image.size:
        raise RequestRefused(
            f"'mask' measures {mask.width}x{mask.height} px and 'image' {image.width}x{image.height} px:"
            " make them equal.",
            param="mask",
        )
    return _order(fields, offer, task=task, images=(image,), mask=mask)


def _order(fields: PictureFields, offer: Offer, *, task: str, images: tuple[Image, ...], mask: Image | None) -> Order:
    served = _served(fields, offer)
    _check(fields, offer, served)
    steps = fields.num_inference_steps or served.pipeline.own_steps or getattr(offer.quality, _quality(fields))
    own_guidance = DEFAULT_GUIDANCE if served.pipeline.own_guidance is None else served.pipeline.own_guidance
    guidance = own_guidance if fields.guidance_scale is None else fields.guidance_scale
    request = _request(fields, served, task=task, images=images, mask=mask, drawn=(steps, guidance))
    side_px = _side_px(fields, served)
    side_tokens = side_px // _TOKEN_SIDE_PX
    return Order(
        served=served,
        request=request,
        records=_records(request, served, steps, guidance),
        size=_size(side_px),
        quality=_quality(fields),
        output_format=fields.output_format,
        compression=fields.output_compression,
        stream=fields.stream,
        preview_count=fields.partial_images if fields.stream else 0,
        text_tokens=len(_WORD.findall(fields.prompt)),
        image_tokens=len(images) * side_tokens**2,
        picture_tokens=side_tokens**2,
    )


def _served(fields: PictureFields, offer: Offer) -> ServedModel:
    model = offer.roster.find(fields.model)
    if fields.brand is None:
        return model
    if model.adapter and fields.brand != fields.model:
        raise RequestRefused(
            f"Invalid value for 'brand': model '{fields.model}' and brand '{fields.brand[:60]}' differ; name one.",
            param="brand",
        )
    brand = offer.roster.find(fields.brand, param="brand")
    if brand.adapter is None:
        raise RequestRefused(f"Invalid value for 'brand': '{fields.brand}' is the backbone, no brand.", param="brand")
    return brand


def _check(fields: PictureFields, offer: Offer, served: ServedModel) -> None:
    limits = offer.limits
    if not fields.prompt.strip():
        raise RequestRefused("'prompt' is empty: say what to draw.", param="prompt", code="empty_prompt")
    if len(fields.prompt) > limits.prompt_characters:
        raise RequestRefused(
            f"'prompt' has {len(fields.prompt)} characters: at most {limits.prompt_characters} are read.",
            param="prompt",
            code="string_above_max_length",
        )
    if fields.n > limits.pictures:
        raise RequestRefused(f"'n' is {fields.n}: this server draws at most {limits.pictures} at once.", param="n")
    for name in ("num_inference_steps", "num_refinement_steps"):
        if (steps := getattr(fields, name)) and steps > limits.steps:
            raise RequestRefused(f"'{name}' is {steps}: at most {limits.steps} are taken.", param=name)
    sizes = ["auto", *map(_size, served.pipeline.sizes)]
    if fields.size not in sizes:
        *most, last = (f"'{size}'" for size in sizes)
        raise RequestRefused(
            f"Invalid value for 'size': '{fields.size[:60]}'. {fields.model} draws {', '.join(most)} and {last}.",
            param="size",
        )
    if fields.style is not None and served.adapter:
        raise RequestRefused(f"'style' is the backbone's: '{served.id}' draws in its own, leave it out.", param="style")
    if fields.style is not None and fields.style not in served.pipeline.styles:
        known = ", ".join(served.pipeline.styles) or "none"
        raise RequestRefused(
            f"Invalid value for 'style': '{fields.style[:60]}'. There are {known}.",
            param="style",
        )


def _request(
    fields: PictureFields,
    served: ServedModel,
    *,
    task: str,
    images: tuple[Image, ...],
    mask: Image | None,
    drawn: tuple[int, float],
) -> PictureRequest:
    steps, guidance = drawn
    first = secrets.randbelow(_OWN_SEED_LIMIT - fields.n) if fields.seed is None else fields.seed
    strength = fields.strength if isinstance(fields, EditFields) else None
    side_px, refinement = _side_px(fields, served), fields.num_refinement_steps
    try:
        return PictureRequest(
            prompts=(fields.prompt,) * fields.n,
            seeds=tuple((first + place) % SEED_LIMIT for place in range(fields.n)),
            task=task,
            style=fields.style,
            brand=served.adapter_name,
            images=images * fields.n,
            masks=(mask,) * fields.n if mask else (),
            num_inference_steps=steps,
            guidance_scale=guidance,
            strength=PictureRequest.strength if strength is None else strength,
            height=side_px,
            width=side_px,
            num_refinement_steps=DEFAULT_REFINEMENT_STEPS if refinement is None else refinement,
        )
    except AtelierError as error:
        raise RequestRefused(str(error)) from error


def _records(request: PictureRequest, served: ServedModel, steps: int, guidance: float) -> tuple[PictureRecord, ...]:
    return tuple(
        PictureRecord(
            seed=seed,
            task=request.task,
            prompt_sha256=digest_prompt(prompt),
            num_inference_steps=steps,
            num_refinement_steps=request.refining_steps(served.pipeline.picture_px),
            guidance_scale=guidance,
            model=served.backbone,
            adapter=served.adapter,
        )
        for prompt, seed in zip(request.prompts, request.seeds, strict=True)
    )


def _quality(fields: PictureFields) -> str:
    return "medium" if fields.quality == "auto" else fields.quality


def _side_px(fields: PictureFields, served: ServedModel) -> int:
    return served.pipeline.picture_px if fields.size == "auto" else int(fields.size.partition("x")[0])


def _size(side_px: int) -> str:
    return f"{side_px}x{side_px}"
