"""The network: what it must ignore, what it must not mix up, and how large it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atelier import CONF_FOLDER
from synthesis.backbone import (
    NO_STYLE,
    MultiTaskTransformer,
    mix_by_shifts,
    modulate,
    rotary_table,
    rotate,
    to_patches,
    to_picture,
)
from synthesis.condition import APPEARANCE_WIDTH
from synthesis.tasks import TASKS

if TYPE_CHECKING:
    from tests.synthesis.conftest import MakeCondition, MakeNetwork

T = torch.tensor
UNLIKE = ("task", "style", "text_mask", "reference", "reference_mask")  # another seed may give the same of these
LARGER = ((64, 16), (128, 16))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48)])
def test_patches_round_trip(height: int, width: int) -> None:
    picture = torch.randn(2, 3, height, width)
    tokens = to_patches(picture, 8)
    assert tokens.shape == (2, height // 8 * (width // 8), 3 * 8 * 8)
    assert torch.equal(to_picture(tokens, height // 8, width // 8, 8), picture)


def test_a_patch_holds_the_pixels_of_its_own_square() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[0, 1, 8:16, 16:24] = 1  # second row, third column
    (lit,) = to_patches(picture, 8)[0].sum(-1).nonzero(as_tuple=True)
    assert lit.tolist() == [1 * 4 + 2]


def test_a_fresh_network_ignores_source_and_mask(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    network = make_network(awake=False)
    told = make_condition(3)
    noisy, t = torch.randn(3, 3, 32, 32), torch.rand(3)
    empty = replace(told, source=torch.zeros_like(told.source), mask=torch.zeros_like(told.mask))
    drawn = network(noisy, t, **told.tensors())
    assert drawn.abs().sum() > 0
    assert torch.equal(drawn, network(noisy, t, **empty.tensors()))


def test_every_input_reaches_the_output_of_a_network_that_learnt(
    make_network: MakeNetwork, make_condition: MakeCondition
) -> None:
    network, told, other = make_network(), make_condition(2), make_condition(2, seed=1)
    noisy, t = torch.randn(2, 3, 32, 32), torch.rand(2)
    drawn = network(noisy, t, **told.tensors())
    changes = [{name: value} for name, value in other.tensors().items() if name not in UNLIKE]
    changes += [{"task": (told.task + 1) % len(TASKS)}, {"style": 2 - told.style + (told.style == 1).long()}]
    for change in changes:
        moved = network(noisy, t, **replace(told, **change).tensors()) - drawn
        assert moved.abs().amax(dim=(1, 2, 3)).min() > 1e-4, f"{change.keys()} changes nothing"
    assert (network(noisy, t / 2, **told.tensors()) - drawn).abs().max() > 1e-4


def test_a_row_does_not_depend_on_its_batch(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    network, told = make_network(), make_condition(4)
    noisy, t = torch.randn(4, 3, 32, 32), torch.rand(4)
    together = network(noisy, t, **told.tensors())
    for row in range(4):
        part = slice(row, row + 1)
        alone = network(noisy[part], t[part], **told.map(lambda value, part=part: value[part]).tensors())  # type: ignore[misc]
        torch.testing.assert_close(alone, together[part], atol=1e-5, rtol=1e-5)


def test_padding_tokens_change_nothing(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    network, told = make_network(), make_condition(3)
    told = replace(told, text_mask=told.text_mask & (torch.arange(6) < 4))
    noisy, t = torch.randn(3, 3, 32, 32), torch.rand(3)
    noise = torch.where(told.text_mask[..., None], told.text, 100 * torch.randn_like(told.text))
    drawn = network(noisy, t, **told.tensors())
    assert torch.equal(network(noisy, t, **replace(told, text=noise).tensors()), drawn)
    shorter = replace(told, text=told.text[:, :4], text_mask=told.text_mask[:, :4])
    torch.testing.assert_close(network(noisy, t, **shorter.tensors()), drawn, atol=1e-5, rtol=1e-5)


def test_without_any_text_the_output_is_finite(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    told = make_condition(2)
    silent = replace(told, text_mask=torch.zeros_like(told.text_mask))
    assert make_network()(torch.randn(2, 3, 32, 32), torch.rand(2), **silent.tensors()).isfinite().all()


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), channels=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_nine_shifts_equal_the_convolution(rows: int, columns: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, rows * columns, channels, generator=generator)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False).requires_grad_(False)
    convolution.weight.normal_(generator=generator)
    expected = convolution(hidden.transpose(1, 2).unflatten(-1, (rows, columns))).flatten(2).transpose(1, 2)
    mixed = mix_by_shifts(hidden, convolution.weight, (rows, columns))
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


def test_the_rotary_table_spans_the_same_at_any_size(make_network: MakeNetwork) -> None:
    config = make_network(native_px=64).config
    native = rotary_table(8, 8, config)
    double = rotary_table(16, 16, config)
    for small, large in zip(native, double, strict=True):
        assert torch.equal(large.unflatten(0, (16, 16))[::2, ::2].flatten(0, 1), small)


def test_rotation_keeps_lengths_and_tells_only_the_distance(make_network: MakeNetwork) -> None:
    rotation = rotary_table(8, 8, make_network(native_px=64).config)
    query, key = torch.randn(16).expand(1, 1, 64, 16), torch.randn(16).expand(1, 1, 64, 16)
    turned = rotate(query, rotation)
    torch.testing.assert_close(turned.norm(dim=-1), query.norm(dim=-1))
    scores = (turned @ rotate(key, rotation).transpose(-1, -2))[0, 0].unflatten(0, (8, 8)).unflatten(-1, (8, 8))
    torch.testing.assert_close(scores[2, 3, 4, 6], scores[0, 0, 2, 3], atol=1e-4, rtol=1e-4)


def test_modulation_is_a_layer_norm_with_scale_and_shift() -> None:
    tokens, shift, scale = torch.randn(2, 5, 8), torch.randn(2, 8), torch.randn(2, 8)
    norm = nn.LayerNorm(8)
    expected = torch.stack([norm(tokens[row]) * (1 + scale[row]) + shift[row] for row in range(2)])
    torch.testing.assert_close(modulate(tokens, shift, scale), expected)


def test_each_size_has_its_way_in_and_out(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    network = make_network(larger=LARGER)
    assert network.sizes == (32, 64, 128) and set(network.ways) == {"16"}
    for side_px in network.sizes:
        told = make_condition(2, side_px)
        assert network(torch.randn(2, 3, side_px, side_px), torch.rand(2), **told.tensors()).shape[-1] == side_px


def test_further_sizes_leave_the_native_one_as_it_was(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    plain, grown, told = make_network(), make_network(larger=LARGER, reference_depth=1), make_condition(3)
    told = replace(told, reference_mask=torch.zeros(3, dtype=torch.bool))
    grown.load_state_dict(grown.state_dict() | plain.state_dict())
    noisy, t = torch.randn(3, 3, 32, 32), torch.rand(3)
    expected = plain(noisy, t, **told.tensors())
    torch.testing.assert_close(grown(noisy, t, **told.tensors()), expected, atol=1e-5, rtol=1e-5)


def test_a_reference_counts_only_where_there_is_one(make_network: MakeNetwork, make_condition: MakeCondition) -> None:
    network, told = make_network(reference_depth=1), make_condition(2)
    noisy, t = torch.randn(2, 3, 32, 32), torch.rand(2)
    known = replace(told, reference_mask=T([True, False]))
    other = replace(known, reference=told.reference.flip(-1) + 1)
    moved = (network(noisy, t, **other.tensors()) - network(noisy, t, **known.tensors())).abs().amax(dim=(1, 2, 3))
    assert moved[0] > 1e-4 and moved[1] == 0


def test_a_size_that_its_patch_does_not_divide_is_refused(make_network: MakeNetwork) -> None:
    with pytest.raises(ValueError, match="100 px is not a multiple of the patch of 16 px"):
        make_network(larger=((100, 16),))


def test_the_small_backbone_has_under_36_million_parameters() -> None:
    sizes = yaml.safe_load((CONF_FOLDER / "backbone" / "small.yaml").read_text())
    styles = tuple(f"style-{number}" for number in range(40))
    with torch.device("meta"):
        network = MultiTaskTransformer(styles=styles, tasks=tuple(TASKS), appearance_width=APPEARANCE_WIDTH, **sizes)
    assert 32e6 < sum(parameter.numel() for parameter in network.parameters()) < 36e6


def test_style_zero_is_no_style_and_the_last_row_is_the_brands(make_network: MakeNetwork) -> None:
    network = make_network()
    assert network.brand_slot == network.embed_style.num_embeddings - 1 == 3
    assert network.embed_style.weight[NO_STYLE].abs().max() == 0


@pytest.mark.parametrize("settings", [{"width": 100, "head_width": 64}, {"native_px": 60, "patch_px": 8}])
def test_sizes_that_do_not_divide_are_refused_by_name(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is not a multiple of"):
        MultiTaskTransformer(**settings)


def test_a_saved_network_is_the_same_network(
    make_network: MakeNetwork, make_condition: MakeCondition, tmp_path: Path
) -> None:
    network, told = make_network(), make_condition(1)
    network.save_pretrained(tmp_path)
    noisy, t = torch.randn(1, 3, 32, 32), torch.rand(1)
    again = MultiTaskTransformer.from_pretrained(str(tmp_path)).eval()
    assert torch.equal(again(noisy, t, **told.tensors()), network(noisy, t, **told.tensors()))
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".json", ".safetensors"]
