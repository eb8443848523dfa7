"""One thread owns the network; requests take turns on it, one denoising step at a time.

torch modules and diffusion schedulers are not safe to share between threads, so nothing else may call a pipeline.
A request is an iterator of steps: dropping it is how it is cancelled, which frees the network within one step.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from PIL.Image import Image

from atelier import AtelierError
from serving.errors import EngineStopped, QueueFull
from serving.metrics import Metrics
from serving.settings import EngineSettings
from synthesis.request import PictureRequest

if TYPE_CHECKING:
    from synthesis.pipeline import Progress

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Painter(Protocol):
    """What the engine needs of a pipeline: an iterator with one item a denoising step."""

    def stream(self, request: PictureRequest) -> Iterator[Progress]: ...


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The clean-picture estimate at one step; ``index`` counts previews from 0."""

    index: int
    step: int
    num_steps: int
    pictures: tuple[Image, ...]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The finished pictures, in the order of the request's prompts."""

    pictures: tuple[Image, ...]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The request ended without a picture, for this reason."""

    error: Exception


Event = Preview | Drawn | Failed
Sink = Callable[[Event], None]


class Job:
    """One request on its way through the engine. ``cancel`` may be called from any thread, any number of times."""

    def __init__(self, painter: Painter, request: PictureRequest, preview_count: int, sink: Sink) -> None:
        self.painter = painter
        self.request = request
        self.preview_count = preview_count
        self.sink = sink
        self.submitted_at = time.monotonic()
        self.steps_done = 0
        self.previews_sent = 0
        self.iterator: Iterator[Progress] | None = None
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the engine to drop this job before its next step."""
        self._cancelled.set()


def preview_steps(count: int, num_steps: int) -> list[int]:
    """Return up to ``count`` step numbers, evenly spread strictly before the last of ``num_steps``."""
    wanted = (round(place * num_steps / (count + 1)) for place in range(1, count + 1))
    return sorted({step for step in wanted if 1 <= step < num_steps})


class Engine:
    """Draws requests round-robin, one step each, in a thread of its own."""

    def __init__(self, settings: EngineSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: deque[Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._job_seconds = 1.0
        self._thread = threading.Thread(target=self._work, name="atelier-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether requests are being taken."""
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Start the thread; called once."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Drop what is left, tell its owners, and wait for the thread. Stopping twice is fine."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def submit(self, painter: Painter, request: PictureRequest, *, sink: Sink, preview_count: int = 0) -> Job:
        """Put a request in the queue. ``sink`` is called from the engine's thread and must not block.

        Raises QueueFull when no place is left and EngineStopped when the server is shutting down.
        """
        job = Job(painter, request, preview_count, sink)
        with self._changed:
            if self._stopping:
                raise EngineStopped("the server is shutting down")
            self._forget_cancelled()
            taken = len(self._waiting) + len(self._running)
            if taken >= self._settings.running_limit + self._settings.waiting_limit:
                raise QueueFull(max(1, math.ceil(self._job_seconds * taken / self._settings.running_limit)))
            self._waiting.append(job)
            self._metrics.waiting.set(len(self._waiting))
            self._changed.notify_all()
        return job

    def call(self, task: Callable[[], Result]) -> Future[Result]:
        """Run a function in the engine's thread between two steps: loading a model, for instance."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the result
                future.set_exception(error)

        with self._changed:
            if self._stopping:
                raise EngineStopped("the server is shutting down")
            self._calls.append(run)
            self._changed.notify_all()
        return future

    def _forget_cancelled(self) -> None:
        if any(job.cancelled for job in self._waiting):
            kept = [job for job in self._waiting if not job.cancelled]
            self._metrics.jobs.labels("cancelled").inc(len(self._waiting) - len(kept))
            self._waiting = deque(kept)

    def _work(self) -> None:
        while self._next_turn():
            if self._running:
                # The job in hand stays in the deque, so that submit counts it.
                if self._advance(self._running[0]):
                    self._running.rotate(-1)
                else:
                    self._running.popleft()
                    self._metrics.running.set(len(self._running))
        for job in [*self._running, *self._waiting]:
            self._close(job, "stopped")
            self._tell(job, Failed(error=EngineStopped("the server is shutting down")))

    def _next_turn(self) -> bool:
        """Wait for work, run the calls that are due and admit waiting jobs; False when stopping."""
        with self._changed:
            while not (self._stopping or self._waiting or self._running or self._calls):
                self._changed.wait()
            calls = list(self._calls)
            self._calls.clear()
            self._forget_cancelled()
            while self._waiting and len(self._running) < self._settings.running_limit:
                self._running.append(self._waiting.popleft())
            self._metrics.waiting.set(len(self._waiting))
            self._metrics.running.set(len(self._running))
            stopping = self._stopping
        for call in calls:
            call()
        return not stopping

    def _advance(self, job: Job) -> bool:
        """Draw one step of a job; False when it is done, failed or cancelled."""
        if job.cancelled:
            return self._close(job, "cancelled")
        started = time.monotonic()
        try:
            if job.iterator is None:
                self._metrics.queue_wait_seconds.observe(started - job.submitted_at)
                job.iterator = iter(job.painter.stream(job.request))
            event = self._event(job, next(job.iterator))
        except AtelierError as error:
            return self._fail(job, error)
        except Exception as error:
            logger.exception("drawing failed")
            return self._fail(job, error)
        self._metrics.step_seconds.observe(time.monotonic() - started)
        job.steps_done += 1
        if event is not None:
            self._tell(job, event)
        return self._close(job, "drawn") if isinstance(event, Drawn) else True

    def _event(self, job: Job, progress: Progress) -> Event | None:
        if progress.final:
            self._job_seconds += 0.2 * (time.monotonic() - job.submitted_at - self._job_seconds)
            return Drawn(pictures=tuple(progress.pictures()))
        steps = preview_steps(job.preview_count, progress.num_steps)
        if job.previews_sent >= len(steps) or progress.step < steps[job.previews_sent]:
            return None
        job.previews_sent += 1
        return Preview(
            index=job.previews_sent - 1,
            step=progress.step,
            num_steps=progress.num_steps,
            pictures=tuple(progress.pictures()),
        )

    def _tell(self, job: Job, event: Event) -> None:
        try:
            job.sink(event)
        except RuntimeError:  # the listener's event loop has closed: nobody is left to draw for
            job.cancel()

    def _fail(self, job: Job, error: Exception) -> bool:
        self._tell(job, Failed(error=error))
        return self._close(job, "failed")

    def _close(self, job: Job, outcome: str) -> bool:
        self._metrics.jobs.labels(outcome).inc()
        if isinstance(job.iterator, Generator):
            job.iterator.close()
        job.iterator = None
        return False
