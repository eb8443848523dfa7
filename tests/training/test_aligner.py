"""The aligner learns what pairs have in common, the same for a seed, never from held-out subjects."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.dataset import open_dataset
from evaluation.errors import EvaluationError
from evaluation.fidelity.aligner import Aligner
from evaluation.fidelity.retrieval import retrieval
from training.aligner import AlignerFit, chosen_rows, info_nce, learnt
from training.aligner_pairs import Pairs
from training.corpus_pictures import CorpusPictures, Shown, paint, painted
from training.errors import TrainingError

SETTINGS = AlignerFit(dataset="none", out="none", width=32, epochs=12, batch=64, dropout=0.0, learning_rate=3e-3)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _pairs(count: int, seed: int, mixing_ED: torch.Tensor) -> tuple[Pairs, torch.Tensor]:
    """Captions by chance, and features that are a linear picture of them with some noise."""
    generator = torch.Generator().manual_seed(seed)
    texts = torch.nn.functional.normalize(torch.randn(count, 384, generator=generator), dim=1)
    features = texts @ mixing_ED + 0.02 * torch.randn(count, 1280, generator=generator)
    captions = torch.arange(count)[:, None].expand(-1, 4).contiguous()
    return Pairs(features, captions, torch.ones(count, dtype=torch.long), torch.arange(count)), texts


@pytest.fixture(scope="module")
def mixing() -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    narrow = torch.randn(384, 12, generator=generator) @ torch.randn(12, 1280, generator=generator)
    return narrow / 12


def test_unseen_pictures_find_their_captions(mixing: torch.Tensor) -> None:
    pairs, texts = _pairs(512, 0, mixing)
    network = learnt(SETTINGS, pairs, texts)
    unseen, captions = _pairs(200, 1, mixing)
    with torch.inference_mode():
        scores = network.pictures(unseen.features) @ network.captions(captions).T
    assert retrieval(scores).recall[10].low > 0.5  # by chance it would be 0.05


def test_equal_seeds_give_equal_weights_and_others_do_not(mixing: torch.Tensor) -> None:
    pairs, texts = _pairs(128, 0, mixing)
    short = dataclasses.replace(SETTINGS, epochs=2, dropout=0.1)
    state = torch.random.get_rng_state()
    one, same = (learnt(short, pairs, texts).state_dict() for _ in range(2))
    other = learnt(dataclasses.replace(short, seed=1), pairs, texts).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["caption.weight"], other["caption.weight"])
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's chance is touched


def test_drawings_of_one_subject_are_no_negatives_of_each_other(mixing: torch.Tensor) -> None:
    pairs, texts = _pairs(8, 0, mixing)
    network = learnt(dataclasses.replace(SETTINGS, epochs=1, batch=8), pairs, texts)
    alone = dataclasses.replace(pairs, subjects=torch.zeros(8, dtype=torch.long))
    loss = info_nce(network, alone, torch.arange(8), texts, torch.tensor(3.0), phrasings=False)
    assert float(loss) == pytest.approx(0, abs=1e-6)


@given(st.text(min_size=1, max_size=20), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_ink_can_be_told_from_its_ground(key: str, seed: int) -> None:
    ink, ground = paint(key, seed)
    assert (ink, ground) == paint(key, seed)
    black, white = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((3, 2, 2), 255, dtype=torch.uint8)
    assert painted(black, ink, ground)[:, 0, 0].tolist() == list(ink)
    assert painted(white, ink, ground)[:, 0, 0].tolist() == list(ground)
    weights = torch.tensor([0.299, 0.587, 0.114])
    assert abs(float(weights @ (torch.tensor(ink) - torch.tensor(ground)).float())) >= 0.35 * 255 - 1e-3


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 0), ("epochs", 0), ("painted_share", 1.5), ("dropout", 1), ("batch", 1), ("seed", -1), ("width", "512")],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(TrainingError, match=rf"fitted\.{setting} .* must lie in"):
        dataclasses.replace(SETTINGS, **{setting: value})  # type: ignore[arg-type]


# --- on drawings


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> AlignerFit:
    """A fit on few drawings of the sample."""
    folder = tmp_path_factory.mktemp("aligner")
    return AlignerFit(
        dataset="assets/sample/base",
        out=str(folder / "aligner"),
        cache=str(folder / "cache"),
        most_per_set=1,
        most_held_out_per_set=2,
        width=16,
        epochs=2,
        batch=8,
    )


@pytest.fixture(scope="module")
def folder(fit: AlignerFit) -> Path:
    return fit.fit()


def test_rows_are_of_their_split_and_a_longer_choice_holds_the_shorter(fit: AlignerFit) -> None:
    dataset = open_dataset(fit.dataset)
    few, more = chosen_rows(dataset, "train", 2), chosen_rows(dataset, "train", 5)
    assert set(few) < set(more) and {dataset.records[row].split for row in more} == {"train"}
    assert chosen_rows(dataset, "train", 0) == dataset.rows(split="train")
    learnt_subjects = {dataset.records[row].subject for row in chosen_rows(dataset, "train", 0)}
    assert not learnt_subjects & {dataset.records[row].subject for row in chosen_rows(dataset, "heldout_subject", 0)}


def test_what_is_written_loads_as_a_scorer(folder: Path) -> None:
    aligner = Aligner(folder)
    assert aligner.name == "aligner" and aligner.identity.startswith("aligner@")
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    points, captions = aligner.of_features(aligner.extractor(pictures)), aligner.of_captions(["a cat", "a dog"])
    assert points.shape == captions.shape == (2, 384)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(2))
    assert {file.name for file in folder.iterdir()} == {
        "aligner.safetensors",
        "aligner.json",
        "README.md",
        "ATTRIBUTION.md",
    }


def test_the_card_tells_what_was_learnt_and_how_well(folder: Path, fit: AlignerFit) -> None:
    card = json.loads((folder / "aligner.json").read_text())
    assert card["datasets"][0]["version"] == open_dataset(fit.dataset).card.version
    assert card["config"]["seed"] == card["seed"] == 0
    for directions in card["retrieval"].values():
        for results in directions.values():
            assert set(results) == {"aligner", "nearest neighbour", "chance"}
    text = (folder / "README.md").read_text()
    assert "no CLIP" in text and "recall@10" in text


def test_a_second_fit_takes_its_features_from_the_cache_and_writes_the_same(
    folder: Path, fit: AlignerFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (folder / "aligner.safetensors").read_bytes()
    monkeypatch.setattr("evaluation.extractors.store.fed", lambda *_: pytest.fail("looked at again"))
    assert (fit.fit() / "aligner.safetensors").read_bytes() == weights


def test_an_aligner_of_other_networks_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    card = json.loads((tmp_path / "aligner.json").read_text())
    card["fitted_to"]["pictures"] = "another@000000000000/64px"
    (tmp_path / "aligner.json").write_text(json.dumps(card))
    with pytest.raises(EvaluationError, match="was fitted to pictures of another@"):
        _ = Aligner(tmp_path).extractor
    (tmp_path / "aligner.safetensors").write_bytes(b"spoilt")
    with pytest.raises(EvaluationError, match="does not hold an aligner's weights"):
        Aligner(tmp_path)


def test_too_little_to_learn_from_is_told(fit: AlignerFit) -> None:
    with pytest.raises(TrainingError, match="are needed"):
        dataclasses.replace(fit, dataset="assets/sample/openmoji-learn").fit()


def test_a_painted_drawing_is_another_picture(fit: AlignerFit) -> None:
    dataset = open_dataset(fit.dataset)
    row = next(row for row in dataset.rows(split="train") if dataset.records[row].monochrome)
    pictures = CorpusPictures(dataset, [Shown(row), Shown(row, (200, 0, 0), (0, 0, 0))], 32)
    assert pictures.key(0) != pictures.key(1)
    plain, other = pictures.batch([0, 1])
    assert other[0].max() > other[1].max() and not torch.equal(plain, other)
