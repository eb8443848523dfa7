"""What changed between two evaluations of equal prompts and seeds, figure by figure and picture by picture.

Shapes: pictures uint8 [N,3,H,W], distances [N].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from evaluation.changes import Difference, by_intervals, holm, paired_by_jackknife, paired_by_signs, same_value
from evaluation.errors import NotComparableError
from evaluation.evidence import Evidence
from evaluation.figures import Better, Figure, Unit
from evaluation.intervals import LEVEL, Estimate
from evaluation.measurement import PerPicture, Section, Verdict
from evaluation.wording import figure_label

EQUAL = Difference(value=0.0, low=0.0, high=0.0, p=1.0, test="equal")
SAME_PICTURE = 1e-5  # cosine distance that rounding to float16 leaves between equal pictures
REFERENCES = ("_unadapted", "_floor", "_real")  # how the names of figures end that are none of the model's own
Outcome = Literal["better", "worse", "open", "equal"]
Drift = Callable[[Tensor, Tensor], Section]  # pictures before and after, uint8 [N,3,H,W] each
PARTS = (
    (r"N=\d+", "the number of pictures"),
    (r"\d+px", "the size of the pictures"),
    (r".*:seed\d+", "the judging drawings"),
    (r".*@[0-9a-f]{6,}.*", "the network, or a dataset"),
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure, or mean of a number a picture, on both sides; ``p`` is Holm's over all that were tested."""

    name: str
    label: str
    unit: Unit
    better: Better
    identity: str
    before: float
    after: float
    difference: Difference
    p: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that can be said of two evaluations; ``moved`` [N] is how far each picture moved (1 - cosine)."""

    before: Evidence
    after: Evidence
    changes: tuple[Change, ...]
    left_out: tuple[tuple[str, str], ...]
    moved: Tensor
    sections: tuple[Section, ...]
    verdict: Verdict
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the content of ``changes.json``."""
        sides = {"before": self.before, "after": self.after}
        return {
            key: {"reference": side.title, "digest": side.digest, "settings": dict(side.settings)}
            for key, side in sides.items()
        } | {
            "suite": self.before.suite,
            "count": len(self.before.asked),
            "verdict": self.verdict.headline,
            "changes": [_change_json(change) for change in self.changes],
            "left_out": [{"name": name, "why": why} for name, why in self.left_out],
            "sections": [
                section.to_json() | {"figures": [figure.to_json() for figure in section.figures]}
                for section in self.sections
            ],
            "moved": [round(float(distance), 6) for distance in self.moved],
        }


def compare(before: Evidence, after: Evidence, drift: Drift | None = None) -> Comparison:
    """Return what changed.  Raises NotComparableError when suite, N, prompts or every identity differ."""
    refuse_unlike(before, after)
    tested, left_out = _tested(before, after)
    changes = _corrected(tested)
    moved = 1 - torch.nn.functional.cosine_similarity(before.features, after.features, dim=1)
    return Comparison(
        before=before,
        after=after,
        changes=changes,
        left_out=left_out,
        moved=moved,
        sections=(drift(before.made, after.made),) if drift else (),
        verdict=_verdict(changes, moved),
        notes=_notes(before, after),
    )


def refuse_unlike(before: Evidence, after: Evidence) -> None:
    """Raise NotComparableError unless both sides measured the same suite on equal prompts and seeds."""
    names = f"{before.title} and {after.title} must not be compared"
    if before.suite != after.suite:
        raise NotComparableError(f"{names}: suite {before.suite} against suite {after.suite}; evaluate both by one")
    if len(before.asked) != len(after.asked):
        raise NotComparableError(
            f"{names}: the number of pictures differs, N={len(before.asked)} against N={len(after.asked)};"
            " evaluate both with equal suite.pictures"
        )
    other = [row for row, (one, two) in enumerate(zip(before.asked, after.asked, strict=True)) if one != two]
    if other:
        raise NotComparableError(
            f"{names}: {len(other)} of {len(before.asked)} pictures were asked for differently, first"
            f" {before.asked[other[0]]} against {after.asked[other[0]]}; evaluate both with equal seed and judge"
        )
    if before.extractor != after.extractor:
        raise NotComparableError(
            f"{names}: the network that looked at the pictures differs, {before.extractor} against {after.extractor}"
        )


