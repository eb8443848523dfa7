"""One request between the event loop, where its customer waits, and the engine's thread, where it is drawn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from atelier import AtelierError
from serving.engine import Drawn, Engine, Event, Failed, Preview
from serving.errors import EngineStopped, RequestRefused
from serving.metrics import Metrics
from serving.order import Order

KEEPALIVE_SECONDS = 10.0


class ClientGone(Exception):  # noqa: N818
    """The customer closed the connection; the job is cancelled and there is nobody to answer."""


class Session:
    """An order in the engine, as an asynchronous iterator of its events. Leaving it cancels what is left to draw."""

    def __init__(self, engine: Engine, order: Order, metrics: Metrics) -> None:
        """Submit the order; raises QueueFull or EngineStopped. Call inside a running event loop."""
        self.order = order
        self._metrics = metrics
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._job = engine.submit(
            order.served.pipeline,
            order.request,
            preview_count=order.preview_count,
            sink=lambda event: _hand_over(loop, self._events, event),
        )

    def cancel(self) -> None:
        """Drop the job before its next step; after the last step this does nothing."""
        self._job.cancel()

    async def events(self) -> AsyncIterator[Preview | Drawn | None]:
        """Yield previews, then the drawn pictures; None every few seconds in which nothing came.

        Raises RequestRefused for a request that the pipeline refused, EngineStopped at shutdown, or the fault itself.
        """
        while True:
            try:
                event = await asyncio.wait_for(self._events.get(), KEEPALIVE_SECONDS)
            except TimeoutError:
                yield None
                continue
            if isinstance(event, Failed):
                raise _reason(event.error) from event.error
            if isinstance(event, Drawn):
                self._metrics.pictures.labels(self.order.served.id, self.order.request.task).inc(len(event.pictures))
            yield event
            if isinstance(event, Drawn):
                return

    async def drawn(self, request: Request) -> Drawn:
        """Wait for the pictures; a customer who hangs up cancels the job and raises ClientGone."""
        waiting = asyncio.create_task(self._last())
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            raise ClientGone
        finally:
            self.cancel()
            waiting.cancel()
            leaving.cancel()

    async def _last(self) -> Drawn:
        async for event in self.events():
            if isinstance(event, Drawn):
                return event
        raise EngineStopped("the server is shutting down")


class EventStream(StreamingResponse):
    """Server-sent events of one session, which ends when the response does, however it does."""

    def __init__(self, content: AsyncIterator[bytes], session: Session) -> None:
        super().__init__(
            content, media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._session.cancel()


def _hand_over(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event], event: Event) -> None:
    loop.call_soon_threadsafe(events.put_nowait, event)


def _reason(error: Exception) -> Exception:
    """A mistake that only the pipeline could see is the customer's to put right; anything else is ours."""
    if isinstance(error, AtelierError) and not isinstance(error, EngineStopped):
        return RequestRefused(str(error))
    return error


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
