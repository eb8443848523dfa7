"""What the server counts, for Prometheus. Each server has its own registry, so that two can live in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters and histograms of one server; every time is in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "atelier_requests", "HTTP requests answered", ["route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "atelier_request_seconds",
            "From the request to the end of its answer",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self.queue_wait_seconds = Histogram(
            "atelier_queue_wait_seconds",
            "From admission to the queue to the first denoising step",
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "atelier_step_seconds", "One denoising step of one request", buckets=_STEP_SECONDS, registry=self.registry
        )
        self.pictures = Counter("atelier_pictures", "Pictures drawn", ["model", "task"], registry=self.registry)
        self.jobs = Counter("atelier_jobs", "Requests that left the engine", ["outcome"], registry=self.registry)
        self.running = Gauge("atelier_jobs_in_flight", "Requests being drawn", registry=self.registry)
        self.waiting = Gauge("atelier_jobs_waiting", "Requests waiting for their turn", registry=self.registry)
        self.model_loads = Counter(
            "atelier_model_loads", "Models loaded or refused", ["model", "outcome"], registry=self.registry
        )

    def page(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
