"""How the style descriptor's head learns: pictures of one set together, whatever they show.

Half the loss is supervised contrastive (Khosla et al. 2020, Eq. 2), half a softmax over one learnt centre a set with
a margin on the cosine (Wang et al. 2018, CosFace).  Half of each batch shows subjects that several sets drew, so that
what is shown cannot tell sets apart.  Shapes: statistics [N,D], descriptors [B,E], labels [B], sets S.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from evaluation.style.descriptor import StyleHead

SCALE = 16.0
MARGIN = 0.1
SMOOTHING = 0.05
SHARED_SUBJECTS = 48
WARM_UP_SHARE = 0.05
LEAST_DEVIATION = 1e-4


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is learnt: statistics [N,D], which set each is of [N] and which subject it shows [N]."""

    statistics: Tensor
    labels: Tensor
    subjects: Tensor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How it is learnt."""

    hidden: int
    dimensions: int
    steps: int
    pictures_a_set: int
    learning_rate: float
    weight_decay: float
    dropout: float
    seed: int


def fit_head(lesson: Lesson, recipe: Recipe) -> StyleHead:
    """Return a head fitted on the CPU by one thread, so that equal statistics and seeds give equal weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return _fitted(lesson, recipe)
    finally:
        torch.set_num_threads(threads)


def contrastive_loss(units_BE: Tensor, labels_B: Tensor, scale: float = SCALE) -> Tensor:
    """Return -Σ_i 1/|P(i)| Σ_{p∈P(i)} log softmax_{j≠i}(scale·z_i·z_j)_p, averaged over i."""
    alone = torch.eye(len(units_BE), dtype=torch.bool)
    same = (labels_B[:, None] == labels_B[None]) & ~alone
    logarithm = (scale * units_BE @ units_BE.T).masked_fill(alone, -1e4).log_softmax(dim=1)
    return -((logarithm * same).sum(dim=1) / same.sum(dim=1).clamp_min(1)).mean()


def centre_loss(units_BE: Tensor, centres_SE: Tensor, labels_B: Tensor) -> Tensor:
    """Return the cross-entropy of scale·(cos - margin·[own set]) over the sets' centres."""
    cosines = units_BE @ functional.normalize(centres_SE, dim=1).T
    own = functional.one_hot(labels_B, len(centres_SE))
    return functional.cross_entropy(SCALE * (cosines - MARGIN * own), labels_B, label_smoothing=SMOOTHING)


def _fitted(lesson: Lesson, recipe: Recipe) -> StyleHead:
    head = StyleHead(lesson.statistics.shape[1], recipe.hidden, recipe.dimensions, recipe.dropout)
    head.get_buffer("mean").copy_(lesson.statistics.mean(dim=0))
    head.get_buffer("deviation").copy_(lesson.statistics.std(dim=0).clamp_min(LEAST_DEVIATION))
    centres = nn.Parameter(torch.randn(int(lesson.labels.max()) + 1, recipe.dimensions))
    optimizer = torch.optim.AdamW([*head.parameters(), centres], recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=WARM_UP_SHARE
    )
    columns = (TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("loss {task.fields[loss]}")) as progress:
        task = progress.add_task("fitting the head", total=recipe.steps, loss="")
        batches = _batches(lesson, recipe.pictures_a_set)
        for _ in range(recipe.steps):
            rows = next(batches)
            units, labels = head(lesson.statistics[rows]), lesson.labels[rows]
            loss = (contrastive_loss(units, labels) + centre_loss(units, centres, labels)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, loss=f"{loss.item():.3f}")
    return head.eval().requires_grad_(False)


def _batches(lesson: Lesson, a_set: int) -> Iterator[Tensor]:
    """Yield rows [S·a_set]: of every set as many, half of them subjects that other sets drew as well."""
    rows_of = [(lesson.labels == label).nonzero()[:, 0] for label in range(int(lesson.labels.max()) + 1)]
    shared = _shared(lesson)
    while True:
        pool = shared[torch.randperm(len(shared))[:SHARED_SUBJECTS]]
        wanted = torch.isin(lesson.subjects, pool)
        batch = []
        for rows in rows_of:
            common = rows[wanted[rows]]
            common = common[torch.randperm(len(common))[: a_set // 2]]
            others = rows[torch.randint(len(rows), (a_set - len(common),))]
            batch += [common, others]
        yield torch.cat(batch)


def _shared(lesson: Lesson) -> Tensor:
    """Return the subjects that at least two sets drew."""
    drawn_by = defaultdict(set)
    for subject, label in zip(lesson.subjects.tolist(), lesson.labels.tolist(), strict=True):
        drawn_by[subject].add(label)
    return torch.tensor([subject for subject, labels in drawn_by.items() if len(labels) > 1], dtype=torch.long)
