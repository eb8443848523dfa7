"""The small parts of a run: task shares, the rate, the moving average, the brand kit, times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from atelier import AtelierError
from evaluation.elements.rules import BrandRules
from synthesis.tasks import TASKS
from training.average import ExponentialAverage
from training.errors import TrainingError
from training.kit import BrandKit, read_kit
from training.limits import check_share
from training.mix import TaskMix
from training.optimizer import OptimizerSettings, make_optimizer

shares = st.dictionaries(st.sampled_from(list(TASKS)), st.floats(0, 1), min_size=1).filter(
    lambda drawn: sum(drawn.values()) > 1e-3
)


@given(shares=shares, batch=st.integers(1, 600))
@settings(deadline=None)
def test_the_slices_of_a_mix_add_up_to_the_batch_in_their_shares(shares: dict[str, float], batch: int) -> None:
    slices = TaskMix(shares=shares).slices(batch)
    places = [place for _, part in slices for place in range(part.start, part.stop)]
    assert places == list(range(batch))
    total = sum(shares.values())
    sizes = {name: part.stop - part.start for name, part in slices}
    for name, share in shares.items():
        assert abs(sizes.get(name, 0) - batch * share / total) < 1 + 1e-6
    assert all(sizes.values()) and len(sizes) == len(slices)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: TaskMix(shares={"paint": 1}), "task 'paint' is unknown"),
    (lambda: TaskMix(shares={"inpainting": -1}), "tasks.shares.inpainting is -1: shares must not be negative"),
    (lambda: TaskMix(shares={"inpainting": 0}), "tasks.shares add up to nothing"),
    (lambda: TaskMix(shares={"inpainting": float("nan")}), "tasks.shares.inpainting is nan"),
    (lambda: TaskMix(shares={"inpainting": 1}, text_dropped=7), "tasks.text_dropped is 7: it must lie in 0 to 1"),
    (lambda: OptimizerSettings(learning_rate=0), "optimizer.learning_rate is 0: it must lie between 0 and 1"),
    (lambda: OptimizerSettings(constant_share=2), "optimizer.constant_share is 2: it must lie in 0 to 1"),
    (lambda: OptimizerSettings(last_share=-1), "optimizer.last_share is -1: it must lie in 0 to 1"),
    (lambda: OptimizerSettings(warmup_steps=-1), "optimizer.warmup_steps is -1: it must not be negative"),
    (lambda: OptimizerSettings(weight_decay=-1), "optimizer.weight_decay is -1: it must not be negative"),
    (lambda: OptimizerSettings(betas=(0.9, 1.0)), "two numbers from 0 to below 1 are needed"),
    (lambda: OptimizerSettings(betas=(0.9,)), "two numbers from 0 to below 1 are needed"),  # type: ignore[arg-type]
    (lambda: check_share("a.b", "much"), "a.b is much: it must lie in 0 to 1"),
    (lambda: BrandKit(title="x", background="#12345"), "colour '#12345' must be written like #1e50a0"),
    (lambda: BrandKit(title=""), "title '' must be a text"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_values_out_of_range_are_refused_by_name(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(AtelierError) as refusal:
        make()
    assert message in str(refusal.value)


def test_an_average_that_never_moves_is_refused() -> None:
    with pytest.raises(ValueError, match=r"average.decay is 1.0: it must lie in 0 to 1"):
        ExponentialAverage(1.0)


@given(
    warmup_steps=st.integers(0, 20),
    constant_share=st.floats(0.3, 0.9),
    last_share=st.floats(0, 1),
    max_steps=st.integers(100, 500),
)
@settings(deadline=None)
def test_the_rate_rises_holds_falls_and_ends_at_its_last_share(
    warmup_steps: int, constant_share: float, last_share: float, max_steps: int
) -> None:
    made = OptimizerSettings(warmup_steps=warmup_steps, constant_share=constant_share, last_share=last_share)
    rate = [made.rate_share(step, max_steps) for step in range(max_steps + 1)]
    held = int(constant_share * max_steps)
    assert all(0 < one < two for one, two in pairwise(rate[:warmup_steps]))
    assert rate[max(0, warmup_steps - 1) : held] == [1.0] * (held - max(0, warmup_steps - 1))
    assert all(one >= two for one, two in pairwise(rate[held:]))
    assert rate[max_steps] == pytest.approx(last_share)
    assert all(last_share <= share <= 1 for share in rate[warmup_steps:])


def test_the_optimizer_follows_the_rate_and_decays_matrices_only() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4).requires_grad_(False))
    made = OptimizerSettings(learning_rate=0.1, weight_decay=0.5, warmup_steps=2, constant_share=0.5, last_share=0.0)
    told = make_optimizer(network, made, max_steps=4)
    optimizer, schedule = told["optimizer"], told["lr_scheduler"]["scheduler"]
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.5, 1), (0.0, 3)]
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.05, 0.0])


def averaged(decay: float, weights: list[float]) -> tuple[ExponentialAverage, nn.Linear]:
    """An average that saw a weight take these values, one after each step."""
    network = nn.Linear(1, 1, bias=False)
    average, module = ExponentialAverage(decay), SimpleNamespace(network=network)
    with torch.no_grad():
        for step, weight in enumerate(weights):
            network.weight.fill_(weight)
            if step == 0:
                average.on_train_start(SimpleNamespace(global_step=0), module)
            else:
                average.on_train_batch_end(SimpleNamespace(global_step=step), module)
    return average, network


@given(decay=st.floats(0, 0.999), weights=st.lists(st.floats(-10, 10), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_average_follows_its_formula(decay: float, weights: list[float]) -> None:
    average, _ = averaged(decay, weights)
    expected = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weight
    assert float(average.shadow["weight"]) == pytest.approx(expected, abs=1e-4)


def test_the_average_is_worn_for_a_while_even_when_the_work_fails() -> None:
    average, network = averaged(0.5, [0.0, 8.0])
    worn = float(average.shadow["weight"])
    with pytest.raises(ZeroDivisionError), average.worn_by(network):
        assert float(network.weight.detach()) == worn != 8.0
        raise ZeroDivisionError
    assert float(network.weight.detach()) == 8.0 and float(average.shadow["weight"]) == worn
    average.wear(network)
    assert float(network.weight.detach()) == worn


def test_an_accumulated_batch_without_a_step_does_not_move_the_average() -> None:
    average, network = averaged(0.5, [0.0, 8.0])
    before = float(average.shadow["weight"])
    average.on_train_batch_end(SimpleNamespace(global_step=1), SimpleNamespace(network=network))
    assert float(average.shadow["weight"]) == before


def test_the_average_comes_back_from_a_checkpoint() -> None:
    average, _ = averaged(0.9, [0.0, 1.0, 2.0])
    again = ExponentialAverage(0.9)
    again.load_state_dict(average.state_dict())
    again.on_train_start(SimpleNamespace(global_step=2), SimpleNamespace(network=nn.Linear(1, 1, bias=False)))
    assert again.updates == 2 and torch.equal(again.shadow["weight"], average.shadow["weight"])


KITS = {
    "titel: Acme": "unknown key 'titel'; did you mean title?",
    "critical_colors: []": "unknown key 'critical_colors'; did you mean critical_colours?",
    "critical_colours: [{colour: '#e2001a', tolerance: 0}]": "tolerance 0 of critical colour #e2001a must be a ΔE2000",
    "logo: none.svg": "logo .*none.svg does not exist: name a PNG, WebP or SVG file, relative to the kit",
    "{logo: kit.yaml}": "logo .*kit.yaml cannot be used: ",
    "{logo: none.svg, clear_space: -1}": "clear_space -1 must be 0 to 10, in heights of the logo",
    "allowed_text: [2026]": "allowed_text 2026 must be a text, in quotation marks where it is a number",
    "1: 2": "unknown key 1; the keys are title, palette, background",
    "palette: [red]": "colour 'red' must be written like #1e50a0",
    "palette: 5": r"palette 5 must be a list of colours",
    "background: #ffffff": "colour None must be written like #1e50a0",
    "title: [a]": r"title \['a'\] must be a text",
    "- a": "must hold keys and values: title, palette, background",
    "": "must hold keys and values",
    "{": "is not YAML",
}


@pytest.mark.parametrize(("text", "message"), KITS.items())
def test_a_mistake_in_a_kit_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "kit.yaml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=message) as refusal:
        read_kit(file, "acme")
    assert "\n" not in str(refusal.value)


def test_a_kit_says_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "kit.yaml"
    file.write_text("title: Acme\npalette: ['#1e50a0', '#FFFFFF']\n")
    assert read_kit(file, "acme").to_card() == {
        "title": "Acme",
        "palette": ["#1e50a0", "#FFFFFF"],
        "background": "#ffffff",
    }
    assert read_kit(None, "acme").title == "acme"
    with pytest.raises(TrainingError, match=r"does not exist: pass kit=FILE.yaml, or leave kit out"):
        read_kit(tmp_path / "no.yaml", "acme")


def test_a_kits_rules_and_logo_go_into_the_card(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="20" height="40" fill="red"/></svg>'
    )
    file = tmp_path / "kit.yaml"
    file.write_text(
        "critical_colours: ['#e2001a', {colour: '#1e50a0', tolerance: 2}]\nlogo: logo.svg\nclear_space: 0\n"
        "allowed_text: [Acme]\n"
    )
    kit = read_kit(file, "acme")
    card = kit.to_card()
    digest = card.pop("logo_sha256")
    assert card == {
        "title": "acme",
        "palette": [],
        "background": "#ffffff",
        "critical_colours": [{"colour": "#e2001a", "tolerance": 3.0}, {"colour": "#1e50a0", "tolerance": 2}],
        "logo": "logo.png",
        "clear_space": 0,
        "allowed_text": ["Acme"],
    }
    kit.write_logo(tmp_path)
    assert hashlib.sha256((tmp_path / "logo.png").read_bytes()).hexdigest() == digest
    again = BrandRules.of(card, tmp_path)
    assert again.critical_colours == kit.rules.critical_colours and again.logo == tmp_path / "logo.png"
    assert read_kit(file, "acme").logo_png == kit.logo_png
