"""``atelier serve`` as a person starts it, and what the application may import."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hydra import compose, initialize_config_dir

from atelier import CONF_FOLDER, PROJECT_ROOT
from serving.errors import ServingError
from serving.serve import read_settings
from serving.server import bind, url_of
from serving.settings import EngineSettings, Limits, QualitySteps, ServeSettings

if TYPE_CHECKING:
    from tests.serving.conftest import Folders, Running

COMMAND = [sys.executable, "-c", "from atelier import main; main()", "serve"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command and wait for the line that names its address."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        try:
            assert "http" in line, process.stderr.read()
            yield process, re.findall(r"http://\S+", line)[0]
        finally:
            process.kill()


def refused(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_from_folders_and_stops_when_told(folders: Folders, tmp_path: Path, stop: signal.Signals) -> None:
    brands = f"brands={{openmoji: {folders.openmoji}}}"
    with started(tmp_path, "port=0", f"model={folders.base}", brands) as (process, url):
        assert httpx.get(f"{url}/readyz").json()["models"] == ["atelier", "openmoji"]
        fields = {"prompt": "a star", "num_inference_steps": 2}
        assert httpx.post(f"{url}/v1/images/generations", json=fields, timeout=60).status_code == 200
        process.send_signal(stop)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "stopped" in output
        assert "POST /v1/images/generations 200" in errors and "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_port_in_use_is_one_line_and_no_model_is_loaded(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        line = refused(tmp_path, f"port={port}", "model=nowhere")
    assert f"port {port} on 127.0.0.1 is in use" in line and "port=0" in line


def test_without_a_champion_it_says_what_exists(tmp_path: Path) -> None:
    assert "no registered model 'backbone'" in refused(tmp_path, "port=0")


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [("no-such-host.invalid", 0, "is not an address of this machine"), ("203.0.113.1", 0, "cannot listen on")],
)
def test_addresses_that_cannot_be_had(host: str, port: int, says: str) -> None:
    with pytest.raises(ServingError, match=says):
        bind(host, port)


def test_the_address_is_one_to_click_on() -> None:
    with bind("0.0.0.0", 0) as listener:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url_of(listener))


def test_the_shipped_settings_are_the_defaults() -> None:
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        config = compose("serve", overrides=["brands={acme: somewhere}"])
    read = read_settings(config)
    assert read == ServeSettings(model="models:/backbone@champion", brands={"acme": "somewhere"})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ServeSettings(model="x", port=70_000), "port=70000 must be a whole number from 0 to 65535"),
        (lambda: ServeSettings(model="x", port="abc"), "port=abc must be"),  # type: ignore[arg-type]
        (lambda: ServeSettings(model="x", brands=["a"]), "brands="),  # type: ignore[arg-type]
        (lambda: ServeSettings(model="x", brands={"a": 1}), "brands="),  # type: ignore[dict-item]
        (lambda: ServeSettings(model=None), "model=None"),  # type: ignore[arg-type]
        (lambda: EngineSettings(running_limit=0), "running_limit=0"),
        (lambda: Limits(pictures=11), "pictures=11"),
        (lambda: QualitySteps(low=9, medium=8), "must not fall"),
    ],
)
def test_bad_settings_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ServingError, match=says):
        make()


def test_the_application_starts_without_the_training_stack(folders: Folders, tmp_path: Path) -> None:
    script = """
        import sys
        BLOCKED = {"lightning", "pytorch_lightning", "hydra", "omegaconf", "deepspeed", "webdataset", "mlflow"}
        sys.modules.update(dict.fromkeys(BLOCKED))  # as if none of them were installed
        import serving.app
        from serving.server import open_studio, pipeline_loader
        from serving.settings import ServeSettings

        settings = ServeSettings(model=sys.argv[1], brands={"openmoji": sys.argv[2]})
        with open_studio(settings, None, pipeline_loader("cpu", warm=True)) as studio:
            serving.app.create_app(studio).openapi()
            print(*studio.catalogue.roster.models)
        assert not BLOCKED & {name.split(".")[0] for name, module in sys.modules.items() if module}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folders.base), str(folders.openmoji)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["atelier", "openmoji"]


def test_the_api_describes_itself(server: Running) -> None:
    schema = httpx.get(f"{server.url}/openapi.json").json()
    assert schema["openapi"].startswith("3.")
    assert {"/v1/images/generations", "/v1/images/edits", "/v1/models", "/healthz"} <= set(schema["paths"])
    body = schema["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["image", "prompt"] and {"image", "mask", "task", "strength"} <= set(body["properties"])
    generation = schema["components"]["schemas"]["GenerationFields"]
    assert generation["additionalProperties"] is False and generation["required"] == ["prompt"]
