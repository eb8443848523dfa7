"""A real server on a free port in a thread, with tiny random models or with a pipeline that waits for its cue."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from openai import OpenAI
from PIL import Image

from registry.artifacts import digest_folder
from registry.mlflow import ModelStore
from serving.app import Studio
from serving.roster import Loader
from serving.server import bind, http_server, open_studio, pipeline_loader, url_of
from serving.settings import ServeSettings
from synthesis.request import PictureRequest
from synthesis.tasks import TASKS
from synthesis.testing import make_tiny_brand, make_tiny_pipeline


@dataclass(frozen=True)
class Folders:
    """Tiny random models: a backbone, two brands on it, and an adapter whose weights are cut short."""

    base: Path
    openmoji: Path
    acme: Path
    broken: Path


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    studio: Studio
    client: OpenAI


@dataclass(frozen=True)
class CuedProgress:
    step: int
    num_steps: int
    count: int

    @property
    def final(self) -> bool:
        return self.step == self.num_steps

    def pictures(self) -> list[Image.Image]:
        return [Image.new("RGB", (64, 64), (200, 10 * self.step % 256, 0))] * self.count


class CuedPipeline:
    """Takes a step only when cued, and notes every step and every end: what a test needs to know about turns."""

    picture_px = 64
    sizes = (64,)
    styles = ("noto", "twemoji")
    tasks = tuple(TASKS)
    own_steps = None
    own_guidance = None

    def __init__(self) -> None:
        self.cue = threading.Semaphore(0)
        self.steps: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self.loaded: list[str] = []

    @property
    def brands(self) -> tuple[str, ...]:
        return tuple(self.loaded)

    def load_brand(self, folder: Path, name: str) -> None:
        self.loaded.append(name)

    def stream(self, request: PictureRequest) -> Iterator[Any]:
        return self._stream(request)

    def _stream(self, request: PictureRequest) -> Iterator[CuedProgress]:
        prompt, num_steps = request.prompts[0], request.num_inference_steps or 0
        try:
            for step in range(1, num_steps + 1):
                self.cue.acquire()
                self.steps.append((prompt, step))
                if "explode" in prompt:
                    raise RuntimeError("the secret inside")
                yield CuedProgress(step, num_steps, len(request.prompts))
        finally:
            self.ended.append(prompt)

    def give(self, cues: int) -> None:
        self.cue.release(cues)


Serve = Callable[..., AbstractContextManager[Running]]


@contextmanager
def running(settings: ServeSettings, store: ModelStore | None, loader: Loader) -> Iterator[Running]:
    with bind(settings.host, settings.port) as listener, open_studio(settings, store, loader) as studio:
        server = http_server(studio, settings)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        url = url_of(listener)
        try:
            with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
                yield Running(url, studio, client)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server does not stop"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


@pytest.fixture(name="wait_until", scope="session")
def _wait_until() -> Callable[..., bool]:
    return wait_until


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    torch.set_num_threads(1)  # so tiny a network is only slowed by more
    root = tmp_path_factory.mktemp("models")
    base = make_tiny_pipeline(root / "base")
    digest = digest_folder(base)
    brands = {
        name: make_tiny_brand(root / name, base, name, seed=seed, base_digest=digest)
        for seed, name in enumerate(("openmoji", "acme", "broken"))
    }
    weights = brands["broken"] / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return Folders(base, brands["openmoji"], brands["acme"], brands["broken"])


@pytest.fixture(scope="session")
def server(folders: Folders) -> Iterator[Running]:
    """Tiny models behind HTTP: the backbone, two brands, and a third that does not load."""
    brands = {name: str(getattr(folders, name)) for name in ("openmoji", "acme", "broken")}
    settings = ServeSettings(model=str(folders.base), brands=brands, port=0)
    with running(settings, None, pipeline_loader("cpu", warm=True)) as started:
        yield started


@pytest.fixture
def serve(folders: Folders) -> Serve:
    """Start a server of one's own; ``pipeline`` replaces the tiny network."""

    def start(
        pipeline: Any = None, store: ModelStore | None = None, **settings: Any
    ) -> AbstractContextManager[Running]:
        chosen = ServeSettings(**{"model": str(folders.base), "brands": {}, "port": 0, **settings})
        loader = pipeline_loader("cpu") if pipeline is None else lambda folder: pipeline
        return running(chosen, store, loader)

    return start


@pytest.fixture
def cued() -> CuedPipeline:
    return CuedPipeline()


@pytest.fixture
def new_cued() -> type[CuedPipeline]:
    return CuedPipeline


@pytest.fixture(scope="session")
def rewrite_card() -> Callable[..., None]:
    """Change fields of an artifact's card."""

    def rewrite(folder: Path, **fields: Any) -> None:
        path = folder / "atelier.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return rewrite
