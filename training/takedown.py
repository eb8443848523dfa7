"""The answer to a takedown: what saw the work, as a table and as plain values, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atelier import CONF_FOLDER
from data.revocations import Revocation, Revocations
from data.tables import columns
from registry.promotion import CHAMPION, history
from registry.revocations import shown_times
from registry.settings import RegistrySettings
from training.sighted import Affected, SeenRun
from training.works import Holding


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What saw a work. ``unknown`` are dataset versions that could not be looked into, and who learnt from them."""

    revocation: Revocation
    held: Mapping[str, Holding]
    models: Sequence[Affected]
    runs: Sequence[SeenRun]
    unknown: Mapping[str, Sequence[str]]
    advice: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        one = self.revocation
        datasets = [
            {"name": it.dataset.card.name, "version": version, "folder": str(it.dataset.folder), "rows": len(it.rows)}
            for version, it in self.held.items()
        ]
        return {
            "revocation": {name: getattr(one, name) for name in ("sequence", "time", "who", "reason", "kind", "value")},
            "datasets": datasets,
            "runs": [run.to_json() for run in self.runs],
            "models": [model.to_json() for model in self.models],
            "unknown_versions": {version: list(models) for version, models in self.unknown.items()},
            "advice": list(self.advice),
        }


def told(answer: Answer) -> str:
    """Return the answer as a person reads it."""
    one = answer.revocation
    lines = [f"{one.told()}, line {one.sequence}; every loader leaves it out from now on", ""]
    lines += _datasets(answer.held) + _runs(answer.runs) + _models(answer.models)
    lines += _unknown(answer.unknown)
    lines += ["what to do next:", *(f"  {line}" for line in answer.advice)]
    return "\n".join(lines)


def standing(revocations: Revocations) -> str:
    """Return what is revoked, a line each."""
    if not revocations.in_force:
        return "nothing is revoked"
    return "\n".join(f"{one.sequence:>4}  {one.told()}" for one in revocations.in_force)


def advice(saw: Sequence[Affected], registry: RegistrySettings, *, is_complete: bool) -> list[str]:
    """Return the commands that take a work out of what is served, first those that work at once."""
    if not saw:
        return [
            "nothing: no known model saw it"
            if is_complete
            else "bring the datasets that are not at hand, and ask again"
        ]
    digests = {one.model.digest for one in saw}
    rollbacks = [_rollback(alias, digests, registry) for one in saw for alias in one.model.aliases]
    return [line for line in rollbacks if line] + [line for one in saw for line in _retrain(one)]


def _rollback(alias: str, digests: set[str], registry: RegistrySettings) -> str | None:
    """Return the command where the version before did not see the work."""
    name, _, held = alias.partition("@")
    moves = [move for move in history(registry, name) if move.alias == held]
    before = moves[-1].from_version if moves and moves[-1].action == "promote" else None
    versions = {version.version: version.digest for version in registry.store.versions(name)}
    if before is None or versions.get(before) in digests:
        return None
    other = "" if held == CHAMPION else f" alias={held}"
    return f"atelier rollback model={name}{other}  # version {before} did not see it"


def _retrain(one: Affected) -> list[str]:
    card, versions = one.model.card, one.model.versions
    name = versions[-1].name if versions else str(one.model.folder)
    config = card.get("config") or {}
    if one.model.kind == "adapter":
        command = f"atelier onboard brand={card.get('brand')} images={config.get('images', 'DIR')}"
        after = " base=MODEL, once its backbone is retrained" if one.inherited.times else ""
    else:
        experiment = str(config.get("name", ""))
        is_there = (CONF_FOLDER / "experiment" / f"{experiment}.yaml").is_file()
        command = f"atelier train experiment={experiment if is_there else 'NAME'}"
        after = " out=DIR"
    return [f"{command}{after}  # {name} anew; then atelier evaluate and atelier promote"]


def _datasets(held: Mapping[str, Holding]) -> list[str]:
    if not held:
        return ["no known dataset holds it", ""]
    rows = [
        (it.dataset.card.name, version[:12], str(it.dataset.folder), f"{len(it.rows):,}")
        for version, it in held.items()
    ]
    return [*columns(("dataset", "version", "folder", "pictures of it"), rows), ""]


def _unknown(unknown: Mapping[str, Sequence[str]]) -> list[str]:
    if not unknown:
        return []
    rows = [(version[:12], ", ".join(models)) for version, models in unknown.items()]
    titles = ("not at hand: pass datasets=[DIR]", "may have been shown to")
    return [*columns(titles, rows), ""]


def _runs(runs: Sequence[SeenRun]) -> list[str]:
    if not runs:
        return ["no known run's folder drew from them", ""]
    rows = [(str(run.folder), run.dataset, _shown(run)) for run in runs]
    return [*columns(("run", "dataset", "shown"), rows), ""]


def _shown(run: SeenRun) -> str:
    if run.exposure is None:
        return "running or stopped before its end"
    return shown_times(run.exposure.times, exact=run.exposure.is_exact)


def _models(saw: Sequence[Affected]) -> list[str]:
    if not saw:
        return ["no known model saw it", ""]
    rows = [_row(one) for one in saw]
    return [*columns(("model", "kind", "digest", "alias now", "from its base", "shown"), rows), ""]


def _row(one: Affected) -> tuple[str, ...]:
    aliases = ", ".join(alias.partition("@")[2] for alias in one.model.aliases) or "none"
    shown = shown_times(one.whole.times, exact=one.whole.is_exact)
    return one.model.reference, one.model.kind, one.model.digest[:12], aliases, one.inherited_from or "no", shown
