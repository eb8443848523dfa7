"""What every request passes: a limit on its body, a request id, security headers, a log line and its figures."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.settings import MEBIBYTE

logger = logging.getLogger("serving.requests")


class BodyTooLarge(HTTPException):
    """The body is over the limit; the rest of it is not read."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(413, f"The request is larger than {limit_bytes / MEBIBYTE:.3g} MB: send smaller pictures.")


class BodyLimit:
    """Refuses a body by its announced length, and stops reading one that grows past the limit."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        seen_bytes = int(announced) if announced.isdigit() else 0
        over = seen_bytes > self._limit_bytes
        seen_bytes = 0

        async def limited() -> Message:
            nonlocal seen_bytes
            if over:
                raise BodyTooLarge(self._limit_bytes)
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._limit_bytes:
                raise BodyTooLarge(self._limit_bytes)
            return message

        await self._app(scope, limited, send)


class RequestLog:
    """Gives each request an id and counts it under its route's pattern, so that paths cannot flood the figures."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = time.monotonic()
        status = 499  # stays when the customer left before an answer began

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, time.monotonic() - started, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        logger.info("%s %s %s %.3f s %s", scope["method"], route, status, seconds, request_id)
