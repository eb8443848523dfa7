"""A cache gives what was encoded once, for the same content and the same encoder alone, whoever else is at it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from atelier import PROJECT_ROOT
from data import cache as cache_module
from data.cache import Cache, CacheError, content_key, encoder_cache
from data.dataset import Dataset
from data.latents import latents_of
from synthesis.latents import Autoencoder

ENCODER, OTHER = "a" * 64, "b" * 64


class Encoding:
    """Turns a text into its bytes as numbers, as many as it has, and remembers what it was asked for."""

    def __init__(self, texts: Sequence[str], pause_seconds: float = 0) -> None:
        self.texts = texts
        self.asked: list[str] = []
        self.pause_seconds = pause_seconds

    def __call__(self, places: Sequence[int]) -> list[Tensor]:
        time.sleep(self.pause_seconds)
        self.asked += [self.texts[place] for place in places]
        return [torch.tensor(list(self.texts[place].encode()), dtype=torch.float16) for place in places]


def fetched(cache: Cache, encoding: Encoding, *, batch: int = 512) -> list[str]:
    """Everything back as text, in order."""
    back: dict[int, str] = {}
    for place, entry in cache.entries([content_key(text.encode()) for text in encoding.texts], encoding, batch=batch):
        assert place not in back
        back[place] = bytes(entry.to(torch.uint8).tolist()).decode()
    return [back[place] for place in range(len(encoding.texts))]


def text_cache(folder: Path, encoder: str = ENCODER) -> Cache:
    return Cache(folder, kind="text", encoder_sha256=encoder)


texts_strategy = st.lists(st.text(st.characters(max_codepoint=1000), max_size=12), max_size=30)


@given(first=texts_strategy, second=texts_strategy, batch=st.integers(1, 7))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_comes_back_is_what_was_encoded_and_only_new_texts_are(
    first: list[str], second: list[str], batch: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    one = Encoding(first)
    assert fetched(text_cache(folder), one, batch=batch) == first
    assert sorted(one.asked) == sorted(set(first))
    two = Encoding(second)
    assert fetched(text_cache(folder), two, batch=batch) == second
    assert sorted(two.asked) == sorted(set(second) - set(first))


def test_one_changed_letter_is_one_new_entry(tmp_path: Path) -> None:
    texts = [f"a drawing of number {number}" for number in range(300)]
    fetched(text_cache(tmp_path), Encoding(texts))
    texts[17] = texts[17].replace("drawing", "crawing")
    again, cache = Encoding(texts), text_cache(tmp_path)
    assert fetched(cache, again) == texts
    assert again.asked == [texts[17]]
    assert (cache.found, cache.encoded) == (299, 1)


def test_another_encoder_has_its_own_folder_and_is_refused_in_this_one(tmp_path: Path) -> None:
    texts = ["red", "green"]
    fetched(encoder_cache(tmp_path, "text", ENCODER), Encoding(texts))
    other = Encoding(texts)
    fetched(encoder_cache(tmp_path, "text", OTHER), other)
    assert sorted(other.asked) == sorted(texts)
    folder = encoder_cache(tmp_path, "text", ENCODER).folder
    with pytest.raises(CacheError, match=f"was made by encoder {ENCODER}, this one is {OTHER}"):
        text_cache(folder, OTHER)
    with pytest.raises(CacheError, match="caches text, not latents"):
        Cache(folder, kind="latents", encoder_sha256=ENCODER)


def test_a_pack_brought_from_another_encoder_is_refused(tmp_path: Path) -> None:
    fetched(text_cache(tmp_path / "mine"), Encoding(["red"]))
    fetched(text_cache(tmp_path / "theirs", OTHER), Encoding(["green"]))
    (pack,) = (tmp_path / "theirs").glob("*.safetensors")
    pack.rename(tmp_path / "mine" / pack.name)
    with pytest.raises(CacheError, match=f"{pack.name} was made by encoder {OTHER}, this one is {ENCODER}"):
        fetched(text_cache(tmp_path / "mine"), Encoding(["green"]))


def test_a_pack_that_names_no_encoder_is_refused_and_a_broken_one_made_again(tmp_path: Path) -> None:
    texts = ["red", "green"]
    fetched(text_cache(tmp_path), Encoding(texts))
    (pack,) = tmp_path.glob("*.safetensors")
    tensors = load_file(pack)
    pack.write_bytes(pack.read_bytes()[:40])
    again = Encoding(texts)
    assert fetched(text_cache(tmp_path), again) == texts and sorted(again.asked) == sorted(texts)
    save_file(tensors, tmp_path / "stray.safetensors")
    with pytest.raises(CacheError, match="made by encoder none"):
        fetched(text_cache(tmp_path), Encoding(texts))
    (tmp_path / "encoder.json").write_text("{")
    with pytest.raises(CacheError, match=r"encoder\.json is broken"):
        text_cache(tmp_path)


def test_two_at_once_encode_each_text_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "ENTRIES_PER_BUCKET", 8)
    texts = [f"text {number}" for number in range(100)]
    encodings = [Encoding(texts, pause_seconds=0.01) for _ in range(3)]
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda one=one: results.append(fetched(text_cache(tmp_path), one, batch=4)))
        for one in encodings
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [texts] * 3
    asked = [text for one in encodings for text in one.asked]
    assert sorted(asked) == sorted(texts)
    assert sum(bool(one.asked) for one in encodings) > 1, "they share the work"


KILLED = """
import sys, time
from pathlib import Path
import torch
from data import cache
cache.ENTRIES_PER_BUCKET = 8
texts = [f"text {number}" for number in range(100)]
def encode(places):
    if len(list(Path(sys.argv[1]).glob("*.safetensors"))) >= 3:
        print("stuck", flush=True)
        time.sleep(60)
    return [torch.tensor(list(texts[place].encode()), dtype=torch.float16) for place in places]
