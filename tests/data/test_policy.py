"""Which licences each policy admits."""

from __future__ import annotations

import dataclasses

import pytest

from data.errors import PolicyError
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
