"""Adapters: the formula, the round trip, several at once, and files that must not reach the network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthesis.adapter import attach_adapter
from synthesis.errors import SynthesisError
from synthesis.pipeline import MultiTaskPipeline
from synthesis.request import PictureRequest
from synthesis.testing import make_tiny_pipeline

if TYPE_CHECKING:
    from tests.synthesis.conftest import Load, MakeBrand, MakeCondition, MakeNetwork

WEIGHTS = "adapter_model.safetensors"
LAYER = "blocks.1.attention.qkv"
BRANDED = 3  # the row of the style table that is the brand's


def inputs(make_condition: MakeCondition, style: int = BRANDED) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    told = make_condition(2).tensors()
    noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return (noise, torch.tensor([0.2, 0.7])), told | {"style": torch.full((2,), style)}


def trained(network: Any, *, rank: int = 4, alpha: float = 6, name: str = "default") -> Any:
    branded = attach_adapter(network, rank=rank, alpha=alpha, name=name).eval()
    with torch.no_grad():
        for parameter in branded.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(rank))
    return branded


def draw(pipeline: MultiTaskPipeline, brand: str | None) -> bytes:
    request = PictureRequest(prompts=("a cat", "a dog"), seeds=(1, 2), brand=brand, num_inference_steps=2)
    *_, last = pipeline.stream(request)
    return b"".join(picture.tobytes() for picture in last.pictures())


def test_a_new_adapter_changes_nothing(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    (x, t), told = inputs(make_condition)
    plain = make_network()(x, t, **told)
    with torch.no_grad():
        torch.testing.assert_close(attach_adapter(make_network(), rank=4, alpha=4).eval()(x, t, **told), plain)


def test_only_the_adapter_and_the_brands_style_row_learn(
    make_network: MakeNetwork, make_condition: MakeCondition
) -> None:
    network = make_network()
    branded = attach_adapter(network, rank=2, alpha=2)
    learnt = {name: weight for name, weight in branded.named_parameters() if weight.requires_grad}
    rows = [weight for name, weight in learnt.items() if "embed_style" in name]
    assert [tuple(row.shape) for row in rows] == [(1, 32)]
    assert all("lora_A" in name or "lora_B" in name or "embed_style" in name for name in learnt)
    adapted = {name.split(".lora_")[0].rpartition("blocks.")[2] for name in learnt if "lora_" in name}
    layers = ["attention.qkv", "attention.out", "text_attention.query", "text_attention.key_value"]
    layers += ["text_attention.out", "mlp.gate_up", "mlp.down"]
    assert adapted == {f"{block}.{layer}" for block in range(2) for layer in layers}
    (x, t), told = inputs(make_condition)
    branded(x, t, **told).square().mean().backward()
    assert rows[0].grad is not None and rows[0].grad.abs().sum() > 0


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1), (4, 6), (8, 2)])
def test_the_merged_weight_is_base_plus_alpha_over_rank_b_a(make_network: MakeNetwork, rank: int, alpha: float) -> None:
    base = make_network().get_submodule(LAYER).weight.clone()
    branded = trained(make_network(), rank=rank, alpha=alpha)
    layer = branded.get_base_model().get_submodule(LAYER)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    merged = branded.merge_and_unload().get_submodule(LAYER).weight
    torch.testing.assert_close(merged, base + alpha / rank * b @ a, atol=1e-5, rtol=1e-5)


def test_the_merged_network_draws_what_the_adapted_one_draws(
    make_network: MakeNetwork, make_condition: MakeCondition
) -> None:
    (x, t), told = inputs(make_condition)
    with torch.no_grad():
        branded = trained(make_network())
        adapted, plain = branded(x, t, **told), make_network()(x, t, **told)
        merged = branded.merge_and_unload()(x, t, **told)
    assert (adapted - plain).abs().max() > 1e-2
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=1e-5)


def test_other_styles_keep_their_vectors(make_network: MakeNetwork) -> None:
    network = make_network()
    before = network.embed_style.weight.clone()
    merged = trained(network).merge_and_unload().embed_style.weight
    assert torch.equal(merged[:BRANDED], before[:BRANDED])
    assert not torch.equal(merged[BRANDED], before[BRANDED])


def test_saved_and_loaded_it_draws_the_same(
    make_network: MakeNetwork, make_condition: MakeCondition, tmp_path: Path
) -> None:
    (x, t), told = inputs(make_condition)
    branded = trained(make_network())
    branded.save_pretrained(str(tmp_path))
    again = PeftModel.from_pretrained(make_network(), str(tmp_path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(x, t, **told), branded(x, t, **told), atol=1e-6, rtol=1e-6)
    assert sum(tensor.numel() for tensor in load_file(tmp_path / WEIGHTS).values()) == sum(
        weight.numel() for weight in branded.parameters() if weight.requires_grad
    )


@pytest.mark.parametrize("rank", [0, 257])
def test_ranks_out_of_range_are_refused(make_network: MakeNetwork, rank: int) -> None:
    with pytest.raises(SynthesisError, match=f"rank {rank} must lie in 1 to 256"):
        attach_adapter(make_network(), rank=rank, alpha=1)


def test_two_brands_draw_what_each_alone_draws_in_any_order(load: Load, make_brand: MakeBrand) -> None:
    acme, zeta = make_brand(1), make_brand(2, "zeta")
    alone: dict[str | None, bytes] = {None: draw(load(), None)}
    for name, folder in (("acme", acme), ("zeta", zeta)):
        pipeline = load()
        pipeline.load_brand(folder, name)
        alone[name] = draw(pipeline, name)
    assert len(set(alone.values())) == 3
    both = load()
    both.load_brand(acme, "acme")
    both.load_brand(zeta, "zeta")
    for brand in ("zeta", "acme", None, "acme", "zeta", None, None, "zeta"):
        assert draw(both, brand) == alone[brand], f"after switching to {brand}"
    both.unload_brand("acme")
    assert both.brands == ("zeta",)
    assert draw(both, "zeta") == alone["zeta"] and draw(both, None) == alone[None]
    both.unload_brand("zeta")
    assert not both.brands and draw(both, None) == alone[None]


def test_a_brand_can_be_loaded_again_and_replaced(load: Load, make_brand: MakeBrand) -> None:
    first, second = make_brand(1), make_brand(2)
    pipeline = load()
    pipeline.load_brand(first, "acme")
    drawn = draw(pipeline, "acme")
    pipeline.load_brand(first, "acme")
    assert draw(pipeline, "acme") == drawn
    pipeline.load_brand(second, "acme")
    assert draw(pipeline, "acme") != drawn and pipeline.brands == ("acme",)


def test_requests_under_way_keep_their_brand(load: Load, make_brand: MakeBrand) -> None:
    """A server draws requests in turns, a step each."""
    pipeline = load()
    pipeline.load_brand(make_brand(1), "acme")
    pipeline.load_brand(make_brand(2), "zeta")
    expected = {brand: draw(pipeline, brand) for brand in ("acme", "zeta", None)}
    streams = {
        brand: pipeline.stream(
            PictureRequest(prompts=("a cat", "a dog"), seeds=(1, 2), brand=brand, num_inference_steps=2)
        )
        for brand in expected
    }
    for _ in range(2):
        drawn = {brand: next(stream) for brand, stream in streams.items()}
    for brand, last in drawn.items():
        assert last.final and b"".join(picture.tobytes() for picture in last.pictures()) == expected[brand]


@pytest.fixture(scope="module")
def acme(make_brand: MakeBrand) -> Path:
    """Return a sound brand's folder."""
    return make_brand(1)


