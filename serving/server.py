"""Starting and stopping the server: the port first, then the models, then the first request."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from registry.artifacts import read_card
from registry.mlflow import ModelStore
from serving.app import Studio, create_app
from serving.catalogue import Catalogue
from serving.engine import Engine
from serving.errors import ServingError
from serving.metrics import Metrics
from serving.roster import Loader, Pipeline
from serving.settings import ServeSettings
from synthesis.request import PictureRequest

logger = logging.getLogger(__name__)

_BACKLOG = 128
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ServingError that says what to do instead."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ServingError(f"host={host} is not an address of this machine: use 127.0.0.1 or 0.0.0.0") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServingError(_why_not(host, port, error)) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address to type into a browser."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def pipeline_loader(device: str, *, warm: bool = False) -> Loader:
    """Return what loads a backbone's folder onto a device; ``warm`` draws a step, so that no customer waits for it."""

    def load(folder: Path) -> Pipeline:
        _refuse_missing_device(device)
        pipeline = _loaded(folder, device)
        if warm and "text_to_image" in pipeline.tasks:
            *_, _ = pipeline.stream(PictureRequest(prompts=("circle",), seeds=(0,), num_inference_steps=1))
        return pipeline

    return load


def _loaded(folder: Path, device: str) -> Pipeline:
    """The project's own pipeline, or that of a widened model where the folder's card says so."""
    told = read_card(folder).get("pretrained")
    if told is None:
        from synthesis.pipeline import MultiTaskPipeline

        return MultiTaskPipeline.load(folder, device=device)
    from synthesis.pretrained.pipeline import PretrainedPipeline

    learnt = {name: told[name] for name in ("tasks", "side_px") if name in told}
    return PretrainedPipeline.load(folder, device=device, **learnt)


def _refuse_missing_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ServingError(f"device={device} is not there on this machine: use cpu, or cuda with a GPU") from error


@contextmanager
def open_studio(settings: ServeSettings, store: ModelStore | None, loader: Loader) -> Iterator[Studio]:
    """Start the engine and load the models; on the way out both are stopped. Raises AtelierError without a backbone."""
    metrics = Metrics()
    engine = Engine(settings.engine, metrics)
    catalogue = Catalogue(
        backbone=settings.model, brands=settings.brands, store=store, loader=loader, engine=engine, metrics=metrics
    )
    engine.start()
    try:
        catalogue.refresh()
        catalogue.watch(settings.poll_seconds)
        yield Studio(
            engine=engine, catalogue=catalogue, metrics=metrics, limits=settings.limits, quality=settings.quality
        )
    finally:
        catalogue.close()
        engine.stop()


def http_server(studio: Studio, settings: ServeSettings) -> uvicorn.Server:
    """Return a uvicorn server of the application; requests under way get ``shutdown_seconds`` to finish."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(studio),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
    )


def serve(settings: ServeSettings, store: ModelStore | None) -> None:
    """Serve until interrupted or terminated. Prints the address once requests are taken."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if settings.host not in _LOOPBACK:
        logger.warning("there is no login: whoever reaches %s may draw", settings.host)
    with bind(settings.host, settings.port) as listener:
        with open_studio(settings, store, pipeline_loader(settings.device, warm=True)) as studio:
            names = ", ".join(studio.catalogue.roster.models)
            print(f"Atelier serves at {url_of(listener)} ({names}); Ctrl-C stops it", flush=True)
            # uvicorn raises the interrupt again after it has shut down; stopping a server is no failure.
            with suppress(KeyboardInterrupt):
                http_server(studio, settings).run(sockets=[listener])
        print("Atelier has stopped serving", flush=True)


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or pass port=0 for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs rights that this user lacks: pass a port from 1024 up"
    return f"cannot listen on {host} port {port} ({error.strerror}): pass host=127.0.0.1 and port=0"
