"""Figures over descriptors: closed forms, other people's implementations, and what must never be measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError, NotComparableError, TooFewPicturesError
from evaluation.style.leakage import leakage
from evaluation.style.likeness import StyleScale, csls
from evaluation.style.prompts import intraclass_correlation, prompt_drift
from evaluation.style.separation import against_set_auc, auc, auc_estimate, pairwise_auc
from evaluation.style.serving import ServingWatch
from evaluation.style.telling import Seen, content_auc, summary, tell
from evaluation.style.versions import median_distance, version_drift

DIMENSIONS = 12


def looks_of(count: int, *, look: int = 0, spread: float = 0.5, seed: int = 0) -> Tensor:
    """Return units scattered about the direction of one look."""
    centre = functional.normalize(torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(look)), dim=0)
    noise = torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(1000 + seed))
    return functional.normalize(centre + spread * noise / DIMENSIONS**0.5, dim=1)


# Same set or not


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_auc_is_mann_and_whitneys_with_ties(positive: list[int], negative: list[int]) -> None:
    expected = stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert auc(torch.tensor(positive).float(), torch.tensor(negative).float()) == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_an_area_stays_within_what_an_area_can_be() -> None:
    scores = torch.linspace(0, 1, 40)
    nearly = auc_estimate(scores + 0.8, scores).interval()
    assert nearly.high == 1.0 > nearly.value
    assert auc_estimate(scores, scores + 0.8).interval().low == 0.0
    assert pairwise_auc(looks_of(30), looks_of(30, look=1)).interval().high <= 1.0


def test_the_interval_of_an_auc_is_delongs() -> None:
    generator = np.random.default_rng(0)
    positive, negative = generator.normal(1, 1, 200), generator.normal(0, 1, 300)
    above = (positive[:, None] > negative[None]).mean(1)
    below = (positive[:, None] > negative[None]).mean(0)
    delong = above.var(ddof=1) / 200 + below.var(ddof=1) / 300
    assert auc_estimate(torch.tensor(positive), torch.tensor(negative)).variance() == pytest.approx(delong, rel=0.2)


def test_looks_apart_are_told_and_equal_looks_are_not() -> None:
    own, other, same = looks_of(40), looks_of(60, look=1, seed=1), looks_of(60, seed=2)
    assert pairwise_auc(own, other).value > 0.95
    assert against_set_auc(own, other, 5).value > pairwise_auc(own, other).value
    equal = pairwise_auc(own, same).interval()
    assert equal.low < 0.5 < equal.high


def test_too_few_or_foreign_descriptors_are_refused() -> None:
    with pytest.raises(TooFewPicturesError, match="18 are needed"):
        against_set_auc(looks_of(12), looks_of(40, look=1), 10)
    with pytest.raises(TooFewPicturesError):
        pairwise_auc(looks_of(3), looks_of(40))
    with pytest.raises(EvaluationError, match="not one descriptor"):
        pairwise_auc(looks_of(20), torch.randn(20, 3))
    with pytest.raises(EvaluationError, match="not finite"):
        pairwise_auc(torch.full((20, 3), torch.nan), torch.randn(20, 3))


def test_the_table_shows_every_set_and_the_worst() -> None:
    names = ["near-a", "near-b", "far"]
    descriptors = torch.cat([looks_of(24, spread=1.5), looks_of(24, spread=1.5, seed=1), looks_of(24, look=5, seed=2)])
    labels = tuple(name for name in names for _ in range(24))
    subjects = tuple(f"subject-{number}" for _ in names for number in range(24))
    seen = Seen(descriptors=descriptors, sets=labels, collections=labels, kinds=("colour",) * 72, subjects=subjects)
    rows = tell(seen)
    assert [row.name for row in rows] == sorted(names)
    mean, worst = summary(rows)["colour"]["pair"]
    assert worst.name != "far"
    assert worst.areas["pair"].value < mean.value
    assert content_auc(seen) > 0.5


# Style fidelity


def test_csls_is_its_formula() -> None:
    asked, brand, crowd = looks_of(5), looks_of(20, seed=1), looks_of(30, look=2, seed=2)
    centre = functional.normalize(brand.double().mean(0), dim=0)
    nearest = [sorted((crowd.double() @ x.double()).tolist())[-10:] for x in (*asked, centre)]
    expected = [
        2 * float(x.double() @ centre) - np.mean(nearest[n]) - np.mean(nearest[-1]) for n, x in enumerate(asked)
    ]
    assert csls(asked, brand, crowd).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_brand_stands_at_one_and_other_sets_at_zero() -> None:
    off = torch.cat([looks_of(60, look=look, seed=look) for look in range(1, 6)])
    scale = StyleScale.of(
        looks_of(40), looks_of(60, seed=7), off[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    )
    others = torch.cat([looks_of(40, look=look, seed=20 + look) for look in range(1, 6)])
    for made, expected in ((looks_of(80, seed=8), 1.0), (others, 0.0)):
        fidelity = scale.fidelity(scale.scores(made))
        assert fidelity.low - 0.1 < expected < fidelity.high + 0.1
        assert fidelity.low < fidelity.value < fidelity.high
    assert scale.separation().value > 0.95
    assert scale.within_own(scale.own)[1] == pytest.approx(57, abs=1)


def test_fidelity_rises_as_pictures_come_nearer() -> None:
    off = torch.cat([looks_of(60, look=look, seed=look) for look in range(1, 6)])
    scale = StyleScale.of(looks_of(40), looks_of(60, seed=7), off)
    mixed = [
        functional.normalize((1 - w) * looks_of(50, look=3, seed=5) + w * looks_of(50, seed=6))
        for w in (0, 0.3, 0.6, 1)
    ]
    values = [scale.fidelity(scale.scores(pictures)).value for pictures in mixed]
    assert values == sorted(values)


def test_a_brand_that_cannot_be_seen_is_refused() -> None:
    off = looks_of(200)
    with pytest.raises(EvaluationError, match="cannot see this brand"):
        scale = StyleScale.of(looks_of(30), looks_of(40, look=4), off)
        scale.fidelity(scale.off)
    with pytest.raises(TooFewPicturesError, match="references"):
        StyleScale.of(looks_of(3), looks_of(40), off)


# Prompt drift


def test_prompt_drift_is_its_definition() -> None:
    made, brand = looks_of(40, spread=1.0), looks_of(30, seed=3)
    prompts = torch.arange(40) // 2
    within = np.mean([float(brand[a] @ brand[b]) for a in range(30) for b in range(30) if a != b])
    between = np.mean([float(made[a] @ made[b]) for a in range(40) for b in range(40) if prompts[a] != prompts[b]])
    drift = prompt_drift(made, prompts, brand)
    assert drift.mean.value == pytest.approx(1 - between / within, abs=1e-6)
    assert drift.worst.value >= drift.mean.value
    assert drift.mean.interval().low < drift.mean.value < drift.mean.interval().high


def test_a_prompt_that_leaves_the_look_is_the_worst() -> None:
    made = torch.cat([looks_of(38), looks_of(2, look=9)])
    drift = prompt_drift(made, torch.arange(40), looks_of(30, seed=3))
    assert set(drift.by_prompt.topk(2).indices.tolist()) == {38, 39}
    assert drift.worst.value > drift.mean.value + 0.1


def test_icc_is_shrout_and_fleiss() -> None:
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]  # their Table 2
    tripled = torch.tensor([score for _ in range(3) for row in ratings for score in row]).double()
    between, within = 11.24 * 5 * 3 / 17, 6.26
    expected = (between - within) / (between + 3 * within)
    found = intraclass_correlation(tripled, torch.arange(18).repeat_interleave(4)).value
    assert found == pytest.approx(expected, abs=2e-3)
    with pytest.raises(TooFewPicturesError, match="several seeds"):
        intraclass_correlation(torch.randn(40), torch.arange(40))


# Version drift


def test_version_drift_is_the_plain_double_sum() -> None:
    golden, candidate = looks_of(20).double(), looks_of(20, look=1, seed=1).double()
    sigma = median_distance(golden)

    def kernel(x: Tensor, y: Tensor) -> float:
        return float(torch.exp(-((x - y) ** 2).sum() / (2 * sigma**2)))

    total = sum(
        kernel(golden[a], golden[b])
        + kernel(candidate[a], candidate[b])
        - kernel(golden[a], candidate[b])
        - kernel(golden[b], candidate[a])
        for a in range(20)
        for b in range(20)
        if a != b
    )
    assert version_drift(golden, candidate).discrepancy.value == pytest.approx(total / 380, abs=1e-9)


def test_p_is_even_when_nothing_drifts_and_small_when_it_does() -> None:
    # Equal prompts make golden and candidate alike in pairs; p must hold although pairs depend on each other.
    p_values = []
    for seed in range(60):
        shared = torch.randn(40, DIMENSIONS, generator=torch.Generator().manual_seed(seed))
        pair = [shared + 0.5 * looks_of(40, look=seed, spread=3, seed=2 * seed + k) for k in range(2)]
        p_values.append(version_drift(*(functional.normalize(x) for x in pair), permutations=200).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert version_drift(looks_of(40), looks_of(40, look=1), permutations=200).p_value < 0.01


def test_unequal_or_few_pictures_are_refused() -> None:
    with pytest.raises(NotComparableError, match="same seeds"):
        version_drift(looks_of(20), looks_of(30))
    with pytest.raises(TooFewPicturesError):
        version_drift(looks_of(5), looks_of(5))


# Serving drift


def test_the_watch_is_quiet_on_the_golden_look() -> None:
    watch = ServingWatch(looks_of(300), window_pictures=16, quiet_pictures=120, false_alarms=0.05)
    rang = 0
    for seed in range(12):  # after each 120 the sums begin anew
        rang += any(watch.see(picture).alarm for picture in looks_of(120, seed=100 + seed))
    assert rang <= 3  # stated: 0.05 of the streams; P(more than 3 of 12) is 0.002


def test_fresh_streams_of_the_golden_law_ring_as_rarely_as_is_promised() -> None:
    """Each run draws its golden pictures anew: what one golden run happened to hold must not pass for the law."""
    runs, rang, generator = 40, 0, torch.Generator().manual_seed(0)
    for _ in range(runs):
        law = functional.normalize(1 + torch.randn(128 + 700, 32, generator=generator).double(), dim=1)
        watch = ServingWatch(law[:128], window_pictures=1000, quiet_pictures=700, false_alarms=0.05)
        rang += any(watch.see(picture).alarm for picture in law[128:])
    assert rang <= 6, rang  # P(more than 6 of 40) is 0.003 at 0.05


def test_the_watch_rings_soon_after_a_shift() -> None:
    watch = ServingWatch(looks_of(300), window_pictures=32, quiet_pictures=300)
    assert not any(watch.see(picture).alarm for picture in looks_of(64, seed=50))
    delays = [n for n, picture in enumerate(looks_of(64, look=1, seed=51), 1) if watch.see(picture).alarm]
    assert delays[0] <= 12
    seen = watch.see(looks_of(1, look=1)[0])
    assert seen.drift is not None
    assert seen.drift > 0.1


def test_a_window_that_is_too_short_has_no_drift_yet() -> None:
    watch = ServingWatch(looks_of(130), quiet_pictures=100)
    for count in (0, 1):
        with pytest.raises(TooFewPicturesError, match=f"^{count} served pictures are too few: 16 are needed$"):
            watch.drift()
        watch.see(looks_of(1)[0])


def test_after_each_quiet_stretch_the_sums_begin_anew() -> None:
    watch = ServingWatch(looks_of(300), window_pictures=32, quiet_pictures=100)
    seen = [watch.see(picture) for picture in looks_of(101, look=1, seed=51)]
    assert seen[99].alarm and seen[99].upper > seen[98].upper
    assert not seen[100].alarm and seen[100].upper < watch.threshold


def test_the_watch_rings_when_all_pictures_become_one() -> None:
    watch = ServingWatch(looks_of(300), window_pictures=32, quiet_pictures=300)
    one = functional.normalize(looks_of(300).mean(0), dim=0)
    assert any(watch.see(one).alarm for _ in range(20))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("window_pictures", 3), ("false_alarms", 0.9), ("slack", -1.0), ("quiet_pictures", 5)],
        *[("window_pictures", 16.5), ("quiet_pictures", 500.5), ("window_pictures", True), ("slack", "wide")],
    ],
)
def test_a_watch_refuses_settings_out_of_range(setting: str, value: float) -> None:
    with pytest.raises(EvaluationError, match=setting):
        ServingWatch(looks_of(130), **{setting: value})  # type: ignore[arg-type]


def test_a_watch_refuses_what_is_no_descriptor() -> None:
    watch = ServingWatch(looks_of(130), quiet_pictures=100)
    for picture in (torch.zeros(3), torch.full((DIMENSIONS,), torch.nan)):
        with pytest.raises(EvaluationError, match="finite numbers"):
            watch.see(picture)
    with pytest.raises(TooFewPicturesError, match="golden"):
        ServingWatch(looks_of(127))


# Leakage


def test_copies_leak_and_others_do_not() -> None:
    learnt = looks_of(50, spread=3.0)
    made = torch.cat([learnt[:10], looks_of(30, spread=3.0, seed=5)])
    found = leakage(made, learnt, 0.999)
    assert found.above.value == pytest.approx(0.25)
    assert found.above.low < 0.25 < found.above.high
    assert found.tail.value == pytest.approx(1)
    assert found.rows[:10].tolist() == list(range(10))
    with pytest.raises(TooFewPicturesError):
        leakage(made[:3], learnt, 0.9)