def difference_of(before: str, after: str) -> str:
    """Return which parts of two identities differ: "the size of the pictures (64px against 128px)"."""
    one, other = ([part for part in identity.split("/") if part] for identity in (before, after))
    only_one, only_other = [part for part in one if part not in other], [part for part in other if part not in one]
    what = next((word for pattern, word in PARTS for part in only_one if re.fullmatch(pattern, part)), "a setting")
    return f"{what} differs: {'/'.join(only_one) or 'nothing'} against {'/'.join(only_other) or 'nothing'}"


def most_moved(moved_N: Tensor, count: int) -> list[int]:
    """Return the rows of the pictures that changed most, the most first, without those that did not change."""
    order = moved_N.sort(descending=True, stable=True).indices[:count]
    return [int(row) for row in order if float(moved_N[row]) > SAME_PICTURE]


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A figure, or the mean of a number a picture, with whatever it can be tested by."""

    name: str
    label: str
    unit: Unit
    better: Better
    identity: str
    value: float
    figure: Figure | None = None
    estimate: Estimate | None = None
    values: Tensor | None = None


def _levels(side: Evidence) -> dict[str, _Level]:
    """Return what a side measured, by name: its figures, then its numbers a picture that are no figure."""
    values = {value.name: value for value in side.values}
    found = {figure.name: _of_figure(figure, side, values.get(figure.name)) for figure in side.figures}
    return found | {name: _of_values(value) for name, value in values.items() if name not in found}


def _of_figure(figure: Figure, side: Evidence, value: PerPicture | None) -> _Level:
    return _Level(
        name=figure.name,
        label=figure_label(figure.name),
        unit=figure.unit,
        better=figure.better,
        identity=figure.identity,
        value=figure.value,
        figure=figure,
        estimate=side.estimates.get(figure.name),
        values=value.values if value else None,
    )


def _of_values(value: PerPicture) -> _Level:
    finite = value.values.double()[value.values.isfinite()]
    return _Level(
        name=value.name,
        label=value.title,
        unit=value.unit,
        better=value.better,
        identity=value.identity,
        value=float(finite.mean()) if len(finite) else 0.0,
        values=value.values,
    )


def _tested(before: Evidence, after: Evidence) -> tuple[list[Change], tuple[tuple[str, str], ...]]:
    """Return a change for each level that both sides measured in one way, and why others were left out."""
    ours, theirs = _levels(before), _levels(after)
    left_out = {
        name: f"only {(before if name in ours else after).title} has it" for name in ours.keys() ^ theirs.keys()
    }
    for name in [name for name in ours if name in theirs]:
        if ours[name].identity != theirs[name].identity:
            left_out[name] = difference_of(ours[name].identity, theirs[name].identity)
    found = [_change(ours[name], theirs[name]) for name in ours if name not in left_out]
    if not found:
        name, why = next(((name, why) for name, why in left_out.items() if name in ours and name in theirs), ("", ""))
        raise NotComparableError(
            f"{before.title} and {after.title} must not be compared: no figure was measured in the same way"
            + (f"; in {name}, {why}" if name else "")
        )
    return found, tuple((name, left_out[name]) for name in {**ours, **theirs} if name in left_out)


def _change(before: _Level, after: _Level) -> Change:
    difference = _difference(before, after)
    return Change(
        name=before.name,
        label=before.label,
        unit=before.unit,
        better=before.better,
        identity=before.identity,
        before=before.value,
        after=after.value,
        difference=difference,
        p=difference.p,
        outcome="equal" if difference is EQUAL else "open",
    )


def _difference(before: _Level, after: _Level) -> Difference:
    """Return the difference by the sharpest test that both sides kept enough for."""
    if before.values is not None and after.values is not None:
        equal = torch.equal(before.values.nan_to_num(), after.values.nan_to_num())
        return EQUAL if equal else paired_by_signs(before.values, after.values)
    if same_value(before.value, after.value):
        return EQUAL
    found = paired_by_jackknife(before.estimate, after.estimate) if before.estimate and after.estimate else None
    if found is None and before.figure and after.figure:
        found = by_intervals(before.figure, after.figure)
    if found is None:
        raise NotComparableError(f"{before.name} is a figure on one side and a number a picture on the other")
    return found


def _corrected(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return changes with p values that hold for all of them together, and what each then says."""
    tested = [change for change in changes if change.outcome != "equal"]
    adjusted = dict(zip([c.name for c in tested], holm([c.difference.p for c in tested]), strict=True))
    return tuple(
        replace(change, p=adjusted[change.name], outcome=_outcome(change, adjusted[change.name]))
        if change.name in adjusted
        else change
        for change in changes
    )


