"""A folder made from a pretrained model is drawn with by ``atelier generate`` and served over HTTP."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from openai import BadRequestError
from PIL import Image

from atelier import PROJECT_ROOT, AtelierError
from evaluation.drawing import DrawingSettings, Order, PipelineIllustrator
from registry.artifacts import write_card
from registry.mlflow import ModelStore
from registry.resolve import resolve_model
from serving.local import DrawSettings, choose_models, draw
from serving.server import pipeline_loader
from synthesis.pretrained.families import family_to_widen, open_pipeline
from synthesis.pretrained.testing import make_tiny_pretrained
from synthesis.pretrained.widen import widened
from synthesis.tasks import TASKS, task_named

if TYPE_CHECKING:
    from tests.serving.conftest import Serve

# diffusers' Euler scheduler makes an array of a tensor as numpy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
SIDE_PX = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random SD's widened folder whose card says that it learnt every task at 32 px."""
    torch.set_num_threads(1)  # so tiny a network is only slowed by more
    root = tmp_path_factory.mktemp("pretrained")
    source = str(make_tiny_pretrained("SD", root / "SD"))
    widened(open_pipeline(source), family_to_widen(source)).save_pretrained(str(root / "made"))
    told = {"name": "SD", "family": "SD", "tasks": list(TASKS), "side_px": SIDE_PX}
    card: dict[str, Any] = {"kind": "backbone", "name": "icons", "licence": "CreativeML", "pretrained": told}
    write_card(root / "made", card)
    return root / "made"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Return files of a picture and a mask."""
    Image.new("RGB", (48, 48), "teal").save(tmp_path / "picture.png")
    Image.new("L", (48, 48), 255).save(tmp_path / "mask.png")
    return {name: str(tmp_path / f"{name}.png") for name in ("picture", "mask")}


def drawn(folder: Path, out: Path, **fields: Any) -> tuple[Image.Image, list[tuple[int, int]]]:
    """A picture of two steps by the classes of the command, and the progress that was told."""
    usual: dict[str, Any] = {"prompt": "a dog", "num_inference_steps": 2, "model": str(folder), "out": str(out)}
    settings = DrawSettings(**(usual | fields))
    backbone, brand, _ = choose_models(settings, ModelStore(f"sqlite:///{out.with_name('none.db')}", out.parent))
    told: list[tuple[int, int]] = []
    draw(settings, (backbone, brand), pipeline_loader("cpu"), lambda done, steps: told.append((done, steps)))
    with Image.open(out) as picture:
        return picture.copy(), told


@pytest.mark.parametrize("task", TASKS)
def test_generate_draws_every_task(task: str, folder: Path, given: dict[str, str], tmp_path: Path) -> None:
    needs = task_named(task)
    fields = {"task": task, "source": given["picture"]} if needs.needs_picture else {}
    fields |= {"mask": given["mask"]} if needs.needs_mask else {}
    picture, told = drawn(folder, tmp_path / "out.png", **fields)
    assert picture.size == (SIDE_PX, SIDE_PX)
    assert told == [(1, 2), (2, 2)]


def test_the_command_says_what_made_the_picture(folder: Path, tmp_path: Path) -> None:
    told = ["generate", "prompt=a dog", f"model={folder}", "out=dog.png", "num_inference_steps=1"]
    done = subprocess.run(
        [sys.executable, "-c", "from atelier import main; main()", *told],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and "dog.png: icons (" in done.stdout, done.stderr
    with pytest.raises(AtelierError, match=r"Invalid value for 'style': 'noto'\. There are none"):
        drawn(folder, tmp_path / "out.png", style="noto")


def test_it_is_served_with_previews_and_edits(folder: Path, given: dict[str, str], serve: Serve) -> None:
    asked: dict[str, Any] = {"seed": 3, "num_inference_steps": 4}
    with serve(model=str(folder)) as running:
        stream = running.client.images.generate(prompt="a star", stream=True, partial_images=2, extra_body=asked)
        *previews, last = [decoded(event.b64_json) for event in stream]
        assert [picture.size for picture in (*previews, last)] == [(SIDE_PX, SIDE_PX)] * 3
        assert len({picture.tobytes() for picture in (*previews, last)}) == 3
        with Path(given["picture"]).open("rb") as picture:
            answer = running.client.images.edit(image=picture, prompt="a star", extra_body=asked | {"task": "edges"})
        assert answer.data is not None and decoded(answer.data[0].b64_json).size == (SIDE_PX, SIDE_PX)
        with pytest.raises(BadRequestError, match="Invalid value for 'style'"):
            running.client.images.generate(prompt="a star", extra_body=asked | {"style": "noto"})


def decoded(text: str | None) -> Image.Image:
    """A picture of an answer."""
    assert text is not None
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_evaluation_says_who_draws_with_it(folder: Path) -> None:
    settings = DrawingSettings(num_inference_steps=1, guidance_scale=1.0, batch_pictures=1)
    illustrator = PipelineIllustrator(resolve_model(folder), settings)
    with pytest.raises(AtelierError, match="is a StableDiffusionInpaintPipeline: atelier generate and"):
        illustrator.draw([Order(prompt="a dog", seed=0)])
