"""Codecs by config: shapes there and back, and the scale and shift that diffusers' pipelines apply."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from hydra.utils import instantiate
from omegaconf import OmegaConf

from atelier import CONF_FOLDER
from synthesis.errors import SynthesisError
from synthesis.latents import Autoencoder, open_autoencoder
from synthesis.pretrained.testing import make_tiny_codec


@pytest.mark.parametrize(("kind", "factor_px"), [("kl", 2), ("dc", 4), ("tiny", 2)])
def test_a_codec_named_in_a_config_goes_there_and_back(kind: str, factor_px: int, tmp_path: Path) -> None:
    make_tiny_codec(kind, tmp_path / "vae", channels=8)
    config = OmegaConf.load(CONF_FOLDER / "codec" / f"{kind}.yaml")
    codec = instantiate(config, source=str(tmp_path), subfolder="vae")
    assert (codec.channels, codec.factor_px) == (8, factor_px)
    latents = codec.encode(torch.randn(2, 3, 32, 16))
    assert latents.shape == (2, 8, 32 // factor_px, 16 // factor_px)
    assert codec.decode(latents).shape == (2, 3, 32, 16)


@pytest.mark.parametrize(
    ("told", "mean", "spread"),
    [
        ({"scaling_factor": 0.18215}, 0.0, 1.0),
        ({"scaling_factor": 1.5305, "shift_factor": 0.0609}, 0.0609, 1.0),
        ({"scaling_factor": 0.5, "latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1, 2, 3, 4]}, None, None),
    ],
)
def test_latents_are_shifted_and_scaled_as_the_config_says(
    told: dict[str, object], mean: float | None, spread: float | None, tmp_path: Path
) -> None:
    plain = open_autoencoder(kind="kl", source=str(make_tiny_codec("kl", tmp_path / "vae")))
    model = AutoencoderKL.from_pretrained(str(tmp_path / "vae"), **told)
    pictures = torch.randn(1, 3, 16, 16)
    raw = plain.model.encode(pictures).latent_dist.mean
    shift = torch.tensor([0.1, 0.2, 0.3, 0.4] if mean is None else [mean]).view(1, -1, 1, 1)
    width = torch.tensor([1.0, 2, 3, 4] if spread is None else [spread]).view(1, -1, 1, 1)
    codec = Autoencoder(model)
    latents = codec.encode(pictures)
    torch.testing.assert_close(latents, (raw - shift) * told["scaling_factor"] / width)
    torch.testing.assert_close(codec.decode(latents), plain.model.decode(raw).sample, atol=1e-5, rtol=1e-5)
    assert (codec.digest == plain.digest) == (told == {"scaling_factor": 0.18215})


def test_a_codec_that_is_not_there_or_another_is_refused_in_words(tmp_path: Path) -> None:
    make_tiny_codec("kl", tmp_path / "vae")
    with pytest.raises(SynthesisError, match="holds a AutoencoderKL, and codec=tiny is AutoencoderTiny"):
        open_autoencoder(kind="tiny", source=str(tmp_path / "vae"))
    with pytest.raises(SynthesisError, match=r"codec\.kind 'vq' is unknown: it must be one of kl, dc, tiny"):
        open_autoencoder(kind="vq", source=str(tmp_path / "vae"))
    with pytest.raises(SynthesisError, match="does not load"):
        open_autoencoder(kind="kl", source=str(tmp_path / "nothing"))
    with pytest.raises(SynthesisError, match="the codec is a Linear"):
        Autoencoder(torch.nn.Linear(1, 1))
