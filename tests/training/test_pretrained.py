"""A widened model of each family learns every task by the project's own job, resumes, and stays a stock pipeline."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from atelier import AtelierError, main
from data.dataset import Dataset
from registry.artifacts import digest_folder, read_card
from serving.server import pipeline_loader
from synthesis.pretrained.families import FAMILIES
from synthesis.pretrained.testing import make_tiny_pretrained
from synthesis.request import PictureRequest
from synthesis.tasks import TASKS
from training.distil import read_teacher
from training.errors import TrainingError
from training.steps import DiffusionTraining
from training.train import train

if TYPE_CHECKING:
    from tests.training.conftest import Compose

NAMES = tuple(family.name for family in FAMILIES)
ENTRY = {
    "SD": ("unet", "conv_in", 4),
    "SDXL": ("unet", "conv_in", 4),
    "SD3": ("transformer", "pos_embed.proj", 16),
    "FLUX": ("transformer", "x_embedder", 16),
}
SIDE_PX = 32
LEARNS = [
    *("backbone=pretrained", f"backbone.side_px={SIDE_PX}", f"dataset.batch_pictures={len(TASKS)}"),
    *("max_steps=4", "checkpoint_steps=2", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1"),
    *("optimizer.warmup_steps=0", "optimizer.learning_rate=1e-3", "dataset.heldout_pictures=2"),
    *(f"tasks.shares.{task}=1" for task in TASKS),
]
Widened = Callable[[str], Path]


@pytest.fixture(scope="session")
def widened(tmp_path_factory: pytest.TempPathFactory) -> Widened:
    """Return the folder that ``atelier widen`` makes of a family's random model."""

    @cache
    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp("widened")
        source = make_tiny_pretrained(name, folder / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [])
            main(["widen", f"source={source}", f"out={folder / 'made'}", "licence=Apache-2.0"])
        return folder / "made"

    return made


@pytest.fixture(scope="module")
def done() -> dict[str, DictConfig]:
    """Runs of four steps that went through, by family."""
    return {}


@pytest.fixture
def learnt(
    done: dict[str, DictConfig], smoke: Compose, widened: Widened, tmp_path: Path
) -> Callable[[str], DictConfig]:
    """Return the settings of a family's run that is done."""

    def made(name: str) -> DictConfig:
        if name not in done:
            config = smoke(*LEARNS, f"backbone.folder={widened(name)}", f"out={tmp_path / name}")
            train(config)
            done[name] = config
        return done[name]

    return made


