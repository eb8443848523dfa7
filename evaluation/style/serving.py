"""Serving drift: is what is drawn for customers still of the look of the golden run?  One picture after the other.

Shapes: descriptors of unit length, golden [G,E], one picture [E]; scores of held-out golden pictures [H].
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from evaluation.drawing import check_count, check_range
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.intervals import Estimate, group_of_rows
from evaluation.style.checked import checked_descriptors
from evaluation.style.versions import median_distance

LEAST_GOLDEN = 128
REFERENCE_SHARE = 0.25  # of the golden run; the more are held out, the better their ranks know the law of the scores
SIMULATED_STREAMS = 1000
SIMULATED_AT_ONCE = 500  # pictures of every stream


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the watch knows after a picture: the window's D_v (None until it is full), the sums, and whether to ring.

    ``strange`` is the picture's own normal score: 0 is the middle of the golden run, 2 stranger than most of it.
    """

    pictures: int
    strange: float
    drift: float | None
    upper: float
    lower: float
    alarm: bool


class ServingWatch:
    """A two-sided CUSUM (Page 1954) over single pictures, and MMD² to the golden run over a sliding window.

    A picture's score is its mean kernel similarity to a quarter of the golden pictures, the reference, turned into a
    normal score by its rank among those of the held-out rest: so no law of the scores is assumed.  S⁺ ← max(0, S⁺ + u
    - κ) rises when pictures look stranger than golden ones, S⁻ when they crowd at the golden run's centre; the alarm
    rings when one passes a threshold.  A stream of the golden law ranks among the held-out pictures as any further
    number ranks among as many of its own law.  The threshold is simulated with held-out numbers and streams drawn anew
    each time, so that, over golden runs, a stream of their law rings by mistake within ``quiet_pictures`` pictures
    with probability ``false_alarms``.  After every so many the sums begin anew, so that the promise holds for each such
    stretch, and what rang goes on ringing however many pictures follow.
    """

    def __init__(
        self,
        golden_GE: Tensor,
        *,
        window_pictures: int = 128,
        quiet_pictures: int = 5000,
        false_alarms: float = 0.05,
        slack: float = 0.25,
        seed: int = 0,
    ) -> None:
        """Learn from a golden run what is usual.

        ``slack`` κ is half the shift, in deviations, that is to be found soonest.
        Raises TooFewPicturesError for fewer than 128 golden pictures, EvaluationError for settings out of range.
        """
        check_settings(
            window_pictures=window_pictures, quiet_pictures=quiet_pictures, false_alarms=false_alarms, slack=slack
        )
        self._golden = checked_descriptors(golden_GE, "golden pictures")
        if len(self._golden) < LEAST_GOLDEN:
            raise TooFewPicturesError(f"{len(self._golden)} golden pictures are too few: {LEAST_GOLDEN} are needed")
        self._reference, held_out = _split(len(self._golden), seed)
        self._bandwidth = median_distance(self._golden[self._reference])
        kernel_GG = self._kernel(self._golden, self._golden)
        count = len(kernel_GG)
        self._within_golden = float((kernel_GG.sum() - count) / (count * (count - 1)))
        self._usual = kernel_GG[held_out][:, self._reference].mean(dim=1).sort().values
        self._slack = slack
        self.quiet_pictures = quiet_pictures
        self.threshold = _simulated(len(held_out), quiet_pictures, false_alarms, slack, seed)
        self._window: deque[Tensor] = deque(maxlen=window_pictures)
        self._similar: deque[float] = deque(maxlen=window_pictures)  # to the golden run, of each in the window
        self._pictures, self._upper, self._lower = 0, 0.0, 0.0

    def see(self, picture_E: Tensor) -> Watched:
        """Take one more picture's descriptor in and say how things stand; EvaluationError for one that is none."""
        if picture_E.shape != self._golden.shape[1:] or not bool(picture_E.isfinite().all()):
            numbers = self._golden.shape[1]
            raise EvaluationError(f"a descriptor of {numbers} finite numbers is right, got {list(picture_E.shape)}")
        picture = picture_E.detach().cpu().double()
        similar_G = self._kernel(picture[None], self._golden)[0]
        strange = float(_normal_scores(similar_G[self._reference].mean()[None], self._usual))
        self._window.append(picture)
        self._similar.append(float(similar_G.mean()))
        if self._pictures % self.quiet_pictures == 0:
            self._upper, self._lower = 0.0, 0.0
        self._pictures += 1
        self._upper = max(0.0, self._upper + strange - self._slack)
        self._lower = max(0.0, self._lower - strange - self._slack)
        return Watched(
            pictures=self._pictures,
            strange=strange,
            drift=self._drift() if len(self._window) == self._window.maxlen else None,
            upper=self._upper,
            lower=self._lower,
            alarm=max(self._upper, self._lower) > self.threshold,
        )

    def drift(self) -> Estimate:
        """Return MMD² between the golden run and the window as it stands, with groups of either side left out.

        Raises TooFewPicturesError for fewer than 16 pictures in the window.
        """
        seen_WE = torch.cat([self._golden[:0], *(picture[None] for picture in self._window)])
        window_WE = checked_descriptors(seen_WE, "served pictures")
        across_GW = self._kernel(self._golden, window_WE)
        golden, golden_left = _means_within(self._kernel(self._golden, self._golden))
        window, window_left = _means_within(self._kernel(window_WE, window_WE))
        across = float(across_GW.mean())
        left_out = {
            "golden": golden_left + window - 2 * _means_without(across_GW.mean(dim=1)),
            "served": window_left + golden - 2 * _means_without(across_GW.mean(dim=0)),
        }
        return Estimate(golden + window - 2 * across, left_out)

    def _drift(self) -> float:
        """MMD² (Gretton et al. 2012, Eq. 3), unbiased: near zero, and as often below, while nothing drifts."""
        window_WE = torch.stack(list(self._window))
        within = self._kernel(window_WE, window_WE)
        count = len(within)
        mean = float((within.sum() - count) / (count * (count - 1)))
        return mean + self._within_golden - 2 * sum(self._similar) / count

    def _kernel(self, one_NE: Tensor, other_ME: Tensor) -> Tensor:
        return torch.exp(-(torch.cdist(one_NE, other_ME) ** 2) / (2 * self._bandwidth**2))


