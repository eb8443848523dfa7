"""The style descriptor is fitted by one command: the same weights twice, its card, and what it refuses."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from data.dataset import open_dataset
from data.errors import DatasetError
from data.record import Record, sample_key
from data.sample_cut import cut
from data.writer import DatasetWriter, Provenance
from evaluation.errors import EvaluationError
from evaluation.extractors.store import FeatureStore
from evaluation.style.descriptor import WEIGHTS_FILE, StyleDescriptor
from evaluation.style.statistics import StyleStatistics
from training.descriptor import DescriptorFit, lesson_of, write_head
from training.descriptor_head import Lesson, Recipe, centre_loss, contrastive_loss, fit_head
from training.errors import TrainingError

SETS = ("filled", "outlined", "grey")
LEARNT, HELD_OUT = 8, 18


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of three sets that draw the same subjects, two of them with unseen ones."""
    folder = tmp_path_factory.mktemp("datasets") / "sets"
    folder.mkdir()
    writer = DatasetWriter(folder)
    for name in SETS:
        for number in range(LEARNT + (HELD_OUT if name != "grey" else 0)):
            content = _drawn(name, number)
            writer.add(_record(name, number, "train" if number < LEARNT else "heldout_subject", content), content)
    writer.finish(Provenance(name="sets", policy="commercial", picture_px=128, origins=(), inputs_sha256=""))
    return folder


