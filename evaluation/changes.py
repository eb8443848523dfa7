"""Whether a figure changed between two evaluations of equal prompts and seeds: paired tests, corrected together.

Shapes: values [N], left-out statistics [G].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from evaluation.figures import Figure
from evaluation.intervals import LEVEL, Estimate, combine

FLIPS = 9_999
FLIPS_AT_ONCE = 256
SAME = 1e-6  # of the larger value: what another order of summation may change


@dataclass(frozen=True, kw_only=True)
class Difference:
    """After minus before with its 95 % interval; ``p`` is for no difference at all, ``test`` how it was found.

    ``effect`` is the mean difference in standard deviations of the differences (Cohen's d_z), where pictures were
    paired; NaN elsewhere.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    effect: float = math.nan


def paired_by_jackknife(before: Estimate, after: Estimate) -> Difference | None:
    """Return the difference of two figures whose jackknives left out the same prompts; None where they did not.

    None too where a side's jackknife finds no spread in a set, as for a share of 0 or 1: it rests on its bound, where
    leaving pictures out moves nothing, and only its interval knows how far it may lie from there.

    What the two sides share (judging drawings, prompts, seeds) moves both together and cancels: the variance is that
    of the difference.  Student's t with G-1 degrees of freedom.
    """
    sizes = [{name: len(values) for name, values in each.left_out.items()} for each in (before, after)]
    if sizes[0] != sizes[1] or not sizes[0] or _rests_on_bound(before) or _rests_on_bound(after):
        return None
    difference = combine(lambda one, other: other - one, before, after)
    interval, p = difference.interval(), p_of_zero(difference)
    return Difference(value=interval.value, low=interval.low, high=interval.high, p=p, test="paired jackknife")


def p_of_zero(difference: Estimate) -> float:
    """Return the p value of no difference, by Student's t with G-1 degrees of freedom."""
    groups = min(len(values) for values in difference.left_out.values())
    return _two_sided(difference.value, math.sqrt(difference.variance()), groups - 1)


def paired_by_signs(before_N: Tensor, after_N: Tensor, seed: int = 0) -> Difference:
    """Return the mean difference of paired values, tested by flipping the sign of each difference at random.

    Fisher's randomisation test: without a change each sign is a coin's.  p = (1 + flips as extreme) / (1 + flips), of
    9,999 flips.  The interval is Student's.  Values that are not finite on either side are left out with their pair.
    """
    differences_N = after_N.double() - before_N.double()
    differences_N = differences_N[differences_N.isfinite()]
    count = len(differences_N)
    mean = float(differences_N.mean()) if count else 0.0
    deviation = float(differences_N.std()) if count > 1 else 0.0
    reach = float(stats.t.ppf((1 + LEVEL) / 2, max(count - 1, 1))) * deviation / math.sqrt(max(count, 1))
    extreme = _flips_as_extreme(differences_N, abs(mean), seed) if count else FLIPS
    return Difference(
        value=mean,
        low=mean - reach,
        high=mean + reach,
        p=(1 + extreme) / (1 + FLIPS),
        test="paired signs",
        effect=mean / deviation if deviation > 0 else math.nan,
    )


def by_intervals(before: Figure, after: Figure) -> Difference:
    """Return the difference of two figures of which only the intervals are known, as if nothing were shared.

    Too careful rather than too bold where the two sides are positively correlated, as figures of equal prompts mostly
    are; too bold where they are negatively so.  Each side's reach is the one that looks at the other (Zou and Donner
    2008), so that lopsided intervals are respected.
    """
    value = after.value - before.value
    low = value - math.hypot(after.value - after.low, before.high - before.value)
    high = value + math.hypot(after.high - after.value, before.value - before.low)
    towards_zero = value - low if value > 0 else high - value
    p = _two_sided(value, towards_zero / float(stats.norm.ppf((1 + LEVEL) / 2)), None)
    return Difference(value=value, low=low, high=high, p=p, test="intervals alone")


def same_value(before: float, after: float) -> bool:
    """Return whether two values differ by no more than another order of summation would change."""
    return math.isclose(before, after, rel_tol=SAME, abs_tol=1e-12)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values that hold for all tests together: with k-th smallest p, max over j ≤ k of (m-j+1)·p_j, at most 1.

    Holm, "A simple sequentially rejective multiple test procedure", 1979; no independence is assumed.
    """
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def _rests_on_bound(estimate: Estimate) -> bool:
    return any(same_value(float(values.min()), float(values.max())) for values in estimate.left_out.values())


def _two_sided(value: float, deviation: float, freedom: int | None) -> float:
    """Return p; where no spread is known nothing is proven, whatever the value."""
    if deviation == 0:
        return 1.0
    law = stats.norm if freedom is None else stats.t(max(freedom, 1))
    return float(2 * law.sf(abs(value) / deviation))


def _flips_as_extreme(differences_N: Tensor, observed: float, seed: int) -> int:
    generator = torch.Generator().manual_seed(seed)
    count, found, left = len(differences_N), 0, FLIPS
    while left:
        flips = min(left, FLIPS_AT_ONCE)
        signs_FN = torch.randint(0, 2, (flips, count), generator=generator).double() * 2 - 1
        # Rounding must not make a flip less extreme than what it equals.
        found += int(((signs_FN @ differences_N / count).abs() >= observed * (1 - 1e-9)).sum())
        left -= flips
    return found
