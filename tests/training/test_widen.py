"""The verb: a folder that diffusers opens, whole or not at all, with its origin and its licence."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from atelier import main
from registry.artifacts import digest_folder, read_card
from synthesis.errors import SynthesisError
from synthesis.pretrained.backbone import PretrainedBackbone
from synthesis.pretrained.families import family_to_widen
from synthesis.pretrained.testing import make_tiny_codec, make_tiny_pretrained
from synthesis.pretrained.widen import widen_network
from training import widen as verb
from training.source_licence import spdx

CHANNELS = {"SD": ("unet", 9), "SDXL": ("unet", 9), "SD3": ("transformer", 33), "FLUX": ("transformer", 16 + 16 + 16)}
Widen = Callable[..., str]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a random SD model."""
    return make_tiny_pretrained("SD", tmp_path_factory.mktemp("source") / "SD")


@pytest.fixture
def widen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Widen:
    """Return a function that runs the command and returns what it prints, or the one line of what was wrong."""

    def run(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [])
        try:
            main(["widen", *arguments])
        except SystemExit as leaving:
            assert leaving.code == 2
            (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("atelier: ")]
            return line
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", CHANNELS)
def test_each_family_becomes_a_folder_with_its_card(name: str, widen: Widen, tmp_path: Path) -> None:
    folder = make_tiny_pretrained(name, tmp_path / name)
    part, channels = CHANNELS[name]
    said = widen(f"source={folder}", "out=made", "licence=apache-2.0")
    assert f"({name}), {part}.in_channels {channels}, licence Apache-2.0" in said
    card = read_card(tmp_path / "made")
    assert (card["kind"], card["name"], card["licence"]) == ("backbone", "backbone", "Apache-2.0")
    assert card["pretrained"]["family"] == name and card["pretrained"]["digest"] == digest_folder(folder)
    pipeline = DiffusionPipeline.from_pretrained(str(tmp_path / "made"))
    assert getattr(pipeline, part).config.in_channels == channels
    assert PretrainedBackbone.load(tmp_path / "made").family.name == name
    told = [path.read_text() for path in (tmp_path / "made").rglob("*") if path.suffix in (".json", ".md")]
    assert sum(str(tmp_path) in text for text in told) == 1  # the card alone says where the source lay


def test_equal_sources_make_equal_weights_wherever_they_lie(widen: Widen, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "elsewhere")
    for place, out in ((source, "one"), (tmp_path / "elsewhere", "two")):
        widen(f"source={place}", f"out={out}", "licence=MIT")
        for told in ("atelier.json", "README.md"):
            (tmp_path / out / told).unlink()
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")


def test_the_licence_is_the_sources_and_needed_where_it_names_none(widen: Widen, source: Path, tmp_path: Path) -> None:
    assert "names no licence in its README.md: read its terms and pass licence=SPDX" in widen(
        f"source={source}", "out=made"
    )
    copy = shutil.copytree(source, tmp_path / "copy")
    (copy / "README.md").write_text("---\nlicense: other\nlicense_name: flux-1-dev-non-commercial-license\n---\n")
    named = "LicenseRef-flux-1-dev-non-commercial-license"
    assert f"licence {named}" in widen(f"source={copy}", "out=made")
    assert "licence is MIT, and" in widen(f"source={copy}", "out=other", "licence=MIT")
    assert f"licence {named}" in widen(f"source={copy}", "out=made", f"licence={named}")
    assert "licence 'mine' is no SPDX expression" in widen(f"source={source}", "out=other", "licence=mine")
    assert not (tmp_path / "other").exists()
    assert spdx("openrail++") == "" and spdx("apache-2.0") == "Apache-2.0"


def test_what_cannot_be_widened_is_refused_in_one_line(widen: Widen, source: Path, tmp_path: Path) -> None:
    widen(f"source={source}", "out=made", "licence=MIT")
    assert "has channels for source and mask already" in widen("source=made", "out=again", "licence=MIT")
    other = shutil.copytree(source, tmp_path / "other")
    index = (other / "model_index.json").read_text()
    (other / "model_index.json").write_text(index.replace("StableDiffusionPipeline", "PixArtSigmaPipeline"))
    assert "is a PixArtSigmaPipeline: what can be widened is StableDiffusionPipeline (SD)" in widen(
        f"source={other}", "out=again", "licence=MIT"
    )
    (tmp_path / "empty").mkdir()
    assert "is no diffusers folder" in widen("source=empty", "out=again", "licence=MIT")
    assert "is there already and not from atelier widen" in widen(f"source={source}", "out=empty", "licence=MIT")
    assert "precision is half" in widen(f"source={source}", "out=again", "licence=MIT", "precision=half")
    assert "codec.source is missing" in widen(f"source={source}", "out=again", "licence=MIT", "codec=tiny")
    codec = make_tiny_codec("kl", tmp_path / "codec", channels=8)
    assert "latents of 8 channels, the network takes 4" in widen(
        f"source={source}", "out=again", "licence=MIT", "codec=kl", f"codec.source={codec}"
    )
    assert not (tmp_path / "again").exists()


def test_a_write_that_fails_leaves_what_was_there(
    widen: Widen, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(f"source={source}", "out=made", "licence=MIT")
    before = digest_folder(tmp_path / "made")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verb, "write_card", full)
    assert "No space left on device" in widen(f"source={source}", "out=made", "licence=MIT")
    assert digest_folder(tmp_path / "made") == before
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_a_network_without_a_known_input_layer_is_refused(source: Path) -> None:
    pipeline = DiffusionPipeline.from_pretrained(str(source))
    family = family_to_widen(str(source))
    pipeline.unet.conv_in = pipeline.unet.mid_block
    with pytest.raises(SynthesisError, match="the input layer is a UNetMidBlock2DCrossAttn"):
        widen_network(pipeline.unet, family, source_channels=4, mask_px=2)
