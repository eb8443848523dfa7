"""A figure over the registered versions of one model: only what was measured in one way stands on one curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evaluation.comparison import difference_of
from evaluation.figures import Figure
from evaluation.measurement import Curve, Line, Measurement, Section, Table
from evaluation.wording import figure_label
from registry.artifacts import digest_folder
from registry.errors import RegistryError
from registry.figures import Evaluation
from registry.figures import Figure as LoggedFigure
from registry.mlflow import ModelStore
from registry.resolve import parse_reference

NOTE = (
    "The same suite on the registered versions of this model, in the order in which they were registered. Whiskers are"
    " 95 % intervals."
)


def versions_section(measurement: Measurement, store: ModelStore) -> Section | None:
    """Return the curves of the figures that an earlier version has with equal identity; None where none has."""
    current = _registered(measurement, store)
    if current is None:
        return None
    earlier, left_out = _evaluations(*current, measurement.suite, store)
    lines = {
        figure.name: line for figure in measurement.figures if (line := _line(figure, current[1], earlier)) is not None
    }
    left_out += [
        (f"version {version}", why) for version, found in earlier.items() if (why := _unlike(measurement, found))
    ]
    if not lines and not left_out:
        return None
    return Section(
        name="versions",
        title="Over versions",
        note=NOTE,
        curves=tuple(_curves(measurement, lines)),
        tables=(_table(left_out),) if left_out else (),
    )


def _registered(measurement: Measurement, store: ModelStore) -> tuple[str, int] | None:
    """Return the name and version that was measured: as referred to, else the latest with its digest."""
    if not measurement.cards or not store.exists():
        return None
    if measurement.reference.startswith("models:/"):
        return parse_reference(measurement.reference, store)
    found = store.with_digest(digest_folder(Path(measurement.reference)))
    return (found[-1].name, found[-1].version) if found else None


def _evaluations(
    name: str, current: int, suite: str, store: ModelStore
) -> tuple[dict[int, Evaluation], list[tuple[str, str]]]:
    """Return the other versions' evaluations by one suite, and the versions whose evaluation cannot be read."""
    found: dict[int, Evaluation] = {}
    left_out = []
    for entry in store.versions(name):
        if entry.version == current:
            continue
        try:
            evaluations = store.evaluations(name, entry.version)
        except RegistryError as error:
            left_out.append((f"version {entry.version}", str(error)))
            continue
        for evaluation in evaluations:
            if evaluation.suite == suite:
                found[entry.version] = evaluation
    return found, left_out


def _line(figure: Figure, current: int, earlier: Mapping[int, Evaluation]) -> Line | None:
    """Return one figure over versions; None where no other version has it, or it is the same in all of them."""
    points = {current: (figure.value, (figure.low, figure.high))}
    for version, evaluation in earlier.items():
        for logged in evaluation.figures:
            if _alike(figure, logged):
                low, high = logged.low, logged.high
                points[version] = (
                    logged.value,
                    (logged.value if low is None else low, logged.value if high is None else high),
                )
    if len(points) < 2:
        return None
    order = sorted(points)
    return Line(
        label=figure_label(figure.name),
        points=tuple((float(version), points[version][0]) for version in order),
        bounds=tuple(points[version][1] for version in order),
    )


def _curves(measurement: Measurement, lines: Mapping[str, Line]) -> Iterator[Curve]:
    """Yield one curve an identity: what compares stands on one axis."""
    figures = [figure for figure in measurement.figures if figure.name in lines]
    for identity in dict.fromkeys(figure.identity for figure in figures):
        members = [figure for figure in figures if figure.identity == identity]
        title, labels = _told_apart([figure_label(figure.name) for figure in members])
        yield Curve(
            title=title,
            note="",
            x_label="Version",
            y_label=f"{members[0].better} is better",
            lines=tuple(replace(lines[each.name], label=label) for each, label in zip(members, labels, strict=True)),
            unit=members[0].unit,
        )


def _told_apart(labels: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the title of one curve and what its lines are called: "Precision" and "floor", not "Precision, floor"."""
    parts = [label.partition(", ") for label in labels]
    if len(labels) > 1 and len({stem for stem, _, _ in parts}) == 1 and all(rest for _, _, rest in parts):
        return parts[0][0], [rest for _, _, rest in parts]
    return labels[0], labels


def _unlike(measurement: Measurement, evaluation: Evaluation) -> str:
    """Return why figures of an evaluation stand on no curve, empty where all of them do."""
    logged = {figure.name: figure for figure in evaluation.figures}
    shared = [figure for figure in measurement.figures if figure.name in logged]
    other = [figure for figure in shared if not _alike(figure, logged[figure.name])]
    if not other:
        return ""
    why = difference_of(other[0].identity, logged[other[0].name].identity or "")
    return f"{len(other)} of {len(shared)} figures: {why}"


def _alike(figure: Figure, logged: LoggedFigure) -> bool:
    return (logged.name, logged.identity, logged.count) == (figure.name, figure.identity, figure.count)


def _table(left_out: list[tuple[str, str]]) -> Table:
    return Table(
        title="Left out",
        note="Measured in another way than this evaluation, so not on its curves.",
        headings=("version", "why"),
        rows=tuple(left_out),
    )