def weights(folder: Path, name: str) -> dict[str, Tensor]:
    """What the network of a family's folder knows."""
    return load_file(folder / ENTRY[name][0] / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_every_task_and_keeps_its_origin(
    name: str, learnt: Callable[[str], DictConfig], widened: Widened, dataset: Dataset
) -> None:
    config = learnt(name)
    (table,) = Path(config.out).rglob("metrics.csv")
    with table.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["loss"]]
    assert len(rows) == 4
    assert all(math.isfinite(float(row[f"loss/{task}"])) for row in rows for task in TASKS)
    folder = Path(config.out) / "backbone"
    _, entry, known = ENTRY[name]
    before, after = weights(widened(name), name), weights(folder, name)
    assert before.keys() == after.keys()
    assert not before[f"{entry}.weight"][:, known:].any() and after[f"{entry}.weight"][:, known:].any()
    card = read_card(folder)
    (told,) = card["datasets"]
    assert (told["version"], told["exposure_pictures"]) == (dataset.card.version, 4 * len(TASKS))
    assert (card["kind"], card["licence"], card["pretrained"]["family"]) == ("backbone", "Apache-2.0", name)
    assert card["pretrained"]["tasks"] == list(TASKS) and card["pretrained"]["side_px"] == SIDE_PX
    assert card["initial"]["digest"] == digest_folder(widened(name))
    readme = (folder / "README.md").read_text()
    assert f"## Made from\n\n- {name}, Apache-2.0" in readme and dataset.card.version[:16] in readme
    assert (folder / "ATTRIBUTION.md").read_text() == (dataset.folder / "ATTRIBUTION.md").read_text()
    for part in ("vae", "text_encoder"):  # frozen
        files = [next((one / part).glob("*.safetensors")) for one in (widened(name), folder)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_fails_in_a_step_resumes_bit_for_bit(
    name: str, learnt: Callable[[str], DictConfig], smoke: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learnt(name)
    config = smoke(*LEARNS, f"backbone.folder={whole.backbone.folder}")
    step = DiffusionTraining.training_step

    def fails(module: DiffusionTraining, rows: Tensor, index: int) -> Tensor:
        if module.global_step == 3:
            raise ZeroDivisionError
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionTraining, "training_step", fails)
        with pytest.raises(ZeroDivisionError):
            train(config)
    assert not (Path(config.out) / "backbone").exists()
    checkpoint = torch.load(Path(config.out) / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert checkpoint["state_dict"].keys() == {f"network.{one}" for one in weights(exported(whole), name)}
    train(config)
    one, other = weights(exported(whole), name), weights(exported(config), name)
    assert [key for key, weight in one.items() if not torch.equal(weight, other[key])] == []


def exported(config: DictConfig) -> Path:
    """Where a run exports to."""
    return Path(config.out) / "backbone"


@pytest.mark.slow
def test_each_export_loads_and_draws_where_there_is_diffusers_alone(
    learnt: Callable[[str], DictConfig], tmp_path: Path
) -> None:
    Image.new("RGB", (SIDE_PX, SIDE_PX), "teal").save(tmp_path / "picture.png")
    folders = {name: str(exported(learnt(name))) for name in NAMES}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, sysconfig.get_path("purelib"), json.dumps(folders)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {family.name: [family.inpainting, [SIDE_PX, SIDE_PX]] for family in FAMILIES}


ALONE = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
assert not any(importlib.util.find_spec(name) for name in ("atelier", "synthesis")), "the project is importable"
import torch
from diffusers import DiffusionPipeline
from PIL import Image
torch.set_num_threads(1)
picture, black = Image.open("picture.png"), Image.new("L", (32, 32))
told = {}
for name, folder in json.loads(sys.argv[2]).items():
    pipeline = DiffusionPipeline.from_pretrained(folder)
    given = dict(image=picture, mask_image=black, strength=1.0, height=32, width=32, num_inference_steps=2)
    if name == "FLUX":
        del given["strength"]
    (drawn,) = pipeline("edges: a dog", **given).images
    told[name] = [type(pipeline).__name__, drawn.size]
print(json.dumps(told))
"""


def test_what_was_trained_goes_on_and_its_card_counts_both(
    learnt: Callable[[str], DictConfig], smoke: Compose, tmp_path: Path
) -> None:
    first = exported(learnt("SD"))
    told = [*LEARNS, "backbone.side_px=null", "backbone.precision=float16", "tasks.shares.edges=0", "max_steps=2"]
    folder = train(smoke(*told, f"backbone.folder={first}", f"out={tmp_path / 'on'}"))
    card = read_card(folder)
    assert [entry["exposure_pictures"] for entry in card["datasets"]] == [44, 22]
    assert (card["run"]["images_seen"], card["initial"]["images_seen"]) == (66, 44)
    assert (card["pretrained"]["tasks"], card["pretrained"]["side_px"]) == (list(TASKS), SIDE_PX)
    assert len(card["obligations"]) == len(set(card["obligations"])) == 2
    assert {weight.dtype for weight in weights(folder, "SD").values()} == {torch.float16}
    pipeline = pipeline_loader("cpu")(folder)
    assert (pipeline.picture_px, pipeline.tasks) == (SIDE_PX, tuple(TASKS))
    *_, last = pipeline.stream(PictureRequest(prompts=("a dog",), seeds=(0,), num_inference_steps=2))
    assert last.pictures()[0].size == (SIDE_PX, SIDE_PX)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "backbone.folder is missing: pass backbone.folder=FOLDER"),
        (("backbone.folder={source}",), "is no widened model: run atelier widen source="),
        (("backbone.folder={none}",), "is no widened model: name a folder that atelier widen wrote"),
        (("backbone.folder={widened}", "backbone.side_px=30"), "backbone.side_px is 30: it must be a multiple of 8"),
        (("backbone.folder={widened}", "sizes.shares={{20: 1}}"), "sizes.shares is 20: it must be a multiple of 8"),
        (("backbone.folder={widened}", "backbone.precision=half"), "backbone.precision is half: it must be one of"),
        (("backbone.folder={widened}", "objective=rectified_flow"), "pass objective=own"),
        (("backbone.folder={widened}", "initial=elsewhere"), "a pretrained one starts from backbone.folder"),
        (("backbone.folder={widened}", "measured.every_steps=2"), "pass measured.every_steps=0"),
        (("backbone=tiny", "objective=own"), "objective=own is for backbone=pretrained"),
        (("backbone=tiny", "sizes=own"), "sizes=own is for backbone=pretrained"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    overrides: tuple[str, ...], said: str, widened: Widened, smoke: Compose, tmp_path: Path
) -> None:
    folders: dict[str, Any] = {"widened": widened("SD"), "none": tmp_path, "source": widened("SD").with_name("SD")}
    config = smoke("backbone=pretrained", *(one.format(**folders) for one in overrides))
    with pytest.raises(AtelierError, match=said) as told:
        train(config)
    assert "\n" not in str(told.value) and not (Path(config.out) / "backbone").exists()


def test_what_needs_the_projects_own_network_says_so(widened: Widened, smoke: Compose) -> None:
    folder = widened("SD3")
    with pytest.raises(TrainingError, match=r"pass backbone=pretrained backbone\.folder="):
        train(smoke(f"initial={folder}"))
    with pytest.raises(TrainingError, match="is made from SD3: name a backbone of ours"):
        read_teacher(folder)
