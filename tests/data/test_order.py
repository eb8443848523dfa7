"""The order of samples: a function of (seed, epoch, position), whatever the ranks and wherever a run resumes."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from data.errors import DataError
from data.order import SampleOrder, Shuffle, StepRows

seeds = st.integers(0, 2**32 - 1)


def order(count: int = 13, seed: int = 0) -> SampleOrder:
    return SampleOrder(range(100, 100 + count), seed=seed)


@given(count=st.integers(1, 50), seed=seeds, epoch=st.integers(0, 20))
@settings(deadline=None)
def test_every_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    rows = order(count, seed).at(epoch * count, count)
    assert sorted(rows.tolist()) == list(range(100, 100 + count))


@given(count=st.integers(1, 3000), seed=seeds, epoch=st.integers(0, 2**40))
@settings(deadline=None)
def test_a_shuffle_knows_where_each_value_stands(count: int, seed: int, epoch: int) -> None:
    shuffle, places = Shuffle(count, seed, epoch), np.arange(count)
    values = shuffle(places)
    assert sorted(values.tolist()) == places.tolist()
    assert shuffle.places_of(values).tolist() == places.tolist()
    assert shuffle(places[count // 2 :]).tolist() == values[count // 2 :].tolist()


@pytest.mark.parametrize("count", [3, 7, 16, 30])
def test_every_value_stands_everywhere_equally_often(count: int) -> None:
    """And every pair of values next to each other, by a chi-square test with a fixed seed."""
    drawn = np.stack([Shuffle(count, 1, epoch)(np.arange(count)) for epoch in range(4000)])
    for place in range(count):
        assert chisquare(np.bincount(drawn[:, place], minlength=count)).pvalue > 1e-4
    pairs = np.bincount(drawn[:, 0] * count + drawn[:, 1], minlength=count**2).reshape(count, count)
    assert chisquare(pairs[~np.eye(count, dtype=bool)]).pvalue > 1e-4
    assert (pairs.diagonal() == 0).all()


@given(rows=st.lists(st.integers(0, 5), min_size=1, max_size=30), seed=seeds, position=st.integers(0, 200))
@settings(deadline=None)
def test_how_often_a_row_was_shown_is_computed_not_counted(rows: list[int], seed: int, position: int) -> None:
    order = SampleOrder(rows, seed=seed)
    shown = Counter(order.at(0, position).tolist())
    assert [order.times_shown(row, position) for row in range(7)] == [shown[row] for row in range(7)]


def test_a_digest_tells_rows_and_seed() -> None:
    digests = {SampleOrder(rows, seed=seed).digest() for rows, seed in (([1, 2], 0), ([2, 1], 0), ([1, 2], 1))}
    assert len(digests) == 3
    assert SampleOrder([1, 2], seed=0).digest() in digests


def test_epochs_and_seeds_differ() -> None:
    first, second = order(50).at(0, 50), order(50).at(50, 50)
    assert first.tolist() != second.tolist() != order(50, seed=1).at(50, 50).tolist()


@given(rows=st.lists(st.integers(0, 5), min_size=1, max_size=30), seed=seeds, epoch=st.integers(0, 5))
@settings(deadline=None)
def test_a_row_with_a_weight_stands_so_often_in_every_epoch(rows: list[int], seed: int, epoch: int) -> None:
    drawn = SampleOrder(rows, seed=seed).at(epoch * len(rows), len(rows))
    assert Counter(drawn.tolist()) == Counter(rows)


@given(position=st.integers(0, 100), count=st.integers(1, 60), cut=st.integers(0, 60), seed=seeds)
@settings(deadline=None)
def test_a_stretch_is_its_parts_one_behind_the_other(position: int, count: int, cut: int, seed: int) -> None:
    whole = order(seed=seed).at(position, count).tolist()
    cut = min(cut, count - 1)
    head = order(seed=seed).at(position, cut).tolist() if cut else []
    assert head + order(seed=seed).at(position + cut, count - cut).tolist() == whole


@given(steps=st.integers(1, 8), first_step=st.integers(0, 20), seed=seeds, batch=st.sampled_from([4, 8, 12]))
@settings(deadline=None)
def test_any_number_of_ranks_sees_the_same_rows_step_by_step(
    steps: int, first_step: int, seed: int, batch: int
) -> None:
    def seen(ranks: int) -> list[list[int]]:
        parts = [
            StepRows(order(seed=seed), first_step=first_step, batch=batch // ranks, rank=rank, ranks=ranks)
            for rank in range(ranks)
        ]
        return [torch.cat(rows).tolist() for rows in islice(zip(*parts, strict=True), steps)]

    assert seen(1) == seen(2) == seen(4)


@given(first_step=st.integers(0, 30), seed=seeds, ranks=st.sampled_from([1, 2, 4]))
@settings(deadline=None)
def test_a_run_that_resumes_at_a_step_goes_on_where_it_was(first_step: int, seed: int, ranks: int) -> None:
    through = StepRows(order(seed=seed), first_step=0, batch=3, rank=ranks - 1, ranks=ranks)
    resumed = StepRows(order(seed=seed), first_step=first_step, batch=3, rank=ranks - 1, ranks=ranks)
    expected = list(islice(through, first_step, first_step + 4))
    assert all(torch.equal(one, two) for one, two in zip(islice(resumed, 4), expected, strict=True))


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="there is nothing to learn from: the dataset has no row of split train"):
        SampleOrder([], seed=0)
