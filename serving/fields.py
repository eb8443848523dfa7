"""The fields of a request, as OpenAI's Images API names them, and Atelier's own beside them.

Unknown fields are refused by name: a misspelt ``guidence_scale`` that is silently ignored costs an afternoon.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from serving.errors import RequestRefused

SEED_LIMIT = 2**63

# OpenAI's fields that mean nothing here yet: refused by name, not by a guess at a typing error.
NOT_OFFERED = frozenset(
    {"complexity", "frame_count", "frame_duration_ms", "input_fidelity", "markup", "moderation", "svg"}
)


def _read_seed(value: object) -> object:
    """Accept a seed as a number or as digits: JSON numbers above 2^53 lose their end in JavaScript."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _whole_characters(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("should be text of whole Unicode characters") from None
    return value


Text = Annotated[str, AfterValidator(_whole_characters)]
Seed = Annotated[
    int,
    BeforeValidator(_read_seed),
    Field(ge=0, lt=SEED_LIMIT),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+$"}]}),
]


class PictureFields(BaseModel):
    """What generations and edits have in common. A null stands for the default."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    prompt: Text = Field(description="What to draw.")
    model: str = Field("atelier", description="'atelier', or a brand's name to draw in that brand.")
    n: int = Field(1, ge=1, le=10, description="Pictures to draw, each from the next seed.")
    size: str = Field("auto", description="'auto' for the network's native size, or one of those that it draws.")
    quality: Literal["auto", "low", "medium", "high"] = Field(
        "auto", description="Sets the number of steps, unless the model was distilled for a number of its own."
    )
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png", "webp", "jpeg"] = "png"
    output_compression: int = Field(100, ge=0, le=100, description="Quality of webp and jpeg; webp at 100 is lossless.")
    background: Literal["auto", "opaque"] = "auto"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3, description="Previews to send before the final picture.")
    user: str | None = Field(None, max_length=512)
    safety_identifier: str | None = Field(None, max_length=512)
    seed: Seed | None = Field(None, description="Atelier: the first picture's seed; equal seeds draw equal pictures.")
    num_inference_steps: int | None = Field(None, ge=1, description="Atelier: denoising steps, instead of quality.")
    num_refinement_steps: int | None = Field(
        None,
        ge=0,
        description="Atelier: further steps of a picture larger than the native size; 0 draws it so large at once.",
    )
    guidance_scale: float | None = Field(
        None, ge=0, le=30, allow_inf_nan=False, description="Atelier: pull of the prompt; by default the model's own."
    )
    style: str | None = Field(None, description="Atelier: one of the network's own styles.")
    brand: str | None = Field(None, description="Atelier: a brand's name, as model=NAME does.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: value for key, value in values.items() if value is not None}
        return values


class GenerationFields(PictureFields):
    """The JSON body of ``POST /v1/images/generations``."""


class EditFields(PictureFields):
    """The text parts of the multipart body of ``POST /v1/images/edits``; every value arrives as text."""

    model_config = ConfigDict(extra="forbid", strict=False, protected_namespaces=())

    task: str | None = Field(None, description="Atelier: inpainting when a mask is given, else image_to_image.")
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Atelier: how far image_to_image and style_transfer go from the source.",
    )
    mask_convention: Literal["auto", "alpha", "white"] = Field(
        "auto",
        description="Atelier: what the mask draws anew: transparent areas, white ones, or whichever there are.",
    )


Fields = TypeVar("Fields", bound=PictureFields)


def checked(fields: type[Fields], values: Mapping[str, Any]) -> Fields:
    """Return the fields made from ``values``. Raises RequestRefused with the one at fault."""
    try:
        return fields.model_validate(values)
    except ValidationError as error:
        raise refusal([dict(fault) for fault in error.errors()], fields) from error


def refusal(errors: Iterable[Mapping[str, Any]], fields: type[PictureFields]) -> RequestRefused:
    """Turn pydantic's list of faults into the one that helps most, in OpenAI's words."""
    fault = min(errors, key=lambda error: error["type"] not in ("extra_forbidden", "json_invalid"))
    place = [str(part) for part in fault["loc"] if part != "body"]
    param = place[0] if place else None
    kind = fault["type"]
    if kind in ("json_invalid", "model_attributes_type", "model_type", "dict_type") or param is None:
        return RequestRefused(
            "The body is not a JSON object: send the fields as application/json.", code="invalid_json"
        )
    if kind == "extra_forbidden":
        return unknown_field(param, fields)
    if kind == "missing":
        return RequestRefused(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    given = repr(fault.get("input"))
    given = given if len(given) <= 60 else f"{given[:57]}…"
    return RequestRefused(f"Invalid value for '{param}': {given}. {_sentence(fault)}{_advice(param)}", param=param)


def unknown_field(name: str, fields: type[PictureFields]) -> RequestRefused:
    """Return the refusal of a field that this route does not have, with the closest one that it has."""
    known = [*fields.model_fields, *(["image", "mask"] if fields is EditFields else [])]
    close = difflib.get_close_matches(name, known, n=1)
    if name in NOT_OFFERED:
        hint = "OpenAI has it, Atelier does not offer it: leave it out."
    elif name in {*EditFields.model_fields, "image", "mask"} - set(known):
        hint = "It belongs to /v1/images/edits."
    else:
        hint = f"Did you mean '{close[0]}'?" if close else f"The fields are {', '.join(known)}."
    return RequestRefused(f"Unknown parameter: '{name[:60]}'. {hint}", param=name[:60], code="unknown_parameter")


def _sentence(fault: Mapping[str, Any]) -> str:
    message = str(fault["msg"])
    return f"{message[:1].upper()}{message[1:]}."


def _advice(param: str) -> str:
    if param == "response_format":
        return " Pictures are returned in the answer; nothing is kept to link to."
    if param == "background":
        return " The network draws on an opaque ground."
    return ""
