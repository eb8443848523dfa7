"""The HTTP application: OpenAI's Images API, the models' list, health, metrics and one web page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from serving.answers import (
    ErrorAnswer,
    ImagesAnswer,
    error_body,
    event_lines,
    images_answer,
    model_entry,
    model_list,
    status_error,
)
from serving.catalogue import Catalogue
from serving.engine import Engine
from serving.errors import EngineStopped, QueueFull, RequestRefused
from serving.fields import EditFields, GenerationFields, checked, refusal, unknown_field
from serving.marking import Marking, MetadataMarking
from serving.metrics import CONTENT_TYPE, Metrics
from serving.middleware import BodyLimit, RequestLog
from serving.order import Offer, Order, order_edit, order_generation
from serving.page import page_headers, page_html
from serving.pictures import read_mask, read_picture
from serving.session import ClientGone, EventStream, Session
from serving.settings import Limits, QualitySteps

CLIENT_GONE_STATUS = 499
_FILE_FIELDS = {"image", "image[]", "mask"}
_FORM_FILES, _FORM_FIELDS = 4, 64
_EVENTS = "With stream: PREFIX.partial_image for each preview, PREFIX.completed for each picture, error for a fault."
_OTHER_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string", "description": _EVENTS}}}},
    400: {"model": ErrorAnswer, "description": "A field is at fault"},
    404: {"model": ErrorAnswer, "description": "No such model or brand"},
    413: {"model": ErrorAnswer, "description": "The body is too large"},
    503: {"model": ErrorAnswer, "description": "The queue is full; Retry-After says when to come back"},
}


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Everything the routes work with."""

    engine: Engine
    catalogue: Catalogue
    metrics: Metrics
    limits: Limits = field(default_factory=Limits)
    quality: QualitySteps = field(default_factory=QualitySteps)
    marking: Marking = field(default_factory=MetadataMarking)

    def offer(self) -> Offer:
        """What is served at this moment; one request sees one offer."""
        return Offer(roster=self.catalogue.roster, limits=self.limits, quality=self.quality)


def create_app(studio: Studio) -> FastAPI:
    """Return the application. The engine is running and the catalogue loaded; both are stopped at shutdown."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(studio.catalogue.close)
        await asyncio.to_thread(studio.engine.stop)

    # The interactive documentation would load scripts from elsewhere; /openapi.json is there for any tool.
    app = FastAPI(
        title="Atelier", summary="Draws icons and illustrations", docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_middleware(BodyLimit, limit_bytes=studio.limits.body_bytes)
    app.add_middleware(RequestLog, metrics=studio.metrics)
    _answer_errors(app)
    _add_pictures(app, studio)
    _add_models(app, studio)
    _add_operations(app, studio)
    return app


def _add_pictures(app: FastAPI, studio: Studio) -> None:
    @app.post("/v1/images/generations", response_model=ImagesAnswer, responses=_OTHER_ANSWERS, tags=["pictures"])
    async def generate(fields: GenerationFields, request: Request) -> Response:
        """Draw pictures from a prompt."""
        return await _answer(studio, order_generation(fields, studio.offer()), "image_generation", request)

    @app.post(
        "/v1/images/edits",
        response_model=ImagesAnswer,
        responses=_OTHER_ANSWERS,
        tags=["pictures"],
        openapi_extra=_edit_schema(),
    )
    async def edit(request: Request) -> Response:
        """Draw a picture anew: in part by a mask, as a whole, larger, wider, or in another style."""
        async with request.form(max_files=_FORM_FILES, max_fields=_FORM_FIELDS) as form:
            order = await _edit_order(form, studio)
        return await _answer(studio, order, "image_edit", request)


def _add_models(app: FastAPI, studio: Studio) -> None:
    @app.get("/v1/models", tags=["models"])
    async def models() -> dict[str, Any]:
        """List the backbone and the brands that are served."""
        return model_list(studio.catalogue.roster)

    @app.get("/v1/models/{model}", tags=["models"])
    async def model(model: str) -> dict[str, Any]:
        """Describe one served model."""
        return model_entry(studio.catalogue.roster.find(model))


def _add_operations(app: FastAPI, studio: Studio) -> None:
    html, headers = page_html(), page_headers()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(html, headers=headers)

    @app.get("/healthz", tags=["operations"])
    async def healthz() -> dict[str, str]:
        """Answer as long as the process does."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> Response:
        """Answer 200 while requests are taken, else 503."""
        ready = studio.engine.alive and bool(studio.catalogue.roster.models)
        content = {"status": "ready" if ready else "not ready", "models": list(studio.catalogue.roster.models)}
        return JSONResponse(content, 200 if ready else 503)

    @app.get("/metrics", tags=["operations"])
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(studio.metrics.page(), media_type=CONTENT_TYPE)


