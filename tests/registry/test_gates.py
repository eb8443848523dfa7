from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryError
from registry.figures import Evaluation, Figure, read_evaluation
from registry.gates import Gate, Threshold, load_gate, run_gate
from registry.policies import POLICIES
from registry.resolve import ResolvedModel, resolve_model

MakeModel = Callable[..., Path]
MakeFigures = Callable[..., Path]


def measured(*figures: Figure, digest: str = "d") -> Evaluation:
    return Evaluation(suite="brand", seed=0, model_digest=digest, figures=figures)


def model_with(card: dict[str, Any]) -> ResolvedModel:
    return ResolvedModel(reference="x", folder=Path("x"), card=card, digest="d")


def gate_of(figure: str, comparison: str, against: float | str, *, optional: bool = False) -> Gate:
    threshold = Threshold(figure=figure, comparison=comparison, against=against, why="it matters", optional=optional)
    return Gate(name="test", thresholds=[threshold], policies=[])


def test_the_shipped_gates_pass_a_good_model(
    make_adapter: MakeModel, make_backbone: MakeModel, make_figures: MakeFigures
) -> None:
    for kind, folder in (("adapter", make_adapter()), ("backbone", make_backbone())):
        evaluation = read_evaluation(make_figures(folder) / "figures.json")
        verdict = run_gate(load_gate(kind), resolve_model(folder), [evaluation])
        assert verdict.passed, verdict.failures


def test_the_adapter_gate_tells_everything_that_is_wrong(make_adapter: MakeModel, make_figures: MakeFigures) -> None:
    folder = make_adapter(licence="NOASSERTION")
    evaluation = read_evaluation(make_figures(folder, brand=115.0) / "figures.json")
    excess = Figure(name="memorisation_excess", value=0.2)
    evaluation = dataclasses.replace(evaluation, figures=(*evaluation.figures, excess))
    verdict = run_gate(load_gate("adapter"), resolve_model(folder), [evaluation])
    failed = {check.check: check.sentence for check in verdict.failures}
    assert set(failed) == {
        "frechet_distance_brand.high < frechet_distance_unadapted.low",
        "kernel_distance_brand < kernel_distance_unadapted",
        "memorisation_excess <= 0.05",
        "licence_known",
        "obligations_carried",
    }
    assert "120 against 88" in failed["frechet_distance_brand.high < frechet_distance_unadapted.low"]
    assert "('NOASSERTION')" in failed["licence_known"]


def test_a_model_that_nobody_measured_fails(make_adapter: MakeModel) -> None:
    verdict = run_gate(load_gate("adapter"), resolve_model(make_adapter()), [])
    assert [check.passed for check in verdict.checks[:3]] == [False, False, True]
    assert "figures_of_this_model" in {check.check for check in verdict.failures}
    assert all("evaluate" in check.sentence for check in verdict.failures)


def test_a_missing_bound_is_a_missing_figure() -> None:
    evaluation = measured(Figure(name="a", value=1.0))
    assert run_gate(gate_of("a", "<", 2), model_with({}), [evaluation]).passed
    assert not run_gate(gate_of("a.high", "<", 2), model_with({}), [evaluation]).passed
    assert run_gate(gate_of("a.high", "<", 2, optional=True), model_with({}), [evaluation]).passed


@given(st.floats(), st.floats(), st.sampled_from(["<", "<=", ">", ">="]))
def test_comparisons_are_arithmetic_and_nan_passes_none(left: float, right: float, comparison: str) -> None:
    evaluation = measured(Figure(name="a", value=left), Figure(name="b", value=right))
    verdict = run_gate(gate_of("a", comparison, "b"), model_with({}), [evaluation])
    expected = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    assert verdict.passed == expected[comparison]
    assert len(verdict.digest()) == 64


