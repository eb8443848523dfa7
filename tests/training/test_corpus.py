"""Captions are encoded once: a second start, another rank and an edited caption find the rest in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data.cache import CACHE_VARIABLE, CacheError
from data.dataset import Dataset
from synthesis.text import TextEncoder, weights_digest
from training.corpus import encode_all, load_corpus


class Counting(TextEncoder):
    """Remembers what it was asked to encode."""

    asked: list[str]

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        self.asked += prompts
        return super().encode(prompts)


@pytest.fixture(scope="module")
def encoder() -> Counting:
    return Counting(longest_tokens=12)


@pytest.fixture(autouse=True)
def _forget(encoder: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.asked = []
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def test_features_are_those_of_the_encoder_fresh_or_kept(encoder: Counting) -> None:
    captions = ["a red fox", "", "an owl on a branch at night, looking at the moon and the stars above it", "a red fox"]
    expected, mask = TextEncoder.encode(encoder, captions)
    for _ in range(2):
        features, masks = encode_all(captions, encoder, 512)
        torch.testing.assert_close(features.float(), expected, atol=2e-3, rtol=0)
        assert torch.equal(masks, mask) and features.dtype == torch.float16
        assert not features[~masks].any()
    assert sorted(encoder.asked) == sorted(set(captions))


def test_a_second_start_encodes_nothing_and_gives_the_same(dataset: Dataset, encoder: Counting) -> None:
    rows = dataset.rows(split="train")
    first = load_corpus(dataset, rows, [1] * len(rows), encoder)
    assert encoder.asked
    encoder.asked = []
    second = load_corpus(dataset, rows, [1] * len(rows), encoder)
    assert not encoder.asked
    for name in ("captions", "caption_counts", "styles"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    for one, other in zip(vars(first.spoken).values(), vars(second.spoken).values(), strict=True):
        assert torch.equal(one, other)


def test_an_edited_caption_alone_is_encoded_anew(
    dataset: Dataset, encoder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = dataset.rows(split="train")
    load_corpus(dataset, rows, [1] * len(rows), encoder)
    encoder.asked = []
    records = list(dataset.records)
    record = records[rows[3]]
    edited = ("quite another caption", *record.captions[1:])
    records[rows[3]] = replace(record, caption=edited[0], captions=edited, caption_sources=())
    monkeypatch.setitem(dataset.__dict__, "records", records)
    load_corpus(dataset, rows, [1] * len(rows), encoder)
    assert encoder.asked == ["quite another caption"]


def test_another_encoder_finds_nothing_of_this_one(encoder: Counting, tmp_path: Path) -> None:
    encode_all(["a red fox"], encoder, 512)
    longer = TextEncoder(longest_tokens=13)
    assert longer.digest != encoder.digest
    with torch.no_grad():
        next(longer.model.parameters())[0, 0] += 1
    assert weights_digest(longer.model) != weights_digest(encoder.model)
    encode_all(["a red fox"], longer, 512)
    one, other = sorted((tmp_path / "cache" / "text").iterdir(), key=lambda folder: folder.name != encoder.digest[:16])
    (other / "encoder.json").replace(one / "encoder.json")
    with pytest.raises(CacheError, match=f"made by encoder {longer.digest}, this one is {encoder.digest}"):
        encode_all(["an owl"], encoder, 512)


def test_the_digest_is_that_of_what_decides_and_not_of_what_was_encoded(encoder: Counting) -> None:
    fresh = TextEncoder(longest_tokens=12)
    fresh.encode(["this sets the tokenizer's padding"])
    assert fresh.digest == encoder.digest