def change_weights(change: Callable[[dict[str, Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return apply


def change_config(**values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return apply


def key_of(weights: dict[str, Tensor], part: str) -> str:
    return next(key for key in sorted(weights) if part in key)


def add_foreign_module(weights: dict[str, Tensor]) -> None:
    weights["base_model.model.blocks.7.attention.qkv.lora_A.weight"] = torch.zeros(2, 32)


def add_whole_weight(weights: dict[str, Tensor]) -> None:
    weights["base_model.model.final_linear.weight"] = torch.zeros(192, 32)


def widen(weights: dict[str, Tensor]) -> None:
    weights[key_of(weights, "qkv.lora_A")] = torch.zeros(2, 48)


def drop_style(weights: dict[str, Tensor]) -> None:
    del weights[key_of(weights, "embed_style")]


def drop_half_a_layer(weights: dict[str, Tensor]) -> None:
    del weights[key_of(weights, "qkv.lora_B")]


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "foreign module": (change_weights(add_foreign_module), "has a module that the backbone lacks: blocks.7"),
    "whole weight": (change_weights(add_whole_weight), "has a module that the backbone lacks: final_linear.weight"),
    "width": (change_weights(widen), r"has shape \(2, 48\), the backbone needs \(2, 32\)"),
    "rank": (change_config(r=5), r"the backbone needs \(5, 32\)"),
    "no style": (change_weights(drop_style), "has no style vector"),
    "half a layer": (change_weights(drop_half_a_layer), "lacks blocks.0.attention.qkv.lora_B.weight"),
    "another style row": (
        change_config(trainable_token_indices={"embed_style": [1]}),
        r"for another backbone: its trainable_token_indices is .*\[1\]}, not .*\[3\]}",
    ),
    "other layers": (change_config(target_modules=["qkv", "final_linear"]), "another backbone: its target_modules"),
    "no number": (change_config(lora_alpha="much"), "lora_alpha is 'much', not a number"),
    "another method": (change_config(use_dora=True), "another backbone: its use_dora is True"),
    "no LoRA": (change_config(peft_type="IA3"), "is a IA3 adapter: only LORA adapters are served"),
    "cut short": (
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100]),
        "is broken",
    ),
    "empty weights": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "is broken"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"it has no {WEIGHTS}"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "it has no adapter_config.json"),
    "broken config": (lambda folder: (folder / "adapter_config.json").write_text("{"), "is not JSON"),
    "config is a list": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "is not a JSON object"),
    "missing": (shutil.rmtree, "is not an adapter"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_adapter_is_refused_and_the_others_draw_as_before(
    load: Load, make_brand: MakeBrand, acme: Path, spoil: Callable[[Path], object], message: str
) -> None:
    bad = make_brand(3, "bad")
    spoil(bad)
    pipeline = load()
    with pytest.raises(SynthesisError, match=message):
        pipeline.load_brand(bad, "bad")
    pipeline.load_brand(acme, "acme")
    drawn = draw(pipeline, "acme"), draw(pipeline, None)
    for name in ("bad", "acme"):  # beside the loaded one, and in its place
        with pytest.raises(SynthesisError, match=message):
            pipeline.load_brand(bad, name)
        assert pipeline.brands == ("acme",)
        assert (draw(pipeline, "acme"), draw(pipeline, None)) == drawn


def test_an_adapter_of_a_backbone_with_other_styles_is_refused(
    load: Load, make_brand: MakeBrand, tmp_path: Path
) -> None:
    other = make_tiny_pipeline(tmp_path / "other", styles=("noto",))
    with pytest.raises(SynthesisError, match="was made for another backbone: its trainable_token_indices"):
        load().load_brand(make_brand(1, on=other), "acme")


NAMES = ["default", "0", "a-b", "weight", "a", "lora", "train", "keys"]


@pytest.mark.parametrize("name", NAMES)
def test_a_brand_may_have_any_name_that_onboarding_takes(load: Load, make_brand: MakeBrand, name: str) -> None:
    folder = make_brand(1)
    expected = load()
    expected.load_brand(folder, "acme")
    pipeline = load()
    pipeline.load_brand(make_brand(2, "zeta"), "zeta")
    pipeline.load_brand(folder, name)
    assert draw(pipeline, name) == draw(expected, "acme")
