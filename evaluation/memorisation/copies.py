"""Which pictures count as copies: those nearer to a learnt drawing than real, unseen drawings come.

Shapes: similarities to the nearest learnt drawing [N] of made pictures, [C] of the control.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats
from torch import Tensor

from evaluation.intervals import LEVEL, Interval, share_above, share_interval, tail_threshold

LEAST_IN_TAIL = 5  # drawings: a threshold set by a single odd pair of look-alikes would hide every copy


@dataclass(frozen=True, kw_only=True)
class CopyTest:
    """One kind of likeness, made pictures against a control that was put to the same gallery.

    ``least`` is the similarity below which nothing is called a copy, however unlike the control is.
    """

    made: Tensor
    rows: Tensor
    control: Tensor
    share: float
    least: float

    @property
    def tail(self) -> float:
        """The share of further control drawings that lies above the control's threshold."""
        return tail_share(len(self.control), self.share)

    @property
    def threshold(self) -> float:
        """The similarity above which a picture is called a copy."""
        return max(self.least, tail_threshold(self.control, self.tail))

    @property
    def copies(self) -> Tensor:
        """Which made pictures are copies, bool [N]."""
        return self.made > self.threshold

    @property
    def false_alarms(self) -> Tensor:
        """Which control drawings would be called copies, bool [C]."""
        return self.control > self.threshold

    def excess(self, level: float = LEVEL) -> Interval:
        """Return the share of made pictures above the control's own threshold, less what the control has there."""
        return share_above(self.made, self.control, self.tail, level)

    def beyond_control(self, level: float = LEVEL) -> Interval:
        """Return the share of copies less the control's, at a level: neither side's law is taken as known.

        Where the control decides the threshold this is the excess.  Where ``least`` does, nothing was chosen by the
        control, and the two shares are independent: Newcombe's interval of their difference (1998, method 10).
        """
        if tail_threshold(self.control, self.tail) >= self.least:
            return self.excess(level)
        made, control = (share_interval(int(each.sum()), len(each), level) for each in (self.copies, self.false_alarms))
        value = made.value - control.value
        below = math.hypot(made.value - made.low, control.high - control.value)
        above = math.hypot(made.high - made.value, control.value - control.low)
        return Interval(value, value - below, value + above)


def tail_share(control_count: int, share: float) -> float:
    """Return ``share``, or so much more that ``LEAST_IN_TAIL`` of the control decide where its tail begins.

    Half a drawing is added, so that rounding never moves the threshold to the next one.
    """
    return min(max(share, (LEAST_IN_TAIL + 0.5) / (control_count + 1)), 0.5)


def share_of(flags_N: Tensor) -> Interval:
    """Return the share of flags that are set, with Wilson's interval."""
    return share_interval(int(flags_N.sum()), len(flags_N))


def mean_of(values_N: Tensor) -> Interval:
    """Return a mean with Student's interval."""
    values = values_N.double()
    error = float(values.std()) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach)
