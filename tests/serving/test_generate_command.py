"""``atelier generate``: one picture, drawn here, as the server would draw it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from atelier import PROJECT_ROOT, AtelierError
from evaluation.files import write_whole
from registry.mlflow import ModelStore
from serving import local
from serving.local import DrawSettings, choose_models, draw
from serving.server import pipeline_loader
from synthesis.pipeline import MultiTaskPipeline
from synthesis.sampler import few_step_scheduler

if TYPE_CHECKING:
    from tests.serving.conftest import Folders, Running


@pytest.fixture
def nothing_registered(tmp_path: Path) -> ModelStore:
    return ModelStore(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "artifacts")


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def drawn(store: ModelStore, **fields: Any) -> Any:
    settings = DrawSettings(**{"prompt": "a star", "num_inference_steps": 3, **fields})
    backbone, brand, _ = choose_models(settings, store)
    return draw(settings, (backbone, brand), pipeline_loader(settings.device), lambda done, steps: None)


def test_the_command_draws_and_leaves_only_its_picture(folders: Folders, tmp_path: Path) -> None:
    arguments = [
        "prompt=it's a red apple, round",
        f"model={folders.openmoji}",
        "out=made/apple.png",
        "seed=3",
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from atelier import main; main()", "generate", *arguments],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "brand-openmoji" in done.stdout and "seed 3" in done.stdout and "CC-BY-SA-4.0" in done.stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["apple.png"]
    assert json.loads(opened(tmp_path / "made/apple.png").info["atelier"])["seed"] == "3"


@pytest.mark.parametrize(
    ("fields", "drawn_in"),
    [({}, (4, 1.0)), ({"quality": "high"}, (4, 1.0)), ({"num_inference_steps": 2, "guidance_scale": 2.0}, (2, 2.0))],
)
def test_a_distilled_model_draws_in_its_own_steps_unless_told_else(
    folders: Folders,
    tmp_path: Path,
    nothing_registered: ModelStore,
    fields: dict[str, Any],
    drawn_in: tuple[int, float],
) -> None:
    student = shutil.copytree(folders.base, tmp_path / "student")
    ordinary = MultiTaskPipeline.load(folders.base)
    own: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 1.0}
    MultiTaskPipeline(ordinary.transformer, few_step_scheduler(4), **own).save_pretrained(student)
    told = {"num_inference_steps": None, "model": str(student), "out": str(tmp_path / "a.png")} | fields
    record = drawn(nothing_registered, **told)
    assert (record.num_inference_steps, record.guidance_scale) == drawn_in


def test_a_distilled_model_is_warmed_up_for_the_server(folders: Folders, tmp_path: Path) -> None:
    student = shutil.copytree(folders.base, tmp_path / "student")
    own: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 1.0}
    MultiTaskPipeline(MultiTaskPipeline.load(folders.base).transformer, few_step_scheduler(4), **own).save_pretrained(
        student
    )
    assert pipeline_loader("cpu", warm=True)(student).own_steps == 4


def test_an_ordinary_model_draws_in_the_steps_of_its_quality_with_guidance(
    folders: Folders, tmp_path: Path, nothing_registered: ModelStore
) -> None:
    told = {"num_inference_steps": None, "model": str(folders.base), "out": str(tmp_path / "a.png")}
    record = drawn(nothing_registered, quality="low", **told)
    assert (record.num_inference_steps, record.guidance_scale) == (8, 3.0)


def test_it_draws_what_the_server_draws(
    folders: Folders, server: Running, tmp_path: Path, nothing_registered: ModelStore
) -> None:
    answer = server.client.images.generate(
        prompt="a star", model="openmoji", extra_body={"seed": 4, "num_inference_steps": 3}
    )
    drawn(nothing_registered, model=str(folders.openmoji), seed=4, out=str(tmp_path / "a.png"))
    assert answer.data is not None and answer.data[0].b64_json is not None
    assert (tmp_path / "a.png").read_bytes() == base64.b64decode(answer.data[0].b64_json)


def test_edits_and_formats(folders: Folders, tmp_path: Path, nothing_registered: ModelStore) -> None:
    source, mask = tmp_path / "source.png", tmp_path / "mask.png"
    Image.new("RGB", (64, 64), "#ffe8a0").save(source)
    half = Image.new("L", (64, 64), 0)
    half.paste(255, (32, 0, 64, 64))
    half.save(mask)
    common: dict[str, Any] = {"model": str(folders.base), "source": str(source)}
    record = drawn(nothing_registered, **common, mask=str(mask), out=str(tmp_path / "a.png"))
    kept = opened(tmp_path / "a.png").crop((0, 0, 32, 64))
    assert record.task == "inpainting" and kept.getcolors() == [(2048, (255, 232, 160))]
    assert drawn(nothing_registered, **common, out=str(tmp_path / "b.webp")).task == "image_to_image"
    wide = drawn(nothing_registered, **common, task="super_resolution", out=str(tmp_path / "c.jpg"))
    assert wide.task == "super_resolution" and opened(tmp_path / "c.jpg").format == "JPEG"


def test_the_shipped_backbone_stands_in_where_nothing_is_registered(
    folders: Folders, tmp_path: Path, nothing_registered: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SHIPPED_BACKBONE", folders.base)
    backbone, brand, remark = choose_models(DrawSettings(prompt="a", out="a.png"), nothing_registered)
    assert (backbone.folder, brand) == (folders.base, None)
    assert remark is not None and "shipped" in remark
    monkeypatch.setattr(local, "SHIPPED_BACKBONE", tmp_path / "none")
    with pytest.raises(AtelierError, match="pass model=FOLDER"):
        choose_models(DrawSettings(prompt="a", out="a.png"), nothing_registered)


def test_brands_by_name(folders: Folders, tmp_path: Path) -> None:
    store = ModelStore(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    store.register("backbone", folders.base)
    store.register("brand-openmoji", folders.openmoji)
    with pytest.raises(AtelierError, match="brand 'openmoji' has no champion: promote"):
        drawn(store, brand="openmoji", out=str(tmp_path / "a.png"))
    store.set_alias("brand-openmoji", "champion", 1)
    store.set_alias("backbone", "champion", 1)
    assert drawn(store, brand="openmoji", out=str(tmp_path / "a.png")).adapter.version == 1
    assert drawn(store, out=str(tmp_path / "a.png")).model.version == 1
    with pytest.raises(AtelierError, match="no brand 'nobody': there are openmoji"):
        drawn(store, brand="nobody", out=str(tmp_path / "a.png"))
    with pytest.raises(AtelierError, match="leave model out"):
        drawn(store, brand="openmoji", model=str(folders.acme), out=str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"out": "a.gif"}, "must end in .png"),
        ({"out": "a.png", "source": "none.png"}, "source=none.png is no file"),
        ({"out": "a.png", "task": "inpainting"}, "pass source=FILE"),
        ({"out": "a.png", "mask": str(PROJECT_ROOT / "LICENSE")}, "mask needs a picture"),
        ({"out": "a.png", "source": str(PROJECT_ROOT / "LICENSE")}, "is not a picture that can be read"),
        ({"out": "a.png", "strength": 0.5}, "pass source=FILE, or leave it out"),
        ({"out": "a.png", "device": "abacus"}, "device=abacus is not there"),
        ({"out": "a.png", "seed": -1}, "greater than or equal to 0"),
        ({"out": "a.png", "style": "cubist"}, "There are noto, twemoji"),
        ({"out": "a.png", "prompt": " "}, "'prompt' is empty"),
        ({"out": "a.png", "model": "nowhere"}, "no model folder at nowhere"),
    ],
)
def test_mistakes(folders: Folders, nothing_registered: ModelStore, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(AtelierError, match=says) as caught:
        drawn(nothing_registered, **{"model": str(folders.base), **fields})
    assert "\n" not in str(caught.value)


def test_an_unknown_task_lists_those_there_are(
    folders: Folders, tmp_path: Path, nothing_registered: ModelStore
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(AtelierError, match=r"'upscale'\. There are image_to_image, inpainting"):
        drawn(
            nothing_registered,
            model=str(folders.base),
            task="upscale",
            source=str(tmp_path / "a.png"),
            out=str(tmp_path / "b.png"),
        )
    assert not (tmp_path / "b.png").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_whole(path, b"old")

    def interrupted(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
