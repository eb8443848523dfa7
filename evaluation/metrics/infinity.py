"""Fréchet distance of infinitely many pictures, extrapolated from a line in 1/N.

Shapes: features [N,D], moments [D,D], sizes [S].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from evaluation.errors import TooFewPicturesError
from evaluation.intervals import Estimate, to_first_order
from evaluation.metrics.checked import checked_pair, common_centre, same_count
from evaluation.metrics.frechet import estimate_of
from evaluation.metrics.moments import Moments, Transport, frechet_of, influence, transport
from evaluation.metrics.sharing import spread

SIZES = 15
PICTURES_A_DIMENSION = 4


@dataclass(frozen=True)
class Extrapolation:
    """The intercept as an estimate, and the line it lies on: (N, distance) of each size, largest first, and R².

    ``whole`` is the Fréchet distance of all pictures, which comes with it.
    """

    estimate: Estimate
    whole: Estimate
    points: tuple[tuple[int, float], ...]
    slope: float
    r_squared: float


def frechet_infinity(real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made")) -> Estimate:
    """Return the intercept of ``extrapolated``."""
    return extrapolated(real_ND, made_ND, names).estimate


def extrapolated(
    real_ND: Tensor, made_ND: Tensor, names: tuple[str, str] = ("real", "made"), *, seed: int = 0
) -> Extrapolation:
    """Return the intercept of a line through Fréchet distances over 1/N, of 15 sizes evenly spaced in 1/N.

    Chong and Forsyth 2020, with both sets cut to each size, since both make the distance grow.  The sizes reach down to
    N/2: further down the curve bends, and a line through it misses its intercept while R² stays above 0.999
    (docs/adr/0013).  Each size is a part of the next, in an order drawn from ``seed``.

    Its interval knows that: with weights w_s of the sizes in the intercept a picture has the weight Σ w_s/N_s of the
    sizes that hold it, times its part of the distance to first order.

    Raises TooFewPicturesError for fewer than 4 pictures a dimension, NotComparableError for sets of two sizes.
    """
    real_ND, made_ND = checked_pair(real_ND, made_ND)
    same_count(real_ND, made_ND, "the Fréchet distance of infinitely many pictures")
    count, dimensions = real_ND.shape
    if count < PICTURES_A_DIMENSION * dimensions:
        raise TooFewPicturesError(
            f"{count} pictures are too few for a line in 1/N: features of {dimensions} dimensions need at least"
            f" {PICTURES_A_DIMENSION * dimensions}"
        )
    sides = [
        _Side(each, torch.randperm(count, generator=torch.Generator().manual_seed(seed + number)))
        for number, each in enumerate((real_ND, made_ND))
    ]
    sizes, centre_D = sizes_of(count), common_centre(real_ND, made_ND)
    found, whole = _growing(sides, sizes[:0:-1], count, centre_D)
    maps = transport(*whole)
    distances = [maps.value, *found[::-1]]
    line = _Line.through([1 / size for size in sizes], distances)
    moved = _parts(sides, whole, maps, centre_D)
    weights_N = line.row_weights(sizes, count)
    return Extrapolation(
        estimate=_estimate(line.intercept, names, [side.weighted(each, weights_N) for side, each in moved]),
        whole=estimate_of((real_ND, made_ND), centre_D, whole, maps, names),
        points=tuple(zip(sizes, distances, strict=True)),
        slope=line.slope,
        r_squared=line.r_squared,
    )


def sizes_of(count: int) -> list[int]:
    """Return 15 sizes from N down to N/2, evenly spaced in 1/N."""
    return [round(count / (1 + step / (SIZES - 1))) for step in range(SIZES)]


@dataclass(frozen=True)
class _Side:
    features: Tensor  # [N,D]
    order: Tensor  # int64 [N]

    def moments(self, start: int, stop: int, centre_D: Tensor) -> Moments:
        return Moments.of(self.features[self.order[start:stop]], centre_D)

    def weighted(self, moved_N: Tensor, weights_N: Tensor) -> Tensor:
        """Return each picture's part times the weight [N] of its place in the order, about a mean of zero."""
        by_row_N = torch.empty_like(weights_N)
        by_row_N[self.order] = weights_N
        return moved_N * by_row_N - (moved_N * by_row_N).mean()


@dataclass(frozen=True)
class _Line:
    """A least-squares line; ``weights`` [S] are those of the values in its intercept."""

    intercept: float
    slope: float
    r_squared: float
    weights: Tensor

    @classmethod
    def through(cls, at: list[float], values: list[float]) -> _Line:
        at_S, values_S = torch.tensor(at, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
        from_mean_S = at_S - at_S.mean()
        slope = float(from_mean_S @ values_S / from_mean_S.square().sum())
        weights_S = 1 / len(at) - at_S.mean() * from_mean_S / from_mean_S.square().sum()
        intercept = float(weights_S @ values_S)
        spread_out = (values_S - values_S.mean()).square().sum()
        missed = (values_S - intercept - slope * at_S).square().sum()
        # Equal values lie on a level line: nothing is left to explain, and nothing missed.
        return cls(intercept, slope, float(1 - missed / spread_out) if float(spread_out) > 0 else 1.0, weights_S)

    def row_weights(self, sizes: list[int], count: int) -> Tensor:
        """Return [N]: the weight, times N, in the intercept of the picture at each place of the drawn order."""
        weights_N = torch.zeros(count, dtype=torch.float64)
        for size, weight in zip(sizes, self.weights.tolist(), strict=True):
            weights_N[:size] += weight / size
        return count * weights_N


Both = tuple[Moments, Moments]


def _growing(sides: list[_Side], sizes: list[int], count: int, centre_D: Tensor) -> tuple[list[float], Both]:
    """Return the distances of rising sizes, and the moments of all ``count`` pictures.

    A few sizes at a time, so that each core has one, and so that the moments of all need not be held.
    """
    reached, waiting, distances = [Moments.none(centre_D) for _ in sides], list[Both](), list[float]()
    for start, stop in pairwise([0, *sizes, count]):
        if len(waiting) == torch.get_num_threads() or stop == count:
            distances += spread(lambda both: frechet_of(*both), waiting)
            waiting = []
        added = spread(partial(_Side.moments, start=start, stop=stop, centre_D=centre_D), sides)
        reached = [one + more for one, more in zip(reached, added, strict=True)]
        waiting.append((reached[0], reached[1]))
    return distances, waiting[-1]


def _parts(sides: list[_Side], whole: Both, maps: Transport, centre_D: Tensor) -> list[tuple[_Side, Tensor]]:
    """Return of each side float64 [N]: what each picture adds to the distance, to first order."""
    (real, made), (first, second) = whole, sides
    jobs = [(first, real, made, maps.real), (second, made, real, maps.made)]

    def part(job: tuple[_Side, Moments, Moments, Tensor]) -> tuple[_Side, Tensor]:
        side, own, other, map_DS = job
        return side, influence(side.features, centre_D, own, other, map_DS)

    return spread(part, jobs)


def _estimate(value: float, names: tuple[str, str], moved: list[Tensor]) -> Estimate:
    return Estimate(value, {name: to_first_order(value, each) for name, each in zip(names, moved, strict=True)})
