"""Moving an alias: through a gate, under a lock, with one signed journal line a move.

A move is made in four steps: declare it (a signed intent beside the journal), move the alias in MLflow, append the
line, withdraw the intent. A kill between any two is healed by ``reconcile``, which every question and every move
starts with: if the alias stands where the intent wanted it, the line is written; if not, the move never happened.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from registry.errors import RegistryError
from registry.figures import Evaluation
from registry.files import hold_lock
from registry.gates import Gate, load_gate, run_gate
from registry.journal import Line, signed_by
from registry.resolve import ResolvedModel, resolve_model
from registry.revocations import revocation_lines, sightings
from registry.settings import RegistrySettings
from registry.verdict import Verdict

CHAMPION = "champion"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One line of the journal: who moved which alias from which version to which, when, why, and by which gate."""

    sequence: int
    time: str  # UTC, ISO 8601
    who: str
    action: str  # "promote" or "rollback"
    model: str
    alias: str
    from_version: int | None
    version: int
    digest: str
    why: str
    gate: str | None
    gate_digest: str | None
    verdict_digest: str | None


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A passed gate and the move it allowed; no move where the alias already stood there."""

    verdict: Verdict
    move: Move | None


class GateRefusedError(RegistryError):
    """A version that did not pass its gate; ``verdict`` has every check."""

    def __init__(self, name: str, version: int, verdict: Verdict) -> None:
        """Tell the failed checks in one line."""
        self.verdict = verdict
        failed = "; ".join(check.sentence for check in verdict.failures) or "the gate has no checks"
        count = f"{len(verdict.failures)} of {len(verdict.checks)} checks of gate {verdict.gate}"
        super().__init__(f"{name} version {version} is not promoted, it fails {count}: {failed}")


def promote(
    registry: RegistrySettings,
    name: str,
    version: int,
    *,
    gates: Mapping[str, Gate] | None = None,
    alias: str = CHAMPION,
    why: str = "",
    who: str | None = None,
) -> Promotion:
    """Run the gate of the model's kind on its logged figures and, if it passes, point ``alias`` to the version.

    Args:
        gates: by kind of artifact; those of ``conf/gate`` where none are given.

    Raises:
        GateRefusedError: a check failed; nothing was moved.
        RegistryError: there is no such version, or its files have changed.
        JournalError: the journal does not verify; nothing was moved.
    """
    with _settled(registry) as lines:
        model, verdict = hold_against_gate(registry, name, version, gates)
        if not verdict.passed:
            raise GateRefusedError(name, version, verdict)
        held = registry.store.alias_version(name, alias)
        if held == version and _stack(lines, name, alias)[-1:] == [version]:
            return Promotion(verdict=verdict, move=None)
        proof = {"gate": verdict.gate, "gate_digest": verdict.gate_digest, "verdict_digest": verdict.digest()}
        entry = _entry("promote", model, name, version, alias, held, who=who, why=why) | proof
        return Promotion(verdict=verdict, move=_make(registry, entry))


def rollback(
    registry: RegistrySettings, name: str, *, alias: str = CHAMPION, why: str = "", who: str | None = None
) -> Move:
    """Point ``alias`` back to the version that it held before, as the journal tells; again goes back further.

    Raises:
        RegistryError: the alias never moved, or held no other version before.
        JournalError: the journal does not verify; nothing was moved.
    """
    with _settled(registry) as lines:
        stack = _stack(lines, name, alias)
        if len(stack) < 2:
            raise RegistryError(_nothing_before(registry, name, alias, stack))
        version = stack[-2]
        model = resolve_model(f"models:/{name}/{version}", registry.store)
        held = registry.store.alias_version(name, alias)
        return _make(registry, _entry("rollback", model, name, version, alias, held, who=who, why=why))


def history(registry: RegistrySettings, name: str | None = None, alias: str | None = None) -> list[Move]:
    """Verify the whole journal and return its moves, the first first: all, or those of one model or one alias.

    Raises:
        JournalError: a line was changed or removed; says which.
    """
    with _settled(registry) as lines:
        moves = [_move(line) for line in lines]
    return [m for m in moves if (name is None or m.model == name) and (alias is None or m.alias == alias)]


def served_on(moves: Sequence[Move], day: datetime.date) -> list[Move]:
    """Return the moves that were in force at some time of ``day`` (UTC): the one it began with, and those made on it.

    ``moves`` are those of one model and one alias, the first first.
    """
    before = [move for move in moves if _day(move) < day]
    return before[-1:] + [move for move in moves if _day(move) == day]


def drift(registry: RegistrySettings, name: str) -> list[str]:
    """Return a sentence for each alias of ``name`` that does not stand where the journal's last move left it."""
    last = {move.alias: move.version for move in history(registry, name)}
    held = {alias: entry.version for entry in registry.store.versions(name) for alias in entry.aliases}
    return [
        f"{name}@{alias} points to version {held.get(alias, 'none')}, but the journal left it at"
        f" {last.get(alias, 'none')}: it was moved outside atelier promote"
        for alias in sorted(held.keys() | last.keys())
        if held.get(alias) != last.get(alias)
    ]