def _split(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the places of the reference and of the held-out pictures, whatever order the golden run has."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    reference = round(REFERENCE_SHARE * count)
    return order[:reference], order[reference:]


def _simulated(held_out: int, quiet_pictures: int, false_alarms: float, slack: float, seed: int) -> float:
    """Return the threshold that streams of one law with their held-out numbers pass as rarely as asked."""
    generator = torch.Generator().manual_seed(seed)
    score_by_rank = _scores_of_ranks(torch.arange(held_out + 1), held_out)
    usual = torch.rand(SIMULATED_STREAMS, held_out, generator=generator).sort(dim=1).values
    upper, lower, furthest = (torch.zeros(SIMULATED_STREAMS, dtype=torch.float64) for _ in range(3))
    for begin in range(0, quiet_pictures, SIMULATED_AT_ONCE):
        pictures = min(SIMULATED_AT_ONCE, quiet_pictures - begin)
        stream = torch.rand(SIMULATED_STREAMS, pictures, generator=generator)
        for column in score_by_rank[torch.searchsorted(usual, stream)].T:
            upper = (upper + column - slack).clamp_min(0)
            lower = (lower - column - slack).clamp_min(0)
            furthest = torch.maximum(furthest, torch.maximum(upper, lower))
    return float(torch.quantile(furthest, 1 - false_alarms))


def _normal_scores(similar_N: Tensor, usual_H: Tensor) -> Tensor:
    """Return Φ⁻¹ of the share of usual pictures that are more alike than each, [N]: high is strange."""
    below = torch.searchsorted(usual_H, similar_N.contiguous())
    up_to = torch.searchsorted(usual_H, similar_N.contiguous(), right=True)
    return _scores_of_ranks((below + up_to).double() / 2, len(usual_H))


def _scores_of_ranks(rank_N: Tensor, held_out: int) -> Tensor:
    """Return float64 [N]: -Φ⁻¹((rank + ½) / (H + 1))."""
    return -torch.from_numpy(stats.norm.ppf((rank_N.double() + 0.5).numpy() / (held_out + 1)))


def check_settings(
    *, window_pictures: int, quiet_pictures: int, false_alarms: float, slack: float, within: str = ""
) -> None:
    """Raise EvaluationError for a setting of the watch that is out of range, by its name after ``within``."""
    check_count(f"{within}window_pictures", window_pictures, 16, 100_000)
    check_count(f"{within}quiet_pictures", quiet_pictures, 100, 100_000)
    check_range(f"{within}false_alarms", false_alarms, 0.001, 0.5)
    check_range(f"{within}slack", slack, 0.05, 3)


def _means_within(kernel_NN: Tensor) -> tuple[float, Tensor]:
    """Return the mean of a kernel off its diagonal of ones, and the same without each group of rows, [groups]."""
    count, group_N = len(kernel_NN), group_of_rows(len(kernel_NN))
    member_AN = torch.nn.functional.one_hot(group_N).T.double()
    off_NN = kernel_NN - kernel_NN.diag().diag()
    total, row_A = off_NN.sum(), member_AN @ off_NN.sum(dim=1)
    block_A = ((member_AN @ off_NN) * member_AN).sum(dim=1)
    left_A = count - member_AN.sum(dim=1)
    return float(total / (count * (count - 1))), (total - 2 * row_A + block_A) / (left_A * (left_A - 1))


def _means_without(values_N: Tensor) -> Tensor:
    """Return the mean without each group of rows, [groups]."""
    member_AN = torch.nn.functional.one_hot(group_of_rows(len(values_N))).T.double()
    return (values_N.sum() - member_AN @ values_N) / (len(values_N) - member_AN.sum(dim=1))