kept = cache.Cache(Path(sys.argv[1]), kind="text", encoder_sha256="a" * 64)
list(kept.entries([cache.content_key(text.encode()) for text in texts], encode))
"""


def test_a_killed_process_leaves_its_packs_and_lets_go_of_its_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGKILL)
    kept = sum(len(load_file(pack)["keys"]) for pack in tmp_path.glob("*.safetensors"))
    assert kept > 0
    monkeypatch.setattr(cache_module, "ENTRIES_PER_BUCKET", 8)
    texts = [f"text {number}" for number in range(100)]
    rest = Encoding(texts)
    assert fetched(text_cache(tmp_path), rest) == texts
    assert len(rest.asked) == len(texts) - kept
    assert not list(tmp_path.glob("*.partial"))


# Latents


@pytest.fixture(scope="module")
def make_autoencoder() -> Callable[[int], Autoencoder]:
    def make(seed: int) -> Autoencoder:
        torch.manual_seed(seed)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4, "sample_size": 32}
        return Autoencoder(AutoencoderKL(**blocks, **sizes))

    return make


class Counting:
    """An encoder that counts the pictures it is given."""

    def __init__(self, encoder: Autoencoder) -> None:
        self.encoder, self.pictures = encoder, 0

    @property
    def digest(self) -> str:
        return self.encoder.digest

    def encode(self, pictures: Tensor) -> Tensor:
        self.pictures += len(pictures)
        return self.encoder.encode(pictures)


def test_latents_are_those_of_the_autoencoder_and_made_once(
    make_dataset: Callable[[], Dataset], make_autoencoder: Callable[[int], Autoencoder], tmp_path: Path
) -> None:
    dataset, encoder = make_dataset(), Counting(make_autoencoder(0))
    rows = list(range(len(dataset)))
    latents = latents_of(dataset, rows, encoder, tmp_path / "cache")
    assert latents.shape == (len(rows), 4, 16, 16) and encoder.pictures == len(rows)
    white = np.asarray(dataset.picture(3).convert("RGBA")).astype(float)
    alpha = white[..., 3:] / 255
    picture = torch.tensor(white[..., :3] * alpha + 255 * (1 - alpha)).permute(2, 0, 1)[None].float() / 127.5 - 1
    torch.testing.assert_close(latents[3:4], encoder.encode(picture), atol=0.02, rtol=0)
    encoder.pictures = 0
    assert torch.equal(latents_of(dataset, rows[::-1], encoder, tmp_path / "cache"), latents.flip(0))
    assert encoder.pictures == 0
    latents_of(dataset, rows, encoder, tmp_path / "cache", ground="black")
    assert encoder.pictures == len(rows)


def test_one_changed_byte_of_a_picture_is_one_new_latent(
    make_dataset: Callable[[], Dataset], make_autoencoder: Callable[[int], Autoencoder], tmp_path: Path
) -> None:
    dataset, encoder = make_dataset(), Counting(make_autoencoder(0))
    rows = list(range(len(dataset)))
    latents_of(dataset, rows, encoder, tmp_path / "cache")
    encoder.pictures = 0
    shown = dataset.picture_bytes(5)

    class Changed:
        """The dataset with one bit of one file turned: a chunk's reserved flag, which no reader minds."""

        def __getattr__(self, name: str) -> object:
            return getattr(dataset, name)

        def picture_bytes(self, row: int) -> bytes:
            content = dataset.picture_bytes(row)
            return content + b"\0" if row == 5 else content

    latents_of(Changed(), rows, encoder, tmp_path / "cache")  # type: ignore[arg-type]
    assert encoder.pictures == 1 and shown == dataset.picture_bytes(5)


def test_two_autoencoders_never_share(make_autoencoder: Callable[[int], Autoencoder]) -> None:
    one, same, other = make_autoencoder(0), make_autoencoder(0), make_autoencoder(1)
    assert one.digest == same.digest != other.digest
    with torch.no_grad():
        next(other.model.parameters()).add_(1)
    assert Autoencoder(other.model).digest != other.digest
    assert one.decode(one.encode(torch.zeros(1, 3, 32, 32))).shape == (1, 3, 32, 32)


def test_the_folder_says_whose_it_is(tmp_path: Path) -> None:
    folder = encoder_cache(tmp_path, "text", hashlib.sha256(b"weights").hexdigest()).folder
    assert json.loads((folder / "encoder.json").read_text())["encoder"].startswith(folder.name)
