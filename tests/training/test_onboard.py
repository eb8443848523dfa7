"""From ten drawings of a brand to a registered adapter, and every way in which that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import load_file

from atelier import CONF_FOLDER, PROJECT_ROOT, AtelierError
from data.dataset import Dataset, open_dataset
from data.sample_cut import cut
from registry.artifacts import digest_folder, read_card
from registry.mlflow import ModelStore
from synthesis.pipeline import MultiTaskPipeline
from synthesis.testing import make_tiny_brand, make_tiny_pipeline
from training.onboard import onboard

LEARN = PROJECT_ROOT / "assets" / "sample" / "openmoji-learn"
ADAPTER = "adapter_model.safetensors"
Settings = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random backbone's folder."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("models") / "backbone")


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return ten of the shipped drawings of openmoji."""
    return cut(open_dataset(LEARN), range(10), tmp_path_factory.mktemp("brands") / "ten")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where runs of this file write."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def settings(root: Path, base: Path, ten: Dataset) -> Settings:
    """Return a function that composes onboarding on the tiny backbone for two steps with overrides on top."""
    told = ["brand=openmoji", f"images={ten.folder}", "policy=share_alike", f"out={root / 'out'}"]
    told += ["max_steps=2", "checkpoint_steps=1", "batch_pictures=4", "rank=2", "alpha=2", "trainer.precision=32-true"]
    told += [f"registry.tracking_uri=sqlite:///{root / 'mlflow.db'}", f"registry.artifact_root={root / 'artifacts'}"]
    told += ["trainer.accelerator=cpu", "caption_tokens=16"]

    def made(*overrides: str, backbone: Path = base) -> DictConfig:
        with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
            config = compose("onboard", [*told, *overrides])
        config.base = str(backbone)
        OmegaConf.resolve(config)
        return config

    return made


def store(root: Path) -> ModelStore:
    return ModelStore(f"sqlite:///{root / 'mlflow.db'}", root / "artifacts")


