"""A verdict on a folder or on a backbone claims no more than its intervals carry."""

from __future__ import annotations

import pytest

from evaluation.figures import Figure
from evaluation.suites.verdicts import backbone_verdict, pictures_verdict


def _figures(**intervals: tuple[float, float]) -> dict[str, Figure]:
    return {
        name: Figure(
            name=name,
            value=(low + high) / 2,
            low=low,
            high=high,
            count=20,
            identity=name.rsplit("_", 1)[0],
            better="lower",
        )
        for name, (low, high) in intervals.items()
    }


OVERLAPPING = {"frechet_distance_pictures": (80.0, 140.0), "frechet_distance_floor": (60.0, 100.0)}


def test_overlapping_intervals_are_no_proof_of_closeness() -> None:
    verdict = pictures_verdict(_figures(**OVERLAPPING))
    assert verdict.tone == "unsure"
    assert verdict.headline == "At 20 pictures, no figure tells them from the brand's own drawings."


@pytest.mark.parametrize(("low", "told"), [(0.05, "can be told from"), (0.01, "no figure tells them")])
def test_the_kernel_distance_tells_apart_too(low: float, told: str) -> None:
    kernel = {"kernel_distance_pictures": (low, 0.09), "kernel_distance_floor": (0.0, 0.02)}
    verdict = pictures_verdict(_figures(**OVERLAPPING, **kernel))
    assert told in verdict.headline and verdict.tone == "unsure"


def test_intervals_that_lie_apart_tell_the_pictures_from_the_brand() -> None:
    apart = {"frechet_distance_pictures": (110.0, 140.0), "frechet_distance_floor": (60.0, 100.0)}
    assert "can be told from" in pictures_verdict(_figures(**apart)).headline


def test_a_backbone_that_nothing_tells_from_real_drawings_is_not_called_good() -> None:
    few = {"frechet_distance_heldout": (80.0, 140.0), "frechet_distance_floor": (60.0, 100.0)}
    verdict = backbone_verdict(_figures(**few, frechet_ratio_heldout=(0.9, 2.6)))
    assert verdict.tone == "unsure"
    assert verdict.headline == "At 20 pictures, no figure tells its held-out subjects from real drawings."


@pytest.mark.parametrize(("high", "tone"), [(1.8, "good"), (2.6, "unsure")])
def test_a_backbone_is_called_good_where_its_ratio_is_surely_small(high: float, tone: str) -> None:
    apart = {"frechet_distance_heldout": (110.0, 140.0), "frechet_distance_floor": (60.0, 100.0)}
    assert backbone_verdict(_figures(**apart, frechet_ratio_heldout=(1.1, high))).tone == tone
