"""How sure a figure is: estimates that carry their own 95 % interval.

Why a jackknife and not a bootstrap: drawing pictures with replacement repeats some of them, which shrinks the sample
covariance and so moves a Fréchet distance upwards; the bootstrap's interval then lies beside the figure it belongs
to.  Leaving pictures out repeats none.  The delete-a-group jackknife estimates the variance of the figure *at this
number of pictures*, which is what two figures of equal N are compared by; it leans to the wide side (Efron and Stein,
"The jackknife estimate of variance", 1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from scipy import stats
from torch import Tensor

LEVEL = 0.95
MOST_GROUPS = 64


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A statistic of one or more sets of pictures, and the same statistic with each group of pictures left out.

    ``left_out`` maps the name of a set to float64 [G]: the statistic without that set's 1st, 2nd, … group.  ``least``
    names sets whose part of the interval must reach at least so far, where the jackknife alone may find nothing;
    ``within`` are bounds that no value passes.
    """

    value: float
    left_out: Mapping[str, Tensor]
    least: Mapping[str, Interval] = field(default_factory=dict)
    within: tuple[float, float] = (-math.inf, math.inf)

    def interval(self) -> Interval:
        """Return value ± t·s with s² = Σ_sets (G-1)/G · Σ_g (θ_g - mean θ)²: sets vary independently of each other.

        A set in ``least`` takes part with the wider of its two reaches on either side.
        """
        groups = min(len(values) for values in self.left_out.values())
        quantile = float(stats.t.ppf((1 + LEVEL) / 2, groups - 1))
        reaches = {name: quantile * math.sqrt(_jackknife_variance(each)) for name, each in self.left_out.items()}
        below = math.hypot(*(max(reach, self._least(name, 0)) for name, reach in reaches.items()))
        above = math.hypot(*(max(reach, self._least(name, 1)) for name, reach in reaches.items()))
        lowest, highest = self.within
        return Interval(self.value, max(self.value - below, lowest), min(self.value + above, highest))

    def _least(self, name: str, side: int) -> float:
        """Return how far below (0) or above (1) the value the least interval of a set reaches."""
        if name not in self.least:
            return 0.0
        interval = self.least[name]
        return (interval.value - interval.low, interval.high - interval.value)[side]

    def variance(self) -> float:
        """Return the jackknife variance, summed over the sets."""
        return sum(_jackknife_variance(values) for values in self.left_out.values())


def combine(function: Callable[..., Tensor], *estimates: Estimate) -> Estimate:
    """Return ``function`` of several estimates, whose interval knows which sets of pictures they share.

    Where a set is shared its left-out groups move all arguments together, so that what they have in common cancels.
    ``least`` and ``within`` belong to the arguments and are not carried over: of an argument whose jackknife finds
    nothing, at a bound, the combination finds nothing either.
    """

    def argument(estimate: Estimate, name: str, groups: int) -> Tensor:
        value = torch.full((groups,), estimate.value, dtype=torch.float64)
        return estimate.left_out.get(name, value)

    sizes = {name: len(values) for estimate in estimates for name, values in estimate.left_out.items()}
    value = function(*(torch.tensor(estimate.value, dtype=torch.float64) for estimate in estimates))
    left_out = {
        name: function(*(argument(estimate, name, groups) for estimate in estimates)) for name, groups in sizes.items()
    }
    return Estimate(float(value), left_out)


def ratio_interval(made: Estimate, floor: Estimate) -> Interval:
    """Return made / floor of two positive estimates, whose interval is taken of the logarithm.

    A ratio spreads further upwards than downwards, its logarithm equally far either way.
    """
    ratio = combine(lambda one, other: one.log() - other.log(), made, floor).interval()
    return Interval(math.exp(ratio.value), math.exp(ratio.low), math.exp(ratio.high))


def group_of_rows(count: int, most: int = MOST_GROUPS) -> Tensor:
    """Return int64 [count]: the group that each row is left out with, at most 64 groups, dealt out in turn."""
    return torch.arange(count) % min(count, most)


def to_first_order(value: float, influence_N: Tensor) -> Tensor:
    """Return float64 [G]: a statistic without each group, to first order from what each of N rows adds to it.

    ``influence_N`` is about a mean of zero: the derivative of the statistic towards each row.  Leaving a group out
    takes its rows' part of the mean away.  The jackknife of these is Jaeckel's infinitesimal one (1972), by groups.
    """
    group_N = group_of_rows(len(influence_N))
    sums_G = torch.zeros(int(group_N.max()) + 1, dtype=torch.float64).index_add_(0, group_N, influence_N.double())
    return value - sums_G / (len(influence_N) - torch.bincount(group_N))


def share_interval(counted: int, of: int, level: float = LEVEL) -> Interval:
    """Return a share of independent pictures with Wilson's interval (1927), which keeps its width at 0 and at 1."""
    wilson = stats.binomtest(counted, of).proportion_ci(level, method="wilson")
    return Interval(counted / of, float(wilson.low), float(wilson.high))


def share_above(made: Tensor, control: Tensor, share: float, level: float = LEVEL) -> Interval:
    """Return the excess of ``made`` above the top ``share`` of ``control``, 0 when both follow one law.

    made [N], control [M].  The threshold is the control's (1-share) quantile at position (1-share)(M+1), above which
    a further draw of the same law lies with probability ``share`` exactly (1/(M+1) where M is too small for it).
    The interval joins Wilson's for the share of ``made`` with the Beta law of the threshold's own tail by the square
    rule of Zou and Donner 2008 (MOVER), so that it keeps its width when no picture at all lies above.
    """
    rank = _tail_rank(len(control), share)
    threshold = tail_threshold(control, share)
    expected = (len(control) + 1 - rank) / (len(control) + 1)
    observed = share_interval(int((made > threshold).sum()), len(made), level)
    tail = stats.beta.ppf([(1 - level) / 2, (1 + level) / 2], len(control) + 1 - rank, rank)
    below = math.hypot(observed.value - observed.low, float(tail[1]) - expected)
    beyond = math.hypot(observed.high - observed.value, expected - float(tail[0]))
    excess = observed.value - expected
    return Interval(excess, excess - below, excess + beyond)


def tail_threshold(control: Tensor, share: float) -> float:
    """Return the value of ``control`` [M] above which one further draw lies with probability ``share``."""
    return float(control.sort().values[_tail_rank(len(control), share) - 1])


def _tail_rank(count: int, share: float) -> int:
    return min(math.ceil((1 - share) * (count + 1)), count)


def _jackknife_variance(values_G: Tensor) -> float:
    groups = len(values_G)
    return float((groups - 1) / groups * ((values_G - values_G.mean()) ** 2).sum())
