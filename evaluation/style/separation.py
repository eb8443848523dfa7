"""How well a descriptor tells "same set" from "another set": areas under the ROC curve, with intervals.

Shapes: descriptors of one set [N,E] and of other sets [M,E], any length: similarity is the cosine.  Scores [P], [Q].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.intervals import LEVEL, Estimate, Interval, group_of_rows

LEAST_OF_A_SET = 8
AREAS = (0.0, 1.0)  # what an area under a curve can be
GROUPS = 8  # left out in turn, of either side: each costs as much as the figure itself


def auc(positive_P: Tensor, negative_Q: Tensor) -> float:
    """Return P(positive > negative) + P(equal)/2, the area under the ROC curve (Mann and Whitney 1947)."""
    ordered = negative_Q.sort().values
    below = torch.searchsorted(ordered, positive_P.contiguous())
    up_to = torch.searchsorted(ordered, positive_P.contiguous(), right=True)
    return float((below + up_to).double().mean() / (2 * len(negative_Q)))


def auc_estimate(positive_P: Tensor, negative_Q: Tensor, names: tuple[str, str] = ("same", "other")) -> Estimate:
    """Return ``auc`` with its jackknife over independent scores, each group of which is left out in turn."""
    groups_P, groups_Q = group_of_rows(len(positive_P)), group_of_rows(len(negative_Q))
    by_same = [auc(positive_P[groups_P != group], negative_Q) for group in groups_P.unique()]
    by_other = [auc(positive_P, negative_Q[groups_Q != group]) for group in groups_Q.unique()]
    left_out = {names[0]: _float64(by_same), names[1]: _float64(by_other)}
    return Estimate(auc(positive_P, negative_Q), left_out, within=AREAS)


def pairwise_auc(own_NE: Tensor, other_ME: Tensor) -> Estimate:
    """Return the AUC of one picture against one: cosines within the set over cosines from it to other sets.

    Pairs share pictures, so the jackknife leaves out pictures and not pairs.
    """
    within_NN, across_NM = _cosines(own_NE, other_ME)
    upper_NN = torch.triu(torch.ones_like(within_NN, dtype=torch.bool), 1)

    def value(own_N: Tensor, other_M: Tensor) -> float:
        return auc(within_NN[upper_NN & own_N & own_N[:, None]], across_NM[own_N][:, other_M].flatten())

    return _jackknifed(across_NM, value)


def against_set_auc(own_NE: Tensor, other_ME: Tensor, references: int, *, draws: int = 4, seed: int = 0) -> Estimate:
    """Return the AUC of a picture against ``references`` pictures of the set: its mean cosine to them.

    That orders pictures as the cosine to the references' mean does.  The mean over ``draws`` random choices of
    references; what is chosen is not asked.  Raises TooFewPicturesError when hardly any picture is left to ask.
    """
    within_NN, across_NM = _cosines(own_NE, other_ME)
    count = len(within_NN)
    if count < references + LEAST_OF_A_SET:
        raise TooFewPicturesError(
            f"{count} pictures are too few for {references} references: {references + LEAST_OF_A_SET} are needed"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = [torch.randperm(count, generator=generator)[:references] for _ in range(draws)]

    def value(own_N: Tensor, other_M: Tensor) -> float:
        areas = []
        for rows in chosen:
            kept, asked = rows[own_N[rows]], own_N.clone()
            asked[rows] = False
            if len(kept):
                areas.append(auc(within_NN[kept][:, asked].mean(0), across_NM[kept][:, other_M].mean(0)))
        return sum(areas) / len(areas)

    return _jackknifed(across_NM, value)


def mean_over_sets(values: Tensor) -> Interval:
    """Return the mean of one value a set, [S], with Student's interval over sets: what a further set may expect."""
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * float(values.std()) / math.sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach)


def _jackknifed(across_NM: Tensor, value: Callable[[Tensor, Tensor], float]) -> Estimate:
    own_N, other_M = (group_of_rows(count) % GROUPS for count in across_NM.shape)
    all_N, all_M = own_N >= 0, other_M >= 0
    by_own = [value(own_N != group, all_M) for group in own_N.unique()]
    by_other = [value(all_N, other_M != group) for group in other_M.unique()]
    return Estimate(value(all_N, all_M), {"same": _float64(by_own), "other": _float64(by_other)}, within=AREAS)


def _cosines(own_NE: Tensor, other_ME: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines within the set [N,N] and across [N,M]."""
    if own_NE.ndim != 2 or other_ME.ndim != 2 or own_NE.shape[1] != other_ME.shape[1]:
        raise EvaluationError(f"descriptors {list(own_NE.shape)} and {list(other_ME.shape)} are not one descriptor's")
    if not bool(own_NE.isfinite().all() and other_ME.isfinite().all()):
        raise EvaluationError("descriptors hold values that are not finite numbers")
    if len(own_NE) < LEAST_OF_A_SET or len(other_ME) < LEAST_OF_A_SET:
        raise TooFewPicturesError(
            f"{len(own_NE)} pictures of a set and {len(other_ME)} of others: {LEAST_OF_A_SET} of each are needed"
        )
    own_NE, other_ME = functional.normalize(own_NE.float(), dim=1), functional.normalize(other_ME.float(), dim=1)
    return own_NE @ own_NE.T, own_NE @ other_ME.T


def _float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
