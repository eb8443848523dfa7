"""CLIPScore is torchmetrics' figure; the panel's share is 1 for what was asked for, and 0 for what was not."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.multimodal import clip_score

from data.dataset import open_dataset
from evaluation.drawing import Order
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.fidelity.aligner import Aligner
from evaluation.fidelity.captions import PooledCaptions
from evaluation.fidelity.clip import ClipScore
from evaluation.fidelity.retrieval import chance, ranks, retrieval
from evaluation.intervals import Interval
from evaluation.measurement import Column
from evaluation.panels.fidelity import FidelityPanel
from evaluation.scene import Scene
from evaluation.studio import Studio
from synthesis.text import SHIPPED_ENCODER, encoder_folder

COUNT = 24


# --- CLIPScore


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny random CLIP and a tokenizer that knows letters alone."""
    import transformers as t

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: place for place, word in enumerate(words)}
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": len(words), "max_position_embeddings": 12, "eos_token_id": 1, "bos_token_id": 0}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    t.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12).save_pretrained(folder)
    return folder


def _pictures(count: int, px: int = 16) -> Tensor:
    return torch.randint(0, 256, (count, 3, px, px), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_clipscore_agrees_with_torchmetrics(tiny_clip: Path) -> None:
    import transformers as t

    pictures, captions = _pictures(4), ["cat", "red dog", "a b c", "zebra"]
    ours = ClipScore(tiny_clip)
    model, tokenizer = t.CLIPModel.from_pretrained(tiny_clip).eval(), t.CLIPTokenizer.from_pretrained(tiny_clip)

    class Model:
        config = model.config

        def to(self, _device: object) -> Model:
            return self

        def get_image_features(self, values: Tensor) -> Tensor:
            return model.get_image_features(pixel_values=values).pooler_output.detach()  # type: ignore[no-any-return]

        def get_text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
            output = model.get_text_features(input_ids=ids, attention_mask=mask)
            return output.pooler_output.detach()  # type: ignore[no-any-return]

    def processor(**given: Any) -> dict[str, Tensor]:
        if "text" in given:
            return dict(tokenizer(given["text"], padding=True, return_tensors="pt"))
        return {"pixel_values": ours.extractor._preprocess(torch.stack(given["images"]))}

    cosines = ours.of_features(ours.extractor(pictures)) @ ours.of_captions(captions).T
    for place, caption in enumerate(captions):
        theirs = clip_score(pictures[place], caption, lambda: (Model(), processor))
        assert float(ours.score(cosines)[place, place]) == pytest.approx(float(theirs), abs=1e-4)


def test_cosines_below_zero_count_as_none(tiny_clip: Path) -> None:
    assert ClipScore(tiny_clip).score(torch.tensor([-0.5, 0.0, 0.25])).tolist() == [0, 0, 25]


def test_long_captions_are_cut_and_counted(tiny_clip: Path) -> None:
    scorer = ClipScore(tiny_clip)
    long = "abcdefghijklmnopq"
    assert scorer.cut(["cat", long, "dog"]) == 1
    assert scorer.of_captions([long]).shape == (1, 8)


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    import transformers as t

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    t.Dinov2Model(t.Dinov2Config(**sizes, image_size=16, patch_size=8)).save_pretrained(tmp_path)
    with pytest.raises(EvaluationError, match="is no CLIP with both halves"):
        ClipScore(tmp_path)


def test_empty_captions_are_refused(tiny_clip: Path) -> None:
    with pytest.raises(EvaluationError, match="a caption is empty"):
        ClipScore(tiny_clip).of_captions(["cat", "  "])


# --- retrieval


@given(st.permutations(range(7)))
@settings(max_examples=20, deadline=None)
def test_the_rank_of_what_is_found_first_is_one(order: list[int]) -> None:
    scores = torch.eye(7)[:, order]
    own = ranks(scores)
    assert ((own == 1) == torch.tensor([place == order[place] for place in range(7)])).all()


def test_equal_scores_are_no_finds() -> None:
    result = retrieval(torch.zeros(40, 40))
    assert result.median_rank.value == 40 and result.recall[10].value == 0


def test_chance_is_what_random_scores_give() -> None:
    scores = torch.rand(1500, 1500, generator=torch.Generator().manual_seed(0))
    found, expected = retrieval(scores), chance(1500)
    for cut, interval in expected.recall.items():
        assert found.recall[cut].low <= interval.value <= found.recall[cut].high
    assert found.median_rank.low <= expected.median_rank.value <= found.median_rank.high


# --- the panel


class _MeanColour:
    """The mean colour in -1..1 as features."""

    name, digest, dimensions, preprocessing, family = "mean", "0" * 64, 3, "none", "other"
    device = torch.device("cpu")

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        return pictures_B3HW.float().mean(dim=(2, 3)) / 127.5 - 1


class _ColourScorer:
    """Captions are colours written as hexadecimal digits: a scorer that can be reckoned with by hand."""

    name, identity = "colours", "colours@0"

    def __init__(self) -> None:
        self.extractor = _MeanColour()

    def of_features(self, features_ND: Tensor) -> Tensor:
        return functional.normalize(features_ND, dim=1)

    def of_captions(self, captions: Sequence[str]) -> Tensor:
        return self.of_features(_MeanColour()(_painted(captions)))

    def score(self, cosines: Tensor) -> Tensor:
        return cosines

    def cut(self, captions: Sequence[str]) -> int:
        return sum(len(caption) > 6 for caption in captions)


def _painted(captions: Sequence[str]) -> Tensor:
    colours = torch.tensor([list(bytes.fromhex(caption[:6])) for caption in captions], dtype=torch.uint8)
    return colours[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


CAPTIONS = tuple(
    bytes(colour).hex()
    for colour in torch.randint(0, 256, (COUNT, 3), generator=torch.Generator().manual_seed(3)).tolist()
)
MakeScene = Callable[..., Scene]


@pytest.fixture(scope="module")
def make_scene(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Path]) -> MakeScene:
    """Return a maker of scenes whose real drawings are what their captions say."""
    judge = open_dataset(make_dataset(tmp_path_factory.mktemp("judge") / "shapes", 4))
    studio = Studio(_MeanColour(), cache=tmp_path_factory.mktemp("cache"), console=Console(file=io.StringIO()))

    def make(made: Sequence[str], plain: Sequence[str] | None = None, captions: Sequence[str] = CAPTIONS) -> Scene:
        def column(title: str, colours: Sequence[str]) -> Column:
            return studio.column(title, title, _painted(colours))

        return Scene(
            kind="brand",
            suffix="brand",
            seed=0,
            captions=tuple(captions),
            made=column("Made", made),
            real=column("Real", captions),
            floor=column("Floor", captions),
            plain=column("Plain", plain) if plain else None,
            judge=judge,
            judge_rows=(0,),
            floor_rows=(1,),
            studio=studio,
        )

    return make


def _figures(scene: Scene) -> dict[str, Any]:
    section = FidelityPanel(scorer=_ColourScorer()).measure(scene)
    assert not section.missing
    return {figure.name: figure for figure in section.figures}


def test_what_was_asked_for_stands_at_the_upper_mark(make_scene: MakeScene) -> None:
    figures = _figures(make_scene(CAPTIONS))
    assert figures["colours_brand"].value == pytest.approx(figures["colours_real"].value)
    assert figures["colours_share"].value == pytest.approx(1) and figures["colours_share"].low > 0.99
    assert figures["colours_shuffled"].high < figures["colours_real"].low


def test_pictures_of_other_prompts_stand_at_the_lower_mark(make_scene: MakeScene) -> None:
    scene = make_scene(CAPTIONS[1:] + CAPTIONS[:1])
    share = _figures(scene)["colours_share"]
    assert share.low < 0 < share.high or share.value < 0.2
    section = FidelityPanel(scorer=_ColourScorer()).measure(scene)
    assert [finding.tone for finding in section.findings] == ["bad"]


def test_the_mean_over_other_captions_is_that_of_all_shuffles(make_scene: MakeScene) -> None:
    scene, scorer = make_scene(CAPTIONS), _ColourScorer()
    points = scorer.of_captions(CAPTIONS).double()
    off = (points @ points.T)[~torch.eye(COUNT, dtype=torch.bool)]
    assert _figures(scene)["colours_shuffled"].value == pytest.approx(float(off.mean()))


def test_the_difference_to_the_unadapted_is_paired(make_scene: MakeScene) -> None:
    wrong = CAPTIONS[1:2] + CAPTIONS[:1] + CAPTIONS[2:]
    figures = _figures(make_scene(CAPTIONS, plain=wrong))
    gain = figures["colours_gain"]
    assert gain.value == pytest.approx(figures["colours_brand"].value - figures["colours_unadapted"].value)
    same = _figures(make_scene(wrong, plain=wrong))["colours_gain"]
    assert (same.value, same.low, same.high) == (0, 0, 0)  # no spread of prompts remains in a paired difference


def test_what_compare_pairs_by_is_kept(make_scene: MakeScene) -> None:
    wrong = CAPTIONS[1:2] + CAPTIONS[:1] + CAPTIONS[2:]
    section = FidelityPanel(scorer=_ColourScorer()).measure(make_scene(CAPTIONS, plain=wrong))
    figures = {figure.name: figure for figure in section.figures}
    assert section.estimates.keys() == figures.keys()
    for name, estimate in section.estimates.items():
        assert estimate.interval() == Interval(figures[name].value, figures[name].low, figures[name].high)
    (scores,) = section.per_picture
    assert scores.identity == figures[scores.name].identity and len(scores.values) == COUNT
    assert float(scores.values.mean()) == pytest.approx(figures["colours_brand"].value)


def test_an_adapter_that_forgets_its_prompts_is_told(make_scene: MakeScene) -> None:
    half = CAPTIONS[: COUNT // 2] + CAPTIONS[-1:] + CAPTIONS[COUNT // 2 : -1]
    section = FidelityPanel(scorer=_ColourScorer()).measure(make_scene(half, plain=CAPTIONS))
    assert "The adapter costs prompt fidelity" in section.findings[-1].sentence
    worst = section.grids[0].rows[0]
    assert worst.caption in CAPTIONS[COUNT // 2 :] and len(worst.tiles) == 3


def test_a_style_that_the_scorer_reads_less_well_is_no_lost_prompt(make_scene: MakeScene) -> None:
    half = CAPTIONS[: COUNT // 2] + CAPTIONS[-1:] + CAPTIONS[COUNT // 2 : -1]
    scene = make_scene(half, plain=CAPTIONS)
    faded = [bytes((byte + 60) // 2 for byte in bytes.fromhex(caption)).hex() for caption in CAPTIONS]
    scene = dataclasses.replace(scene, real=scene.studio.column("Real", "Real", _painted(faded)))
    assert "no proof of lost prompts" in FidelityPanel(scorer=_ColourScorer()).measure(scene).findings[-1].sentence


def test_prompts_are_those_that_were_drawn(make_scene: MakeScene) -> None:
    scene = make_scene(CAPTIONS)
    orders = tuple(Order(prompt=caption, seed=0) for caption in CAPTIONS)
    styled = dataclasses.replace(scene, orders=orders, captions=tuple(f"{one} · noto" for one in CAPTIONS))
    assert _figures(styled)["colours_brand"].value == _figures(scene)["colours_brand"].value


def test_long_captions_are_told_in_the_note(make_scene: MakeScene) -> None:
    scene = make_scene(CAPTIONS, captions=(CAPTIONS[0] + "ff", *CAPTIONS[1:]))
    assert "1 of 24 captions are longer than it reads" in FidelityPanel(scorer=_ColourScorer()).measure(scene).note


def test_what_cannot_be_measured_is_said(make_scene: MakeScene) -> None:
    panel = FidelityPanel(scorer=_ColourScorer())
    folder = dataclasses.replace(make_scene(CAPTIONS), kind="pictures")
    assert "no captions" in panel.measure(folder).missing
    alike = make_scene(CAPTIONS[:1] * COUNT, captions=CAPTIONS[:1] * COUNT)
    assert "all captions are alike" in panel.measure(alike).missing
    with pytest.raises(TooFewPicturesError, match="8 pictures are too few"):
        panel.measure(make_scene(CAPTIONS[:8], captions=CAPTIONS[:8]))


def test_the_identity_names_the_scorer_and_the_count(make_scene: MakeScene) -> None:
    figure = _figures(make_scene(CAPTIONS))["colours_brand"]
    assert figure.identity.startswith("colours-mean/colours@0/8px/shapes@") and figure.identity.endswith("N=24")


def test_the_panel_works_with_a_clip(make_scene: MakeScene, tiny_clip: Path) -> None:
    section = FidelityPanel(scorer=ClipScore(tiny_clip)).measure(make_scene(CAPTIONS))
    assert {figure.name for figure in section.figures} == {
        "clipscore_brand",
        "clipscore_real",
        "clipscore_shuffled",
        "clipscore_share",
    }


# --- captions and the aligner


def test_pooled_captions_are_the_mean_over_tokens_whatever_stands_beside_them() -> None:
    import transformers as t

    folder = encoder_folder(SHIPPED_ENCODER)
    model = t.AutoModel.from_pretrained(folder).eval().half().float()
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    captions = ["a red apple", "arrow", "a symbol for a printer that is out of paper"]
    pooled = PooledCaptions()(captions)
    for place, caption in enumerate(captions):
        with torch.inference_mode():
            tokens = model(**tokenizer(caption, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(pooled[place], functional.normalize(tokens.mean(dim=0), dim=0), rtol=1e-4, atol=1e-5)


def test_captions_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = PooledCaptions(tmp_path)(["a cat", "a dog", "a cat"])
    again = PooledCaptions(tmp_path)
    monkeypatch.setattr(again, "_encoded", lambda _captions: pytest.fail("encoded again"))
    assert torch.equal(again(["a dog", "a cat"]), first[[1, 2]])
    with pytest.raises(EvaluationError, match="a caption is empty"):
        again([""])


def test_a_folder_without_an_aligner_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no aligner at .*: atelier fit fitted=aligner out="):
        Aligner(tmp_path)
    (tmp_path / "aligner.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"aligner\.json is broken"):
        Aligner(tmp_path)
