"""Copies: which pairs are found, which are confirmed, and that held-out drawings do not leak into training."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from data.build import BuildSettings, Rules, build_dataset
from data.dataset import Dataset
from data.duplicates import Duplicates, find_copies
from data.errors import DataError
from data.hamming import near_pairs
from data.iconify import IconifySource
from data.looks import LOOK_PX, look_of, perceptual_hash
from data.policy import load_policy
from data.splits import held_out
from evaluation.extractors.efficientnet import EfficientNetLite0

SETTINGS = BuildSettings(name="tiny", picture_px=64, workers=1)
STAR = "M12 2l3 7h7l-6 4 2 8-6-5-6 5 2-8-6-4h7z"


class MakeSet(Protocol):
    def __call__(self, prefix: str, icons: dict[str, Any], **rest: Any) -> Path: ...


def subjects(*, held: bool) -> list[str]:
    return [name for name in (f"thing{letter}" for letter in "abcdefghijklmnopqrstuvwxyz") if held_out(name) is held]


HELD, KNOWN = subjects(held=True)[0], subjects(held=False)


def star(shift: float = 0, fill: str = "#c33") -> dict[str, str]:
    return {"body": f'<path transform="translate({shift})" fill="{fill}" d="{STAR}"/><circle cx="4" cy="20" r="2"/>'}


def ring() -> dict[str, str]:
    return {"body": '<path fill="#c33" d="M2 2h20v20H2zM7 7v10h10V7z"/>'}


def built(path: Path, out: Path, duplicates: Duplicates) -> Dataset:
    rules = Rules(duplicates=duplicates)
    return build_dataset(IconifySource(path), load_policy("commercial"), out, SETTINGS, rules=rules)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=30), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_all_pairs_within_the_radius_are_found_and_no_other(hashes: list[int], radius: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    near = [value ^ int(sum(1 << int(bit) for bit in random.choice(64, radius, replace=False))) for value in hashes]
    every = np.array([*hashes, *near], np.uint64)
    found = {
        (int(left), int(right), int(distance))
        for block in near_pairs(every, radius)
        for left, right, distance in zip(*block, strict=True)
    }
    distances = np.bitwise_count(every[:, None] ^ every[None, :])
    expected = {
        (i, j, int(distances[i, j]))
        for i in range(len(every))
        for j in range(i + 1, len(every))
        if distances[i, j] <= radius
    }
    assert found == expected


def test_a_near_copy_of_a_held_out_drawing_is_not_trained_on(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set("dots", {HELD: star(), KNOWN[0]: star(0.1), KNOWN[1]: ring()}, palette=True)
    dataset = built(path, tmp_path / "out", Duplicates())
    assert {record.subject: record.split for record in dataset.records} == {
        HELD: "heldout_subject",
        KNOWN[1]: "train",
    }
    assert dataset.card.refused == {"near copy of held-out": 1}
    (refused,) = lines(dataset.folder / "refusals.jsonl")
    assert refused["key"] == f"dots__{KNOWN[0]}"
    assert f"of dots__{HELD}, which is held out" in refused["detail"]


def test_of_equal_pictures_the_held_out_one_stays(make_set: MakeSet, tmp_path: Path) -> None:
    for number, known in enumerate(KNOWN[:6]):  # whatever the order of the keys
        path = make_set(f"set{number}", {HELD: star(), known: star()}, palette=True)
        dataset = built(path, tmp_path / str(number), Duplicates())
        assert [record.split for record in dataset.records] == ["heldout_subject"]
        assert dataset.card.refused == {"exact duplicate": 1}


@pytest.mark.parametrize(
    ("near", "kept", "refused", "listed"),
    [("list", 3, {}, 1), ("refuse", 2, {"near duplicate": 1}, 0), ("keep", 3, {}, 0)],
)
def test_near_copies_within_training(
    near: str, kept: int, refused: dict[str, int], listed: int, make_set: MakeSet, tmp_path: Path
) -> None:
    make_set("dots", {KNOWN[0]: star(), KNOWN[1]: ring()}, palette=True)
    make_set("tiles", {KNOWN[0]: star(0.1)}, palette=True)  # across sources
    dataset = built(tmp_path / "packages", tmp_path / "out", Duplicates(near=near))
    assert (len(dataset), dataset.card.refused, dataset.card.near_copies) == (kept, refused, listed)
    copies = lines(dataset.folder / "near_copies.jsonl")
    assert len(copies) == listed
    for pair in copies:
        assert {pair["key"], pair["of"]} == {f"dots__{KNOWN[0]}", f"tiles__{KNOWN[0]}"}
        assert pair["distance_bits"] <= 2 and pair["difference_levels"] <= 4


def test_another_colour_is_no_copy(make_set: MakeSet, tmp_path: Path) -> None:
    # Both greys are alike to a hash of luminance.
    path = make_set("dots", {HELD: star(fill="#c33"), KNOWN[0]: star(fill="#2d7a2d")}, palette=True)
    assert len(built(path, tmp_path / "out", Duplicates(radius_bits=6))) == 2


def pasted(side: int, corner: int) -> bytes:
    """A coloured pattern with a small square in it."""
    picture = Image.new("RGBA", (128, 128), "#eed")
    pen = ImageDraw.Draw(picture)
    for step in range(0, 128, 32):
        pen.ellipse((step, 127 - step, step + 40, 167 - step), fill="#369")
    pen.rectangle((corner, corner, corner + side, corner + side), fill="#c33")
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def test_features_confirm_what_the_hash_proposes(tmp_path: Path) -> None:
    pictures = [pasted(20, 4), pasted(20, 5), pasted(80, 24)]
    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    looks = np.stack([look_of(picture) for picture in opened])
    hashes = np.zeros(3, np.uint64)  # as if the hash saw no difference
    asked = Duplicates(near="refuse", difference_levels=255, similarity=0.95, features=EfficientNetLite0())
    heldout = np.array([True, False, False])
    copies = find_copies(hashes, heldout, lambda rows: looks[rows], lambda row: pictures[row], asked, tmp_path)
    assert list(zip(copies.left, copies.right, strict=True)) == [(0, 1)]
    assert copies.similarity[0] > 0.95
    assert copies.figures(0)["similarity"] == pytest.approx(copies.similarity[0], abs=1e-3)
    assert looks.shape == (3, LOOK_PX, LOOK_PX, 3)


def test_a_hash_is_64_bits_of_what_is_on_white() -> None:
    white, ink = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(ink).rectangle((8, 8, 30, 50), fill="black")
    assert len(perceptual_hash(white)) == len(perceptual_hash(ink)) == 16
    assert int(perceptual_hash(ink), 16).bit_count() == 32


def test_records_tell_the_hash(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set("dots", {KNOWN[1]: ring()}, palette=True)
    record = built(path, tmp_path / "out", Duplicates()).records[0]
    assert len(record.phash) == 16 and int(record.phash, 16)
    assert (record.width_px, record.height_px) == (0, 0)


def test_other_settings_are_other_inputs(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set("dots", {KNOWN[1]: ring()}, palette=True)
    first = built(path, tmp_path / "one", Duplicates())
    second = built(path, tmp_path / "two", Duplicates(near="refuse"))
    assert first.card.version == second.card.version
    assert first.card.inputs_sha256 != second.card.inputs_sha256


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"near": "drop"}, "list, refuse, keep"),
        ({"radius_bits": 8}, "0 to 7"),
        ({"difference_levels": -1}, "0 to 255"),
        ({"similarity": 1.5}, "0 to 1"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=rf"duplicates\.{next(iter(wrong))} is .*{told}"):
        Duplicates(**wrong)
