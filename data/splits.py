"""Which samples no training may see: whole subjects, and single (subject, set) pairs.

A subject is what is drawn, without style suffix or drawn size (docs/adr/0001-subject-without-style-suffix.md).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from data.record import Drawing

HELD_OUT_ONE_IN = 10
COLOUR_SETS_OF_A_PAIR = 2


def held_out(text: str) -> bool:
    """Return int(sha256(text)[:8], 16) mod 10 = 0, over the hexadecimal digest: true for one text in ten."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % HELD_OUT_ONE_IN == 0


class Splits:
    """The split of every drawing of one ingest, a pure function of subject and set.

    ``heldout_subject``: the subject is held out, in every set. ``heldout_pair``: the drawing is coloured, its subject
    is drawn in two or more colour sets, and subject + "@" + set is held out. ``train``: the rest.
    """

    def __init__(self, drawings: Iterable[Drawing]) -> None:
        colour_sets: defaultdict[str, set[str]] = defaultdict(set)
        for drawing in drawings:
            if not drawing.monochrome:
                colour_sets[drawing.subject].add(drawing.collection)
        self._paired = {subject for subject, sets in colour_sets.items() if len(sets) >= COLOUR_SETS_OF_A_PAIR}

    def split(self, drawing: Drawing) -> str:
        """Return the drawing's split."""
        if held_out(drawing.subject):
            return "heldout_subject"
        paired = not drawing.monochrome and drawing.subject in self._paired
        if paired and held_out(f"{drawing.subject}@{drawing.collection}"):
            return "heldout_pair"
        return "train"