@pytest.mark.slow
def test_ten_drawings_become_a_registered_adapter(
    settings: Settings, root: Path, base: Path, ten: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = onboard(settings())
    card = read_card(folder)
    (learnt,) = card["datasets"]
    assert (card["kind"], card["name"], card["brand"]) == ("adapter", "brand-openmoji", "openmoji")
    assert card["base"]["digest"] == digest_folder(base)
    assert (learnt["version"], learnt["pictures"], learnt["exposure_pictures"]) == (ten.card.version, 10, 8)
    assert card["licence"] == "CC-BY-SA-4.0"
    assert "Share pictures drawn with it under CC-BY-SA-4.0." in card["obligations"]
    assert (folder / "ATTRIBUTION.md").read_text() == (ten.folder / "ATTRIBUTION.md").read_text()
    assert [version.version for version in store(root).versions("brand-openmoji")] == [1]
    assert [version.version for version in store(root).versions("backbone")] == [1]
    assert not list(folder.parent.glob(".*"))
    pipeline = MultiTaskPipeline.load(base)
    pipeline.load_brand(folder, "openmoji")
    assert pipeline("a cat", brand="openmoji", num_inference_steps=1).images[0].size == (64, 64)
    learnt_weights = load_file(folder / ADAPTER)
    assert all(tensor.isfinite().all() for tensor in learnt_weights.values())
    assert any(tensor.any() for name, tensor in learnt_weights.items() if "lora_B" in name)

    capsys.readouterr()
    before = digest_folder(folder)
    assert onboard(settings()) == folder
    assert "was made from the same drawings, backbone and settings: kept" in capsys.readouterr().out
    assert digest_folder(folder) == before
    assert [version.version for version in store(root).versions("brand-openmoji")] == [1]

    onboard(settings("seed=1"))
    assert digest_folder(folder) != before
    assert [version.version for version in store(root).versions("brand-openmoji")] == [1, 2]


def test_the_same_drawings_and_seed_make_the_same_adapter(settings: Settings, tmp_path: Path) -> None:
    one, other = (onboard(settings("brand=twice", f"out={tmp_path / name}")) for name in ("one", "other"))
    first, second = load_file(one / ADAPTER), load_file(other / ADAPTER)
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.brand import AdapterTraining

    whole = onboard(settings("brand=stopped", f"out={tmp_path / 'whole'}"))
    step = AdapterTraining.training_step

    def fails(module: Any, rows: Any, index: int) -> Any:
        if module.global_step == 1:
            raise RuntimeError("the lights went out")
        return step(module, rows, index)

    with monkeypatch.context() as patch:
        patch.setattr(AdapterTraining, "training_step", fails)
        with pytest.raises(RuntimeError, match="the lights went out"):
            onboard(settings("brand=stopped", f"out={tmp_path / 'cut'}"))
    (kept,) = (tmp_path / "cut").rglob("last.ckpt")
    checkpoint = torch.load(kept, weights_only=True)
    assert checkpoint["global_step"] == 1
    assert not any("lora" not in name and "trainable_tokens" not in name for name in checkpoint["state_dict"])
    assert not (tmp_path / "cut" / "stopped" / "adapter").exists()
    resumed = onboard(settings("brand=stopped", f"out={tmp_path / 'cut'}"))
    first, second = load_file(whole / ADAPTER), load_file(resumed / ADAPTER)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_plain_folder_with_captions_will_do(settings: Settings, ten: Dataset, tmp_path: Path) -> None:
    folder = plain_folder(ten, tmp_path / "drawings", 10)
    kit = tmp_path / "kit.yaml"
    Image.new("RGBA", (64, 64), "#ea5a47").save(tmp_path / "mark.png")
    kit.write_text("title: Our emoji\npalette: ['#ea5a47']\nlogo: mark.png\nclear_space: 0.5\n")
    adapter = onboard(
        settings("brand=plain", f"images={folder}", "policy=commercial", "licence=LicenseRef-Own-Work", f"kit={kit}")
    )
    card = read_card(adapter)
    assert card["kit"]["title"] == "Our emoji" and "Our emoji" in card["summary"]
    assert card["kit"]["logo"] == "logo.png" and (adapter / "logo.png").is_file()
    assert card["licence"] == "LicenseRef-Own-Work" and card["datasets"][0]["pictures"] == 10
    assert not any("Share" in obligation for obligation in card["obligations"])


def plain_folder(dataset: Dataset, folder: Path, count: int) -> Path:
    folder.mkdir()
    for row in range(count):
        dataset.picture(row).save(folder / f"drawing-{row}.png")
        (folder / f"drawing-{row}.txt").write_text(dataset.records[row].caption)
    return folder


def refusal(settings: Settings, *overrides: str, **fields: Path) -> str:
    with pytest.raises(AtelierError) as refused:
        onboard(settings(*overrides, **fields))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_too_few_and_too_many_drawings_are_refused(settings: Settings, ten: Dataset, tmp_path: Path) -> None:
    nine = cut(ten, range(9), tmp_path / "nine").folder
    assert "holds 9 pictures: a brand needs 10 to 100" in refusal(settings, "brand=few", f"images={nine}")
    many = cut(open_dataset(LEARN.parent / "openmoji-judge"), range(101), tmp_path / "many").folder
    assert "holds 101 pictures: a brand needs 10 to 100" in refusal(settings, "brand=many", f"images={many}")


@pytest.mark.parametrize("name", ["Acme", "a b", "-a", "ä", "a" * 64, "a/b", "a.b"])
def test_a_bad_brand_name_is_refused(settings: Settings, name: str) -> None:
    assert f"brand '{name}': use 1 to 63 of a-z, 0-9 and '-'" in refusal(settings, f"brand='{name}'")


def test_mistakes_of_a_brand_owner_are_one_line(settings: Settings, ten: Dataset, tmp_path: Path, base: Path) -> None:
    kit = tmp_path / "kit.yaml"
    kit.write_text("titel: Acme\n")
    assert "unknown key 'titel'; did you mean title?" in refusal(settings, f"kit={kit}")
    assert "does not exist" in refusal(settings, f"kit={tmp_path / 'none.yaml'}")
    assert str(tmp_path / "none") in refusal(settings, f"images={tmp_path / 'none'}")
    assert "CC-BY-SA-4.0" in refusal(settings, "policy=commercial")
    assert "rank 0 must lie in 1 to 256" in refusal(settings, "brand=zero", "rank=0")
    assert str(tmp_path / "none") in refusal(settings, backbone=tmp_path / "none")
    adapter = make_tiny_brand(tmp_path / "adapter", base, "acme", base_digest=digest_folder(base))
    assert "is an adapter: a brand needs a backbone" in refusal(settings, backbone=adapter)
    folder = plain_folder(ten, tmp_path / "drawings", 10)
    (folder / "drawing-3.png").write_bytes(b"not a picture")
    told = refusal(settings, "brand=broken", f"images={folder}", "licence=LicenseRef-Own-Work")
    assert "drawing-3.png" in told
    shutil.copyfile(folder / "drawing-1.png", folder / "drawing-3.png")
    (folder / "drawing-2.txt").unlink()
    told = refusal(settings, "brand=broken", f"images={folder}", "licence=LicenseRef-Own-Work")
    assert "drawing-2.png" in told and "caption" in told


def test_an_adapter_tells_its_whole_configuration(settings: Settings, root: Path) -> None:
    card = json.loads((root / "out" / "openmoji" / "adapter" / "atelier.json").read_text())
    assert card["config"]["rank"] == 2 and card["config"]["max_steps"] == 2
    assert card["run"]["images_seen"] == 8 and card["code_commit"] and card["fingerprint"]
