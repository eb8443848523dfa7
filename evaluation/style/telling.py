"""The table that says whether a descriptor tells sets apart: every set with its intervals, worst case shown.

Shapes: descriptors [N,E]; row n is a drawing that the descriptor never learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluation.errors import TooFewPicturesError
from evaluation.intervals import Interval
from evaluation.style.separation import LEAST_OF_A_SET, against_set_auc, auc, mean_over_sets, pairwise_auc

OTHERS = 220  # drawings of other sets that a set is told from, as many of each set as of the next
REFERENCES = (5, 10)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Descriptors of unseen drawings with what is known of each: its set, who drew that, its kind, what it shows.

    Sets of one collection are drawn by one hand and hardly differ, so they are no "other sets" to each other.
    Kinds are ``colour``, ``one-colour`` and ``brand``; brands are told from colour drawings and from other brands.
    """

    descriptors: Tensor
    sets: tuple[str, ...]
    collections: tuple[str, ...]
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]

    def described(self, descriptors: Tensor) -> Seen:
        """Return the same drawings as another descriptor sees them."""
        return replace(self, descriptors=descriptors)


@dataclass(frozen=True, kw_only=True)
class Told:
    """AUC of "same set or not" for one set, by what is asked: ``pair``, ``pair, same kind``, ``5 references``…"""

    name: str
    kind: str
    count: int
    areas: Mapping[str, Interval]


def tell(seen: Seen, *, seed: int = 0, advance: Callable[[int], object] = lambda _: None) -> list[Told]:
    """Return one row a set with enough drawings, each against as many drawings of every other set.

    Raises TooFewPicturesError when fewer than two sets have enough.
    """
    order = torch.randperm(len(seen.sets), generator=torch.Generator().manual_seed(seed)).tolist()
    rows_of = {name: [row for row in order if seen.sets[row] == name] for name in sorted(set(seen.sets))}
    enough = {name: rows for name, rows in rows_of.items() if len(rows) >= max(REFERENCES) + LEAST_OF_A_SET}
    if len(enough) < 2:
        raise TooFewPicturesError(
            f"{len(enough)} sets have {max(REFERENCES) + LEAST_OF_A_SET} unseen drawings or more, two are needed"
        )
    rows = []
    for name, own in enough.items():
        rows.append(_told(seen, name, own, rows_of, seed))
        advance(1)
    return rows


def summary(rows: Sequence[Told]) -> dict[str, dict[str, tuple[Interval, Told]]]:
    """Return kind → question → (mean over sets with its interval over sets, the worst set)."""
    found: dict[str, dict[str, tuple[Interval, Told]]] = {}
    for kind in sorted({row.kind for row in rows}):
        of_kind = [row for row in rows if row.kind == kind]
        for question in of_kind[0].areas:
            values = torch.tensor([row.areas[question].value for row in of_kind], dtype=torch.float64)
            mean = mean_over_sets(values) if len(of_kind) > 1 else of_kind[0].areas[question]
            worst = min(of_kind, key=lambda row: row.areas[question].value)
            found.setdefault(kind, {})[question] = (mean, worst)
    return found


def content_auc(seen: Seen) -> float:
    """Return the AUC with the content against the look: same set, other subject over same subject, other set.

    A descriptor that looks at what is shown falls below 0.5 here.  Raises TooFewPicturesError without such pairs.
    """
    units = torch.nn.functional.normalize(seen.descriptors.float(), dim=1)
    sets, collections, subjects = (_numbers(names) for names in (seen.sets, seen.collections, seen.subjects))
    upper = torch.triu(torch.ones(len(units), len(units), dtype=torch.bool), 1)
    same_set, same_subject = sets[:, None] == sets[None], subjects[:, None] == subjects[None]
    look = upper & same_set & ~same_subject
    content = upper & (collections[:, None] != collections[None]) & same_subject
    if not bool(look.any() and content.any()):
        raise TooFewPicturesError("no two of these drawings show one subject in two sets: the content cannot be tested")
    cosines = units @ units.T
    return auc(cosines[look], cosines[content])


def _told(seen: Seen, name: str, own: list[int], rows_of: Mapping[str, list[int]], seed: int) -> Told:
    collection, kind = seen.collections[own[0]], seen.kinds[own[0]]
    strange = {other: rows for other, rows in rows_of.items() if seen.collections[rows[0]] != collection}
    alike = {other: rows for other, rows in strange.items() if _of_kind(seen.kinds[rows[0]], kind)}
    units, mine = seen.descriptors, seen.descriptors[own]
    everyone, peers = units[_evenly(strange.values())], units[_evenly(alike.values())]
    areas = {"pair": pairwise_auc(mine, everyone), "pair, same kind": pairwise_auc(mine, peers)}
    for count in REFERENCES:
        areas[f"{count} references"] = against_set_auc(mine, everyone, count, seed=seed)
        areas[f"{count} references, same kind"] = against_set_auc(mine, peers, count, seed=seed)
    intervals = {question: estimate.interval() for question, estimate in areas.items()}
    return Told(name=name, kind=kind, count=len(own), areas=intervals)


def _of_kind(other: str, kind: str) -> bool:
    return other == kind or (kind == "brand" and other == "colour")


def _evenly(groups: Iterable[list[int]]) -> list[int]:
    kept = list(groups)
    each = max(1, OTHERS // max(1, len(kept)))
    return [row for rows in kept for row in rows[:each]]


def _numbers(names: Sequence[str]) -> Tensor:
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return torch.tensor([places[name] for name in names])