def _outcome(change: Change, p: float) -> Outcome:
    if p >= 1 - LEVEL:
        return "open"
    rose = change.difference.value > 0
    return "better" if rose == (change.better == "higher") else "worse"


def _verdict(changes: Sequence[Change], moved_N: Tensor) -> Verdict:
    """Return the headline, which speaks of the model alone: what it is measured against is told beneath."""
    tested = sum(change.outcome != "equal" for change in changes)
    worse, better = _names(changes, ("worse",)), _names(changes, ("better",))
    told = [
        f"{len(most_moved(moved_N, len(moved_N)))} of {len(moved_N)} pictures changed.",
        f"{tested} of {len(changes)} figures were tested.",
    ]
    beside = [change.label for change in changes if _is_reference(change) and change.outcome in ("better", "worse")]
    lists = (("Worse", worse), ("Better", better), ("What the model is held against changed too", beside))
    sentences = (*told, *(f"{word}: {'; '.join(names)}." for word, names in lists if names))
    if worse:
        both = ", others better" if better else ""
        return Verdict(tone="bad", headline=f"{_figures(worse)} worse{both}.", sentences=sentences)
    if better:
        return Verdict(tone="good", headline=f"{_figures(better)} better, none worse.", sentences=sentences)
    headline = "No proof of a change in any figure of the model." if tested else "Nothing changed."
    return Verdict(tone="unsure" if tested else "good", headline=headline, sentences=sentences)


def _names(changes: Sequence[Change], outcomes: Sequence[Outcome]) -> list[str]:
    return [change.label for change in changes if change.outcome in outcomes and not _is_reference(change)]


def _is_reference(change: Change) -> bool:
    """Return whether a figure is one of the backbone without its adapter, or of real drawings."""
    return change.name.endswith(REFERENCES) and change.name != "likeness_to_real"


def _figures(names: Sequence[str]) -> str:
    return "One figure became" if len(names) == 1 else f"{len(names)} figures became"


def _notes(before: Evidence, after: Evidence) -> tuple[str, ...]:
    keys = dict.fromkeys((*before.settings, *after.settings))
    other = [key for key in keys if before.settings.get(key) != after.settings.get(key)]
    told = [f"{key} {before.settings.get(key)} against {after.settings.get(key)}" for key in other]
    return (f"The two were drawn in different ways: {'; '.join(told)}.",) if told else ()


def _change_json(change: Change) -> dict[str, object]:
    found = change.difference
    return {
        "name": change.name,
        "before": change.before,
        "after": change.after,
        "difference": {"value": found.value, "low": found.low, "high": found.high},
        "effect": None if found.effect != found.effect else found.effect,
        "p": found.p,
        "p_holm": change.p,
        "test": found.test,
        "outcome": change.outcome,
        "identity": change.identity,
    }