@pytest.fixture(scope="module")
def fitting(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> DescriptorFit:
    """Return small settings on those sets."""
    folder = tmp_path_factory.mktemp("fitted")
    small = {"hidden": 16, "dimensions": 8, "steps": 40, "judge_pictures": 20}
    return DescriptorFit(dataset=str(sets), out=str(folder / "descriptor"), cache=str(folder / "cache"), **small)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(fitting: DescriptorFit) -> Path:
    """Return the folder that was written."""
    return fitting.fit()


def test_the_folder_says_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = json.loads((folder / "atelier.json").read_text())
    figures = json.loads((folder / "figures.json").read_text())
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert card["weights_sha256"] == figures["weights_sha256"] == digest
    assert card["datasets"][0]["pictures"] == 3 * LEARNT
    assert {each["descriptor"] for each in figures["judged"]} == {
        "descriptor",
        "mean and deviation",
        "Gram",
        "pooled features",
    }
    assert "Same set or not" in (folder / "README.md").read_text()
    assert (folder / "ATTRIBUTION.md").read_text().startswith("# Attribution")


def test_it_tells_the_sets_apart(folder: Path) -> None:
    judged = json.loads((folder / "figures.json").read_text())["judged"]
    own = [each for each in judged if each["descriptor"] == "descriptor"]
    assert {each["px"] for each in own} == {64, 128}
    for each in own:
        assert {row["name"] for row in each["sets"]} == {"filled", "outlined"}
        assert all(row["areas"]["10 references"]["value"] > 0.95 for row in each["sets"])
        assert each["same_look_over_same_subject"] > 0.9


def test_equal_seeds_give_equal_bytes_and_another_seed_others(
    folder: Path, fitting: DescriptorFit, tmp_path: Path
) -> None:
    store = FeatureStore(StyleStatistics(), Path(fitting.cache) / "features")
    lesson = lesson_of(fitting.lesson(open_dataset(fitting.dataset), store))
    again = write_head(tmp_path, fit_head(lesson, fitting.recipe()), store.extractor.digest)
    other = write_head(tmp_path, fit_head(lesson, replace(fitting, seed=1).recipe()), store.extractor.digest)
    assert again == StyleDescriptor(folder).digest
    assert other != again


def test_too_few_sets_are_refused(sets: Path, fitting: DescriptorFit, tmp_path: Path) -> None:
    dataset = open_dataset(sets)
    one = cut(dataset, dataset.rows(collection="grey"), tmp_path / "one")
    with pytest.raises(TrainingError, match="has 1 sets to learn from, at least 3"):
        fitting.lesson(one, FeatureStore(StyleStatistics(), tmp_path / "cache"))


def test_what_is_written_is_an_extractor(folder: Path, tmp_path: Path) -> None:
    descriptor = StyleDescriptor(folder)
    pictures = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    described = FeatureStore(descriptor, tmp_path)(pictures)
    assert described.shape == (4, 8)
    assert torch.allclose(described.norm(dim=1), torch.ones(4))
    assert torch.equal(FeatureStore(descriptor, tmp_path)(pictures), described)


def test_bad_settings_and_data_are_refused_in_a_line(fitting: DescriptorFit, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"fitted\.dropout must be between 0 and 0\.9, got 2"):
        replace(fitting, dropout=2.0)
    with pytest.raises(DatasetError):
        replace(fitting, dataset=str(tmp_path / "nowhere")).fit()
    with pytest.raises(EvaluationError, match="no style descriptor"):
        StyleDescriptor(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"no weights")
    with pytest.raises(EvaluationError, match="holds no style descriptor"):
        StyleDescriptor(tmp_path)


def test_the_losses_are_their_formulas() -> None:
    units = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        logarithm = torch.logsumexp(torch.stack([5 * units[i] @ units[j] for j in others]), 0)
        expected += float(logarithm - 5 * units[i] @ units[i ^ 1]) / 6
    assert float(contrastive_loss(units, labels, 5.0)) == pytest.approx(expected, abs=1e-4)
    centres = torch.eye(4)[:3]
    assert centre_loss(torch.eye(4)[:3], centres, torch.arange(3)) < centre_loss(torch.eye(4)[:3], centres, labels[3:])


def test_the_head_learns_the_look_and_not_the_subject() -> None:
    generator = torch.Generator().manual_seed(0)
    looks, subjects = torch.randn(4, 10, generator=generator), 3 * torch.randn(30, 10, generator=generator)
    labels, shows = torch.arange(4).repeat_interleave(30), torch.arange(30).repeat(4)
    statistics = torch.cat([looks[labels], subjects[shows]], dim=1)  # the subject weighs nine times as much
    recipe = Recipe(
        hidden=16,
        dimensions=8,
        steps=60,
        pictures_a_set=8,
        learning_rate=1e-2,
        weight_decay=0.0,
        dropout=0.0,
        seed=0,
    )
    head = fit_head(Lesson(statistics=statistics, labels=labels, subjects=shows), recipe)
    cosines = head(statistics) @ head(statistics).T
    same_look = cosines[labels[:, None] == labels[None]].mean()
    same_subject = cosines[(shows[:, None] == shows[None]) & (labels[:, None] != labels[None])].mean()
    assert same_look > same_subject + 0.5


def _drawn(name: str, number: int) -> bytes:
    generator = torch.Generator().manual_seed(number)
    left, top, wide, high = (torch.rand(4, generator=generator) * 50 + 10).int().tolist()
    picture = Image.new("RGBA", (128, 128))
    pen = ImageDraw.Draw(picture)
    draw = pen.ellipse if number % 2 else pen.rectangle
    fill = {"filled": (220, 40 + number % 9, 30, 255), "outlined": None, "grey": (128, 128, 128, 255)}[name]
    draw((left, top, left + wide, top + high), fill=fill, outline="black", width=4 if name == "outlined" else 0)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=True)
    return buffer.getvalue()


def _record(name: str, number: int, split: str, content: bytes) -> Record:
    return Record(
        key=sample_key(name, f"shape-{number}"),
        caption=f"shape {number}",
        captions=(f"shape {number}",),
        subject=f"shape-{number}",
        collection=name,
        style=name,
        split=split,
        monochrome=False,
        licence="MIT",
        creator="The test",
        creator_url="",
        source_uri="",
        evidence="drawn by the test",
        sha256=hashlib.sha256(content).hexdigest(),
        retrieved="2026-01-01",
    )