@pytest.mark.parametrize("other", [{"identity": "N=512", "count": 128}, {"identity": "N=128", "count": 60}])
def test_figures_measured_in_different_ways_are_not_compared(other: dict[str, Any]) -> None:
    figures = Figure(name="a", value=1, identity="N=128", count=128), Figure(name="b", value=2, **other)
    verdict = run_gate(gate_of("a", "<", "b"), model_with({}), [measured(*figures)])
    assert not verdict.passed
    assert "not measured in the same way" in verdict.failures[0].sentence


def test_a_quick_look_neither_opens_a_gate_nor_hides_a_thorough_one() -> None:
    gate = dataclasses.replace(gate_of("a", "<", 2), least_pictures=64)
    quick, thorough = measured(Figure(name="a", value=1, count=16)), measured(Figure(name="a", value=3, count=128))
    verdict = run_gate(gate, model_with({}), [quick])
    assert not verdict.passed
    assert "a not measured on 64 pictures or more" in verdict.failures[0].sentence
    assert "3 against 2" in run_gate(gate, model_with({}), [thorough, quick]).failures[0].sentence


def test_a_gate_without_checks_passes_nothing() -> None:
    assert not run_gate(Gate(name="empty", thresholds=[], policies=[]), model_with({}), []).passed


def test_wrong_gates_are_refused() -> None:
    with pytest.raises(RegistryError, match="comparison '~' must be one of <, <=, >, >="):
        gate_of("a", "~", 1)
    with pytest.raises(RegistryError, match="say why"):
        Threshold(figure="a", comparison="<", against=1, why=" ")
    with pytest.raises(RegistryError, match="must be a number or a figure's name"):
        Threshold(figure="a", comparison="<", against=[1], why="x")  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match="no policy 'hope'; there are card_complete"):
        Gate(name="x", thresholds=[], policies=["hope"])
    with pytest.raises(RegistryError, match="no gate for kind 'painting'"):
        load_gate("painting")


@pytest.mark.parametrize(
    ("policy", "change", "told"),
    [
        ("card_complete", {"seed": None, "code_commit": None}, "lacks seed, code_commit"),
        ("card_complete", {"datasets": [{"name": "x"}]}, r"datasets\[0\]\.version"),
        ("licence_known", {"licence": ""}, r"the model \(''\)"),
        ("licence_known", {"licence": "Freeware-ish"}, "Freeware-ish"),
        ("licence_known", {"licence": "MIT AND"}, "MIT AND"),
        ("licence_known", {"licence": "LicenseRef-unknown"}, "LicenseRef-unknown"),
        ("licence_known", {"datasets": [{"name": "x", "licences": {"UNKNOWN": 3}}]}, r"dataset x \('UNKNOWN'\)"),
        ("licence_known", {"datasets": [{"name": "x", "licences": {}}]}, "dataset x"),
        ("dataset_version_present", {"datasets": []}, "names no dataset"),
        ("dataset_version_present", {"datasets": [{"name": "x", "version": "latest"}]}, "no version .* for x"),
        ("obligations_carried", {"licence": "Apache-2.0"}, r"share-alike \(CC-BY-SA-4\.0\)"),
        ("obligations_carried", {"obligations": []}, "obligations, although"),
    ],
)
def test_policies_refuse_and_say_why(make_backbone: MakeModel, policy: str, change: dict[str, Any], told: str) -> None:
    model = resolve_model(make_backbone())
    assert POLICIES[policy](model, []).passed
    check = POLICIES[policy](dataclasses.replace(model, card=model.card | change), [])
    assert not check.passed
    assert check.check == policy
    assert re.search(told, check.sentence), check.sentence


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0 AND CC-BY-4.0", "CC0-1.0 OR MIT", "LicenseRef-Acme-Brand"])
def test_known_licences_pass(licence: str) -> None:
    card = {"licence": licence, "datasets": [{"name": "x", "licences": {licence: 1}}]}
    assert POLICIES["licence_known"](model_with(card), []).passed


def test_figures_of_another_model_are_told() -> None:
    check = POLICIES["figures_of_this_model"](model_with({}), [measured(digest="other")])
    assert not check.passed
    assert "suite brand (digest other)" in check.sentence
