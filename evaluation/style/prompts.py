"""Prompt drift: does a model keep one look whatever it is asked for?

Shapes: descriptors of unit length, of made pictures [N,E], of a brand's drawings [R,E]; prompts [N], a number each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.errors import TooFewPicturesError
from evaluation.intervals import Estimate, group_of_rows
from evaluation.style.checked import checked_descriptors

LEAST_PROMPTS = 16
WORST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class PromptDrift:
    """How far the look wanders from prompt to prompt: on average, and at the tenth of prompts that stray furthest."""

    mean: Estimate
    worst: Estimate
    by_prompt: Tensor


def prompt_drift(made_NE: Tensor, prompts_N: Tensor, brand_RE: Tensor) -> PromptDrift:
    """Return D_p = 1 - (mean cosine of pictures of different prompts) / (mean cosine of the brand's drawings).

    0: its pictures are as much of one look as the brand's own drawings; above, they scatter more; below, they are more
    alike than the brand is.  A prompt's own drift takes the mean cosine of its pictures to all other prompts'.
    Raises TooFewPicturesError for fewer than 16 prompts or drawings.
    """
    made, brand = checked_descriptors(made_NE, "made pictures"), checked_descriptors(brand_RE, "drawings of the brand")
    names, prompt_N = prompts_N.unique(return_inverse=True)
    if len(names) < LEAST_PROMPTS:
        raise TooFewPicturesError(f"{len(names)} prompts are too few to see a drift: {LEAST_PROMPTS} are needed")
    groups_P, groups_R = group_of_rows(len(names)), group_of_rows(len(brand))
    sums_PE = torch.zeros(len(names), made.shape[1], dtype=made.dtype).index_add_(0, prompt_N, made)
    sizes_P = torch.bincount(prompt_N).double()

    def both(kept_P: Tensor, kept_R: Tensor) -> tuple[float, float, Tensor]:
        within = _mean_cosine(brand[kept_R])
        drift_P = 1 - _to_others(sums_PE[kept_P], sizes_P[kept_P]) / within
        mean = 1 - _between(sums_PE[kept_P], sizes_P[kept_P]) / within
        worst = drift_P.sort(descending=True).values[: max(1, round(WORST_SHARE * len(drift_P)))].mean()
        return float(mean), float(worst), drift_P

    all_P, all_R = groups_P >= 0, groups_R >= 0
    mean, worst, by_prompt = both(all_P, all_R)
    by_made = [both(groups_P != group, all_R)[:2] for group in groups_P.unique()]
    by_brand = [both(all_P, groups_R != group)[:2] for group in groups_R.unique()]
    left_out = {"made": torch.tensor(by_made).double(), "brand": torch.tensor(by_brand).double()}
    return PromptDrift(
        mean=Estimate(mean, {name: values[:, 0] for name, values in left_out.items()}),
        worst=Estimate(worst, {name: values[:, 1] for name, values in left_out.items()}),
        by_prompt=by_prompt,
    )


def intraclass_correlation(scores_N: Tensor, prompts_N: Tensor) -> Estimate:
    """Return ICC(1): which share of the spread of scores is the prompt's doing, and not the seed's.

    (MSB - MSW) / (MSB + (k₀ - 1) MSW) of a one-way analysis of variance, k₀ the mean size corrected for unequal ones
    (Shrout and Fleiss 1979; Donner 1986).  Raises TooFewPicturesError unless 16 prompts have two pictures or more.
    """
    _, prompt_N, counts = prompts_N.unique(return_inverse=True, return_counts=True)
    repeated = counts >= 2
    if int(repeated.sum()) < LEAST_PROMPTS:
        raise TooFewPicturesError(
            f"{int(repeated.sum())} prompts were drawn twice or more, {LEAST_PROMPTS} are needed: draw each prompt with"
            " several seeds"
        )
    kept = repeated[prompt_N]
    scores, prompt = scores_N[kept].double(), prompt_N[kept].unique(return_inverse=True)[1]
    groups_P = group_of_rows(int(prompt.max()) + 1)

    def value(groups: Tensor) -> float:
        rows = groups[prompt]
        return _icc(scores[rows], prompt[rows].unique(return_inverse=True)[1])

    left_out = [value(groups_P != group) for group in groups_P.unique()]
    return Estimate(value(groups_P >= 0), {"made": torch.tensor(left_out, dtype=torch.float64)})


def _mean_cosine(units_NE: Tensor) -> float:
    count = len(units_NE)
    return float((units_NE.sum(0).square().sum() - units_NE.square().sum()) / (count * (count - 1)))


def _between(sums_PE: Tensor, sizes_P: Tensor) -> float:
    pairs = sizes_P.sum() ** 2 - sizes_P.square().sum()
    return float((sums_PE.sum(0).square().sum() - sums_PE.square().sum()) / pairs)


def _to_others(sums_PE: Tensor, sizes_P: Tensor) -> Tensor:
    others_PE = sums_PE.sum(0) - sums_PE
    return (sums_PE * others_PE).sum(1) / (sizes_P * (sizes_P.sum() - sizes_P))


def _icc(scores_N: Tensor, prompt_N: Tensor) -> float:
    sizes_P = torch.bincount(prompt_N).double()
    means_P = torch.zeros(len(sizes_P)).double().index_add_(0, prompt_N, scores_N) / sizes_P
    count, prompts = len(scores_N), len(sizes_P)
    between = float((sizes_P * (means_P - scores_N.mean()) ** 2).sum()) / (prompts - 1)
    within = float(((scores_N - means_P[prompt_N]) ** 2).sum()) / (count - prompts)
    size = float(count - sizes_P.square().sum() / count) / (prompts - 1)
    spread = between + (size - 1) * within
    return (between - within) / spread if spread > 0 else 0.0
