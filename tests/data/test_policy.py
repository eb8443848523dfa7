"""Which licences each policy admits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import PolicyError
from data.lists import WorkList
from data.policy import Policy, load_policy
from data.record import Drawing

DRAWING = Drawing(
    key="a__b",
    captions=("b",),
    subject="b",
    collection="a",
    style="a",
    monochrome=False,
    licence="MIT",
    creator="",
    creator_url="",
    source_uri="",
    evidence="",
    retrieved="2026-01-01",
    content=b"",
)

# licence: why commercial, share_alike and research refuse it, None where they admit it
NOT_IN, UNKNOWN, MISSING = "licence not in policy", "licence unknown", "licence missing"
TABLE = {
    "MIT": (None, None, None),
    "Apache-2.0": (None, None, None),
    "CC-BY-4.0": (None, None, None),
    "CC0-1.0": (None, None, None),
    "LicenseRef-Own-Work": (None, None, None),
    "CC-BY-SA-4.0": (NOT_IN, None, None),
    "CC-BY-NC-4.0": (NOT_IN, NOT_IN, None),
    "CC-BY-ND-4.0": (NOT_IN, NOT_IN, NOT_IN),
    "GPL-3.0-only": (NOT_IN, NOT_IN, NOT_IN),
    "MIT OR GPL-3.0-only": (None, None, None),
    "MIT AND GPL-3.0-only": (NOT_IN, NOT_IN, NOT_IN),
    "MIT AND (ISC OR GPL-3.0-only)": (None, None, None),
    "Apache-2.0 WITH LLVM-exception": (None, None, None),
    "LicenseRef-Somebody": (NOT_IN, NOT_IN, NOT_IN),
    "free for all": (UNKNOWN, UNKNOWN, UNKNOWN),
    "MIT AND": (UNKNOWN, UNKNOWN, UNKNOWN),
    "": (MISSING, MISSING, MISSING),
    None: (MISSING, MISSING, MISSING),
}


@pytest.mark.parametrize("licence", TABLE)
def test_table(licence: str | None) -> None:
    for name, expected in zip(("commercial", "share_alike", "research"), TABLE[licence], strict=True):
        refused = load_policy(name).refusal(dataclasses.replace(DRAWING, licence=licence))
        assert (refused and refused.reason) == expected, name
        assert refused is None or refused.detail


@pytest.mark.parametrize("collection", ["logos", "simple-icons", "vscode-icons"])
@pytest.mark.parametrize("policy", ["commercial", "share_alike", "research"])
def test_protected_marks_are_refused_whatever_their_licence(policy: str, collection: str) -> None:
    refused = load_policy(policy).refusal(dataclasses.replace(DRAWING, collection=collection, licence="CC0-1.0"))
    assert refused is not None and refused.reason == "trademark"


def test_a_finished_dataset_is_held_against_the_policy() -> None:
    load_policy("share_alike").check_licences({"CC-BY-SA-4.0": 60}, "brand")
    with pytest.raises(PolicyError, match=r"brand holds 60 pictures under CC-BY-SA-4\.0, which policy commercial"):
        load_policy("commercial").check_licences({"CC-BY-SA-4.0": 60}, "brand")


def test_policies_refuse_what_is_no_licence() -> None:
    with pytest.raises(PolicyError, match="not an SPDX licence"):
        Policy(name="odd", licences=["Nonsense-1.0"])
    with pytest.raises(PolicyError, match="allows no licence"):
        Policy(name="empty", licences=[])
    with pytest.raises(PolicyError, match="there are commercial"):
        load_policy("commerce")


LISTED = dataclasses.replace(
    DRAWING,
    key="gallery__fox",
    creator="Jane  Doe",
    creator_url="https://jane.example.org/",
    source_uri="https://www.Pictures.example.com/gallery/fox.png",
)


@pytest.mark.parametrize(
    ("entry", "names_it"),
    [
        ("key:gallery__fox", True),
        ("key:gallery__fo", False),
        ("uri:https://www.pictures.example.com/gallery/", True),
        ("uri:http://pictures.example.com/gal", True),
        ("uri:https://pictures.example.com/other/", False),
        ("creator:jane doe", True),
        ("creator:jane", False),
        ("domain:example.org", True),
        ("domain:pictures.example.com", True),
        ("domain:https://jane.example.org/about", True),
        ("domain:ample.org", False),
    ],
)
def test_lists_name_works_by_key_address_maker_and_domain(entry: str, names_it: bool) -> None:
    revoking = Policy(name="p", licences=["MIT"], revoked=["key:other", entry])
    sparing = Policy(name="p", licences=["MIT"], opted_out=["key:other", entry])
    for policy, reason in ((revoking, "revoked"), (sparing, "opt-out listed")):
        refused = policy.refusal(LISTED)
        assert (refused and refused.reason) == (reason if names_it else None)
        assert refused is None or entry in refused.detail


def test_a_list_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "opted-out.txt"
    file.write_text("# asked by mail\n\nkey:gallery__fox  # on 2026-01-31\ndomain:example.net\n")
    policy = Policy(name="p", licences=["MIT"], opted_out=[f"file:{file}"])
    refused = policy.refusal(LISTED)
    assert refused is not None and refused.detail == "listed as key:gallery__fox"
    assert policy.refusal(DRAWING) is None


def test_what_a_policy_lists_is_part_of_what_it_is(tmp_path: Path) -> None:
    plain = load_policy("commercial").describe()
    assert set(plain) == {"name", "licences", "protected"}
    entries = ["key:b", "creator:A"]
    one, other = (Policy(name="p", licences=["MIT"], revoked=order) for order in (entries, entries[::-1]))
    assert one.describe() == other.describe()
    assert one.describe() != Policy(name="p", licences=["MIT"], revoked=["key:b"]).describe()
    assert one.describe() != Policy(name="p", licences=["MIT"], opted_out=entries).describe()


@pytest.mark.parametrize("entry", ["gallery__fox", "key:", "name:fox", "domain: ", "uri:https://"])
def test_an_entry_that_names_nothing_is_told(entry: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="names no work"):
        Policy(name="p", licences=["MIT"], revoked=[entry])
    (tmp_path / "list.txt").write_text(entry)
    with pytest.raises(PolicyError, match="names no work"):
        Policy(name="p", licences=["MIT"], revoked=[f"file:{tmp_path / 'list.txt'}"])


def test_a_list_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.bin").write_bytes(b"\xff\xfe")
    for file in ("list.bin", "missing.txt"):
        with pytest.raises(PolicyError, match="cannot be read"):
            Policy(name="p", licences=["MIT"], opted_out=[f"file:{tmp_path / file}"])


@given(
    st.lists(st.text("ab/", min_size=1, max_size=4), max_size=12),
    st.text("ab/", min_size=1, max_size=8),
)
def test_prefixes_match_as_a_plain_search_does(prefixes: list[str], path: str) -> None:
    address = "folder:" + path
    listed = WorkList([f"uri:folder:{prefix}" for prefix in prefixes])
    found = listed.entry_for(dataclasses.replace(DRAWING, source_uri=address))
    assert (found is not None) == any(path.startswith(prefix) for prefix in prefixes)
