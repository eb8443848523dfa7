"""The ledger tells a sample that was missed, one seen twice, and what a resumption took back."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DatasetError
from data.ledger import EpochOf, Ledger, check_ledger, fingerprint, read_ledger
from data.order import SampleOrder

ORDER = SampleOrder(range(100, 130), seed=5)
EPOCH = EpochOf.of(ORDER.rows, ORDER.digest())


def hand_over(ledger: Ledger, begin: int, end: int, *, rank: int = 0, ranks: int = 1, batch: int = 4) -> None:
    """Take down this rank's part of the batches from one position to another."""
    share = batch // ranks
    for position in range(begin + rank * share, end, batch):
        ledger.add(position, ORDER.at(position, share))


def test_an_epoch_of_which_each_sample_was_handed_over_is_right(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path, EPOCH, rank=rank, ranks=2, position=0) for rank in range(2)]
    for rank, ledger in enumerate(ledgers):
        hand_over(ledger, 0, 64, rank=rank, ranks=2)
        for checkpoint in (12, 40, 64):
            ledger.close_at(checkpoint)
    assert [str(epoch) for epoch in check_ledger(tmp_path)] == [
        "epoch 0: 30 of 30 samples, each exactly once",
        "epoch 1: 30 of 30 samples, each exactly once",
        "epoch 2: 4 of 30 samples, so far",
    ]


def test_what_a_resumption_took_back_is_not_counted_on_any_number_of_ranks(tmp_path: Path) -> None:
    for rank in range(2):
        killed = Ledger(tmp_path, EPOCH, rank=rank, ranks=2, position=0)
        hand_over(killed, 0, 28, rank=rank, ranks=2)
        killed.close_at(12)
        killed.close_at(20)  # its checkpoint was never whole: the run resumes at the one before
    with (tmp_path / "rank-0.jsonl").open("a") as file:
        file.write('{"time_ns": 1, "begi')  # killed while writing
    resumed = Ledger(tmp_path, EPOCH, rank=0, ranks=1, position=12)
    hand_over(resumed, 12, 32)
    resumed.close_at(32)
    assert [epoch.samples for epoch in check_ledger(tmp_path)] == [30, 2]


@pytest.mark.parametrize("wrong", [{7: 107, 8: 107}, {0: 129}, {3: 99}])
def test_a_sample_missed_or_seen_twice_is_told(wrong: dict[int, int], tmp_path: Path) -> None:
    rows = np.sort(ORDER.rows)
    for place, row in wrong.items():
        rows[place] = row
    if len(set(rows.tolist())) == 30:
        rows[1] = rows[2]
    ledger = Ledger(tmp_path, EPOCH, rank=0, ranks=1, position=0)
    ledger.add(0, rows)
    ledger.close_at(30)
    with pytest.raises(DatasetError, match="epoch 0: 30 of 30 samples, NOT each exactly once"):
        check_ledger(tmp_path)


def test_a_sample_revoked_meanwhile_is_told_and_no_mistake(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, EPOCH, rank=0, ranks=1, position=0)
    rows = ORDER.at(0, 30)
    rows[4] = rows[5]
    ledger.add(0, rows, revoked=1)
    ledger.close_at(30)
    assert str(check_ledger(tmp_path)[0]) == "epoch 0: 30 of 30 samples, 1 of them revoked meanwhile"


@given(rows=st.lists(st.integers(0, 2**40), max_size=40), seed=st.integers(0, 99), cut=st.integers(0, 40))
@settings(deadline=None)
def test_a_fingerprint_is_the_sum_of_its_parts_in_any_order(rows: list[int], seed: int, cut: int) -> None:
    mixed = random.Random(seed).sample(rows, len(rows))
    one, two, whole = (fingerprint(np.array(part, np.int64)) for part in (mixed[:cut], mixed[cut:], rows))
    assert (one + two) % 2**64 == whole
    if rows:
        assert fingerprint(np.array([*rows[1:], rows[0] + 1], np.int64)) != whole


def test_no_ledger_and_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no ledger: it lacks rank-0\.jsonl"):
        read_ledger(tmp_path)
    (tmp_path / "rank-0.jsonl").write_text("{}\n")
    with pytest.raises(DatasetError, match=r"rank-0\.jsonl line 1 is broken"):
        read_ledger(tmp_path)
