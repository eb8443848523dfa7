"""Records, samples and the version over them."""

from __future__ import annotations

import dataclasses
import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import DataError, DatasetError
from data.merkle import leaf_digest, merkle_root
from data.record import KEY_PATTERN, SPLITS, Record, sample_key
from data.shards import pack_sample, unpack_sample

texts = st.text(max_size=20)
captions = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4, unique=True).map(tuple)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
records = st.builds(
    lambda captions, **rest: Record(caption=captions[0], captions=captions, **rest),
    captions=captions,
    key=st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=88),
    split=st.sampled_from(SPLITS),
    monochrome=st.booleans(),
    sha256=digests,
    **dict.fromkeys(
        ("subject", "collection", "style", "licence", "creator", "creator_url", "source_uri", "evidence", "retrieved"),
        texts,
    ),
)


@given(records)
def test_a_record_reads_as_written(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record


@given(records, st.binary(max_size=2000))
def test_a_sample_unpacks_as_packed(record: Record, picture: bytes) -> None:
    span = pack_sample(record, picture)
    assert unpack_sample(span) == (record.to_json(), picture)
    assert len(span) % 512 == 0


@given(records, st.binary(max_size=100))
def test_a_cut_span_is_refused(record: Record, picture: bytes) -> None:
    with pytest.raises(DatasetError):
        unpack_sample(pack_sample(record, picture)[:-512])


@given(records)
def test_sample_digest_covers_all_but_the_date(record: Record) -> None:
    assert dataclasses.replace(record, retrieved="another day").sample_sha256() == record.sample_sha256()
    assert dataclasses.replace(record, style=record.style + "x").sample_sha256() != record.sample_sha256()
    other = f"{int(record.sha256, 16) ^ 1:064x}"
    assert dataclasses.replace(record, sha256=other).sample_sha256() != record.sample_sha256()


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"{}", b'{"key":"a"}'],
)
def test_broken_records_are_refused(text: bytes) -> None:
    with pytest.raises(DataError):
        Record.from_json(text)


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_are_safe_and_stable(collection: str, name: str) -> None:
    key = sample_key(collection, name)
    assert KEY_PATTERN.fullmatch(key)
    assert sample_key(collection, name) == key


def test_keys_differ_where_names_differ_only_in_what_is_unsafe() -> None:
    assert sample_key("a", "b.c") != sample_key("a", "b c")
    assert sample_key("a", "B") != sample_key("a", "b")


def _reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written."""
    if len(leaves) == 1:
        return leaves[0]
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    return hashlib.sha256(b"\x01" + _reference_root(leaves[:cut]) + _reference_root(leaves[cut:])).digest()


@given(st.lists(st.tuples(digests, st.sampled_from(["MIT", "CC-BY-4.0"])), min_size=1, max_size=40))
def test_root_is_that_of_rfc_6962_in_any_order(samples: list[tuple[str, str]]) -> None:
    expected = _reference_root([leaf_digest(*sample) for sample in sorted(samples)]).hex()
    assert merkle_root(samples) == merkle_root(reversed(samples)) == expected


def test_root_golden() -> None:
    """printf '\\x00'$(printf '00%.0s' {1..32})MIT … | sha256sum, by hand."""
    zero = "00" * 32
    leaf = hashlib.sha256(bytes(33) + b"MIT").hexdigest()
    assert merkle_root([(zero, "MIT")]) == leaf
    assert merkle_root([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