def hold_against_gate(
    registry: RegistrySettings, name: str, version: int, gates: Mapping[str, Gate] | None = None
) -> tuple[ResolvedModel, Verdict]:
    """Run the gate of a registered version's kind on what was logged for it; moves nothing.

    Raises:
        RegistryError: there is no such version, its files have changed, or no gate is for its kind.
    """
    model = resolve_model(f"models:/{name}/{version}", registry.store)
    kind = str(model.card["kind"])
    gate = load_gate(kind) if gates is None else gates.get(kind)
    if gate is None:
        raise RegistryError(f"no gate for the kind '{kind}': add one to gates")
    evaluations: list[Evaluation] = registry.store.evaluations(name, version)
    seen = tuple(sighting.told() for sighting in sightings(model, revocation_lines(registry)))
    model = replace(model, revoked_works=seen)
    return model, run_gate(gate, model, evaluations)


def reconcile(registry: RegistrySettings) -> None:
    """Bring journal and alias together after a kill between them. The caller holds the journal's lock."""

    def is_made(move: Line) -> bool:
        return bool(registry.store.alias_version(move["model"], move["alias"]) == move["version"])

    registry.ledger.finish(is_made)


@contextlib.contextmanager
def _settled(registry: RegistrySettings) -> Iterator[list[Line]]:
    """Hold the journal's lock, heal what a kill left, and give the verified lines."""
    with hold_lock(registry.ledger.lock_path):
        reconcile(registry)
        yield registry.ledger.read()


def _make(registry: RegistrySettings, entry: Line) -> Move:
    registry.ledger.declare(entry)
    registry.store.set_alias(entry["model"], entry["alias"], entry["version"])
    line = registry.ledger.append(entry)
    registry.ledger.withdraw()
    return _move(line)


def _entry(
    action: str,
    model: ResolvedModel,
    name: str,
    version: int,
    alias: str,
    held: int | None,
    *,
    who: str | None,
    why: str,
) -> Line:
    return {
        **signed_by(who),
        "action": action,
        "model": name,
        "alias": alias,
        "from_version": held,
        "version": version,
        "digest": model.digest,
        "why": why,
        "gate": None,
        "gate_digest": None,
        "verdict_digest": None,
    }


def _stack(lines: Sequence[Line], name: str, alias: str) -> list[int]:
    """Return the versions an alias held and may go back to, the one it holds last: a rollback takes one off."""
    stack: list[int] = []
    for line in lines:
        if (line["model"], line["alias"]) != (name, alias):
            continue
        if line["action"] == "promote":
            stack.append(int(line["version"]))
        else:
            stack.pop()
    return stack


def _nothing_before(registry: RegistrySettings, name: str, alias: str, stack: list[int]) -> str:
    if stack:
        return f"{name}@{alias} has held only version {stack[0]}: there is none to go back to"
    if not registry.store.versions(name):
        return f"no registered model '{name}': {registry.store.what_exists()}"
    return f"{name}@{alias} was never promoted: there is nothing to roll back"


def _move(line: Line) -> Move:
    return Move(**{field.name: line[field.name] for field in fields(Move)})


def _day(move: Move) -> datetime.date:
    return datetime.datetime.fromisoformat(move.time).astimezone(datetime.UTC).date()
