"""The list of revoked works as the registry keeps it, a signed journal that loaders read, and the models it concerns.

A line's ``action`` is ``revoke`` or ``reinstate`` or, once the answer is known, ``found``: which datasets hold the work
(``kind`` and ``value``), and which models saw it. Nothing is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from registry.artifacts import Card
from registry.files import hold_lock
from registry.journal import Line, signed_by
from registry.resolve import ResolvedModel
from registry.settings import RegistrySettings


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One revoked work that a model, or the backbone under it, learnt from; ``times`` None where nobody counted."""

    kind: str
    value: str
    line: int
    reason: str
    by_base: bool
    times: float | None
    is_exact: bool

    def told(self) -> str:
        """Return it as a person reads it."""
        saw = "its base saw" if self.by_base else "saw"
        shown = "times not counted" if self.times is None else f"shown {shown_times(self.times, exact=self.is_exact)}"
        return f"{saw} revoked {self.kind} {self.value} (line {self.line}: {self.reason}), {shown}"


def shown_times(times: float, *, exact: bool) -> str:
    """Return how often something was shown: whole where it was counted, ``expected`` where it follows by chance."""
    return f"{times:,.0f} times" if exact else f"{times:,.1f} times expected"


def revocation_lines(registry: RegistrySettings) -> list[Line]:
    """Verify the whole list, finish a line that a kill interrupted, and return the lines.

    Raises:
        JournalError: a line was changed, removed or signed by another key.
    """
    ledger = registry.revoked
    if not any(path.is_file() for path in (ledger.path, ledger.head_path, ledger.intent_path)):
        return []
    with hold_lock(ledger.lock_path):
        ledger.finish()
        return ledger.read()


def write_revocation(registry: RegistrySettings, entry: Line, *, who: str | None = None) -> Line:
    """Sign and append one line, with the time and who it is. It is in force as soon as it is declared.

    Raises:
        JournalError: the lines so far do not verify.
    """
    ledger = registry.revoked
    with hold_lock(ledger.lock_path):
        ledger.finish()
        dated = signed_by(who) | entry
        ledger.declare(dated)
        line = ledger.append(dated)
        ledger.withdraw()
    return line


def sightings(model: ResolvedModel, lines: list[Line]) -> list[Sighting]:
    """Return the revoked works, still in force, that a model or its base learnt from."""
    return [
        sighting
        for revoked, found in _standing(lines)
        for one, by_base in _with_bases(model)
        for sighting in _seen(one, revoked, found, by_base)
    ]


def _seen(model: ResolvedModel, revoked: Line, found: Line, by_base: bool) -> Iterator[Sighting]:
    counted = next((one for one in found.get("models", []) if one["digest"] == model.digest), None)
    if counted is None and not any(_learnt(entry, revoked, found) for entry in _datasets(model.card)):
        return
    times = counted["times"] if counted else None
    if times == 0:
        return
    yield Sighting(
        kind=str(revoked["kind"]),
        value=str(revoked["value"]),
        line=int(revoked["sequence"]),
        reason=str(revoked["reason"]),
        by_base=by_base,
        times=times,
        is_exact=bool(counted and counted["exact"]),
    )


def _learnt(entry: dict[str, Any], revoked: Line, found: Line) -> bool:
    """Whether a dataset that a card names held the work and was read before the work was revoked."""
    held = found.get("held", {}).get(str(entry.get("version")))
    lists = (entry.get("order") or {}).get("lists") or []
    is_left_out = bool(lists) and int(lists[0]["through"]) >= int(revoked["sequence"])
    return bool(held and (held["collections"] or held["keys"])) and not is_left_out


def _standing(lines: list[Line]) -> list[tuple[Line, Line]]:
    """Return each revocation in force with all that was found of it, the latest over the earlier."""
    standing: dict[tuple[str, str], tuple[Line, Line]] = {}
    for line in lines:
        work = (str(line["kind"]), str(line["value"]))
        if line["action"] == "reinstate":
            standing.pop(work, None)
        elif work in standing:
            revoked, found = standing[work]
            held = found.get("held", {}) | line.get("held", {})
            standing[work] = revoked, {"held": held, "models": line.get("models", found.get("models", []))}
        elif line["action"] == "revoke":
            standing[work] = line, line
    return list(standing.values())


def _with_bases(model: ResolvedModel) -> Iterator[tuple[ResolvedModel, bool]]:
    yield model, False
    if model.base:
        yield from ((base, True) for base, _ in _with_bases(model.base))


def _datasets(card: Card) -> list[dict[str, Any]]:
    return [entry for entry in card.get("datasets") or [] if isinstance(entry, dict)]
