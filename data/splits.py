"""Which samples no training may see: whole subjects, and single (subject, set) pairs.

A subject is what is drawn, without style suffix or drawn size (docs/adr/0001-subject-without-style-suffix.md).
Legend: N drawings; a text's prefix is the first 8 bytes of its SHA-256 as a number, in their order.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from data.record import SPLITS

HELD_OUT_ONE_IN = 10
COLOUR_SETS_OF_A_PAIR = 2
_ODD = np.uint64(0x9E3779B97F4A7C15)  # so that exchanging subject and set gives another number
TRAIN, HELDOUT_SUBJECT, HELDOUT_PAIR = (SPLITS.index(name) for name in ("train", "heldout_subject", "heldout_pair"))


def prefix(text: str) -> int:
    """Return the first 8 bytes of SHA-256(text): 16 hexadecimal digits as a number."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def held_out(text: str) -> bool:
    """Return int(sha256(text)[:8], 16) mod 10 = 0, over the hexadecimal digest: true for one text in ten."""
    return (prefix(text) >> 32) % HELD_OUT_ONE_IN == 0


def splits_of(
    subjects_N: NDArray[np.uint64],
    collections_N: NDArray[np.uint64],
    monochrome_N: NDArray[np.bool_],
    pair_held_out_N: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return each drawing's split as its place in ``SPLITS``, a pure function of the subjects and sets of one ingest.

    ``heldout_subject``: the subject is held out, in every set. ``heldout_pair``: the drawing is coloured, its subject
    is drawn in two or more colour sets, and subject + "@" + set is held out. ``train``: the rest.

    Args:
        subjects_N: prefixes of the subjects.
        collections_N: prefixes of the sets' names.
        monochrome_N: which drawings are one ink without a colour.
        pair_held_out_N: ``held_out`` of subject + "@" + set.
    """
    coloured = ~monochrome_N
    of_colour = subjects_N[coloured]
    _, first = np.unique(of_colour ^ (collections_N[coloured] * _ODD), return_index=True)  # one row a (subject, set)
    subjects, set_counts = np.unique(of_colour[first], return_counts=True)
    paired = coloured & _is_among(subjects_N, subjects[set_counts >= COLOUR_SETS_OF_A_PAIR])
    splits = np.where(paired & pair_held_out_N, HELDOUT_PAIR, TRAIN).astype(np.uint8)
    splits[(subjects_N >> np.uint64(32)) % np.uint64(HELD_OUT_ONE_IN) == 0] = HELDOUT_SUBJECT
    return splits


def _is_among(values_N: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which values are among others: as ``np.isin``, in a fifth of its memory."""
    if not len(ascending):
        return np.zeros(len(values_N), np.bool_)
    places = np.searchsorted(ascending, values_N)
    places[places == len(ascending)] = 0
    return np.asarray(ascending[places] == values_N)
