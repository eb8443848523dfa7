"""Batches of one shape: every sample once an epoch, as many steps on every rank, any position found again."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.buckets import AcrossEpochs, Buckets, Step
from data.errors import DataError
from data.order import SampleOrder

shapes_of_rows = st.lists(st.integers(0, 3), min_size=1, max_size=60)
batches = st.integers(1, 13)


def buckets(shapes: list[int], batch: int, seed: int = 0) -> Buckets:
    return Buckets(np.arange(len(shapes)) + 1000, np.array(shapes), batch=batch, seed=seed)


def taken(plan: Buckets, steps: int, *, position: int = 0, ranks: int = 1) -> list[list[Step]]:
    parts = [plan.steps(position, rank, ranks) for rank in range(ranks)]
    return [list(step) for step in islice(zip(*parts, strict=True), steps)]


def real_rows(ranks: list[Step]) -> list[int]:
    return [row for step in ranks for row in step.rows[step.real].tolist()]


@given(shapes=shapes_of_rows, batch=batches, seed=st.integers(0, 2**32 - 1), ranks=st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=60)
def test_every_sample_stands_once_in_every_epoch_in_a_batch_of_its_shape(
    shapes: list[int], batch: int, seed: int, ranks: int
) -> None:
    plan = buckets(shapes, batch, seed)
    steps = taken(plan, 2 * plan.steps_per_epoch, ranks=ranks)
    for epoch in (steps[: plan.steps_per_epoch], steps[plan.steps_per_epoch :]):
        assert sorted(row for step in epoch for row in real_rows(step)) == [1000 + row for row in range(len(shapes))]
    for step in steps:
        assert len({shapes[row - 1000] for part in step for row in part.rows}) == 1
        assert len({len(part.rows) for part in step}) == 1, "as many pictures on every rank"
        assert len(real_rows(step)) <= batch


@given(shapes=shapes_of_rows, batch=batches, ranks=st.sampled_from([2, 4]), first=st.integers(0, 30))
@settings(deadline=None, max_examples=60)
def test_ranks_and_resumption_alter_nothing(shapes: list[int], batch: int, ranks: int, first: int) -> None:
    plan = buckets(shapes, batch)
    whole = taken(plan, first + 5)
    position = whole[first][0].end
    resumed = taken(plan, 4, position=position, ranks=ranks)
    assert [real_rows(step) for step in resumed] == [real_rows(step) for step in whole[first + 1 :]]
    for step in resumed:
        begins = [part.begin for part in step if part.real.any()]
        lengths = [int(part.real.sum()) for part in step if part.real.any()]
        assert begins == [position + sum(lengths[:place]) for place in range(len(lengths))]
        position = step[0].end


def test_epochs_seeds_and_the_order_of_buckets_differ() -> None:
    shapes = [0] * 40 + [1] * 23
    plan = buckets(shapes, 4)
    first, second = ([plan.rows(epoch, step).tolist() for step in range(plan.steps_per_epoch)] for epoch in range(2))
    assert first != second != [buckets(shapes, 4, seed=1).rows(0, step).tolist() for step in range(16)]
    kinds = [rows[0] < 1040 for rows in first]
    assert kinds != sorted(kinds) != kinds[::-1]
    assert Counter(map(len, first)) == {4: 15, 3: 1}


def test_a_position_inside_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match="no batch of 4 begins at sample 6: resume with the batch of the run"):
        next(buckets([0] * 16, 4).steps(6, 0, 1))
    with pytest.raises(DataError, match="a batch of 0 pictures is none"):
        buckets([0], 0)


@given(batch=st.sampled_from([4, 8]), position=st.integers(0, 50), count=st.integers(1, 20))
@settings(deadline=None)
def test_batches_across_epochs_are_the_order_cut_in_pieces(batch: int, position: int, count: int) -> None:
    order = SampleOrder(range(count), seed=3)
    parts = [AcrossEpochs(order, batch=batch).steps(position, rank, 4) for rank in range(4)]
    rows = [step.rows.tolist() for _ in range(5) for step in map(next, parts)]
    assert list(chain(*rows)) == order.at(position, 5 * batch).tolist()


def test_ranks_that_cannot_share_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match="a batch of 6 cannot be shared evenly by 4 ranks"):
        next(AcrossEpochs(SampleOrder(range(9), seed=0), batch=6).steps(0, 0, 4))