async def _answer(studio: Studio, order: Order, prefix: str, request: Request) -> Response:
    session = Session(studio.engine, order, studio.metrics)
    if order.stream:
        return EventStream(event_lines(prefix, session, studio.marking), session)
    try:
        drawn = await session.drawn(request)
    except ClientGone:
        return Response(status_code=CLIENT_GONE_STATUS)
    answer = await asyncio.to_thread(images_answer, order, drawn, studio.marking)
    return JSONResponse(answer.model_dump())


async def _edit_order(form: FormData, studio: Studio) -> Order:
    fields = _edit_fields(form)
    side_limit_px = studio.limits.picture_side_px
    image = await asyncio.to_thread(
        read_picture, await _file(form, "image"), param="image", side_limit_px=side_limit_px
    )
    mask = None
    if "mask" in form:
        mask = await asyncio.to_thread(
            read_mask,
            await _file(form, "mask"),
            param="mask",
            side_limit_px=side_limit_px,
            convention=fields.mask_convention,
        )
    return order_edit(fields, studio.offer(), image=image, mask=mask)


def _edit_fields(form: FormData) -> EditFields:
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name in _FILE_FIELDS:
            continue
        if isinstance(value, UploadFile):
            raise unknown_field(name, EditFields)
        if name in texts:
            raise RequestRefused(f"'{name[:60]}' is given twice: give it once.", param=name[:60])
        texts[name] = value
    return checked(EditFields, texts)


async def _file(form: FormData, name: str) -> bytes:
    parts = [*form.getlist(name), *form.getlist(f"{name}[]")]
    if not parts:
        raise RequestRefused(
            f"Missing required parameter: '{name}'. Send it as a file part of multipart/form-data.",
            param=name,
            code="missing_required_parameter",
        )
    if len(parts) > 1:
        raise RequestRefused(f"'{name}' is given {len(parts)} times: one picture is edited at a time.", param=name)
    if not isinstance(parts[0], UploadFile):
        raise RequestRefused(f"'{name}' is text: send a file part of multipart/form-data.", param=name)
    return await parts[0].read()


def _edit_schema() -> dict[str, Any]:
    schema = EditFields.model_json_schema()
    schema["properties"] |= {name: {"type": "string", "format": "binary"} for name in ("image", "mask")}
    schema["required"] = ["image", "prompt"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _answer_errors(app: FastAPI) -> None:
    """Every error leaves in OpenAI's shape, none with a traceback."""

    @app.exception_handler(RequestRefused)
    async def refused(_: Request, error: RequestRefused) -> Response:
        return JSONResponse(error_body(error), error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse(error_body(refusal(error.errors(), GenerationFields)), 400)

    @app.exception_handler(QueueFull)
    async def full(_: Request, error: QueueFull) -> Response:
        headers = {"Retry-After": str(error.retry_seconds)}
        return JSONResponse(status_error(f"Too many requests wait: {error}.", "queue_full"), 503, headers)

    @app.exception_handler(EngineStopped)
    async def stopped(_: Request, error: EngineStopped) -> Response:
        return JSONResponse(status_error(f"Not drawn: {error}.", "shutting_down"), 503, {"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        refused = RequestRefused(str(error.detail), code=_HTTP_CODES.get(error.status_code), status=error.status_code)
        return JSONResponse(error_body(refused), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse(error_body(error), 500)


_HTTP_CODES = {400: "invalid_body", 404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}
