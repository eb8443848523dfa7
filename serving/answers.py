"""Answers in OpenAI's shapes, with an ``atelier`` object beside them: seeds, digests, licence and obligations."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict

from atelier import AtelierError
from serving.engine import Drawn, Preview
from serving.errors import RequestRefused
from serving.marking import Marking, PictureRecord
from serving.order import Order
from serving.roster import BACKBONE_ID, Roster, ServedModel
from serving.session import Session

logger = logging.getLogger(__name__)

Json = dict[str, Any]


class TokenDetails(BaseModel):
    """Tokens sent: of text (words and marks) and of pictures (patches of 8 px)."""

    image_tokens: int
    text_tokens: int


class Usage(BaseModel):
    """Tokens of one answer."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: TokenDetails


class PictureData(BaseModel):
    """One picture, as base64 of its file."""

    b64_json: str


class ErrorDetail(BaseModel):
    """What went wrong, as OpenAI tells it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ImagesAnswer(BaseModel):
    """The answer to a request without ``stream``."""

    model_config = ConfigDict(extra="forbid")

    created: int
    background: str = "opaque"
    output_format: str
    quality: str
    size: str
    data: list[PictureData]
    usage: Usage
    atelier: Json


def images_answer(order: Order, drawn: Drawn, marking: Marking) -> ImagesAnswer:
    """Encode the pictures and return the whole answer."""
    return ImagesAnswer(
        created=int(time.time()),
        output_format=order.output_format,
        quality=order.quality,
        size=order.size,
        data=[
            PictureData(b64_json=_encoded(order, picture, record, marking))
            for picture, record in zip(drawn.pictures, order.records, strict=True)
        ],
        usage=_usage(order, len(drawn.pictures)),
        atelier=provenance(order.records),
    )


def provenance(records: tuple[PictureRecord, ...]) -> Json:
    """Return the ``atelier`` object: what drew the pictures and what their licence asks. Seeds are strings."""
    first = records[0]
    return {
        "seeds": [str(record.seed) for record in records],
        "task": first.task,
        "num_inference_steps": first.num_inference_steps,
        "num_refinement_steps": first.num_refinement_steps,
        "guidance_scale": first.guidance_scale,
        "model": first.model.identity(),
        "adapter": first.adapter.identity() if first.adapter else None,
        "licence": first.licence,
        "obligations": list(first.obligations),
    }


async def event_lines(prefix: str, session: Session, marking: Marking) -> AsyncIterator[bytes]:
    """Yield server-sent events: ``PREFIX.partial_image`` for each preview, ``PREFIX.completed`` for each picture.

    With several pictures each event's ``atelier.image_index`` says which it belongs to. A fault after the first byte
    is an ``error`` event, as the status has been sent.
    """
    try:
        async for event in session.events():
            if event is None:
                yield b": still drawing\n\n"
            elif isinstance(event, Preview):
                for line in _preview_lines(prefix, session.order, event, marking):
                    yield line
            else:
                for line in _completed_lines(prefix, session.order, event, marking):
                    yield line
    except AtelierError as error:
        yield _line("error", error_body(error))
    except Exception as error:
        logger.exception("a stream ended early")
        yield _line("error", error_body(error))


def error_body(error: Exception) -> Json:
    """Return OpenAI's error object; of a fault of ours it tells no detail."""
    if isinstance(error, RequestRefused):
        return _error(error.message, "invalid_request_error", error.param, error.code)
    return _error("The server failed to draw this; the request may be sent again.", "server_error", None, None)


def status_error(message: str, code: str | None) -> Json:
    """Return OpenAI's error object for a state of the server rather than a fault of the request."""
    return _error(message, "server_error", None, code)


def model_entry(model: ServedModel) -> Json:
    """Return one entry of ``GET /v1/models``."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "atelier",
        "atelier": {
            "kind": "backbone" if model.id == BACKBONE_ID else "brand",
            "artifact": model.artifact.identity(),
            "backbone": model.backbone.identity(),
            "obligations": list(model.artifact.obligations),
            "sizes": [f"{side_px}x{side_px}" for side_px in model.pipeline.sizes],
            "styles": list(model.pipeline.styles),
            "tasks": list(model.pipeline.tasks),
        },
    }


def model_list(roster: Roster) -> Json:
    """Return ``GET /v1/models``: the served models, and those that did not load with the reason."""
    refused = [{"id": name, "reason": reason} for name, reason in roster.refused.items()]
    return {
        "object": "list",
        "data": [model_entry(model) for model in roster.models.values()],
        "atelier": {"refused": refused},
    }


def _preview_lines(prefix: str, order: Order, preview: Preview, marking: Marking) -> list[bytes]:
    lines = []
    for place, picture in enumerate(preview.pictures):
        record = replace(order.records[place], preview=True)
        about = {"image_index": place, "step": preview.step, "num_steps": preview.num_steps}
        fields = _event_fields(order, picture, record, marking)
        fields |= {"partial_image_index": preview.index, "atelier": about}
        lines.append(_line(f"{prefix}.partial_image", fields))
    return lines


def _completed_lines(prefix: str, order: Order, drawn: Drawn, marking: Marking) -> list[bytes]:
    lines = []
    for place, picture in enumerate(drawn.pictures):
        record = order.records[place]
        fields = _event_fields(order, picture, record, marking)
        fields |= {"usage": _usage(order, 1).model_dump(), "atelier": provenance((record,)) | {"image_index": place}}
        lines.append(_line(f"{prefix}.completed", fields))
    return lines


def _event_fields(order: Order, picture: Image, record: PictureRecord, marking: Marking) -> Json:
    return {
        "b64_json": _encoded(order, picture, record, marking),
        "background": "opaque",
        "created_at": int(time.time()),
        "output_format": order.output_format,
        "quality": order.quality,
        "size": order.size,
    }


def _encoded(order: Order, picture: Image, record: PictureRecord, marking: Marking) -> str:
    content = marking(picture, record, output_format=order.output_format, compression=order.compression)
    return base64.b64encode(content).decode()


def _line(event: str, fields: Mapping[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps({'type': event, **fields})}\n\n".encode()


def _usage(order: Order, pictures: int) -> Usage:
    sent, drawn = order.text_tokens + order.image_tokens, order.picture_tokens * pictures
    return Usage(
        input_tokens=sent,
        output_tokens=drawn,
        total_tokens=sent + drawn,
        input_tokens_details=TokenDetails(image_tokens=order.image_tokens, text_tokens=order.text_tokens),
    )


def _error(message: str, kind: str, param: str | None, code: str | None) -> Json:
    return {"error": {"message": _speakable(message), "type": kind, "param": _speakable(param), "code": code}}


def _speakable(text: str | None) -> str | None:
    """Half a character in a field's name or value has no UTF-8 form; an error that quotes it still needs one."""
    return None if text is None else text.encode(errors="replace").decode()
