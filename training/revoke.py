"""``atelier revoke ID|SOURCE --reason TEXT``: takes a work back from all training, and tells what saw it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER
from data.dataset import Dataset, open_dataset
from data.revocation_list import KINDS
from data.revocations import Held, Revocation, load_revocations
from registry.known import KnownModel, known_models
from registry.revocations import revocation_lines, write_revocation
from registry.settings import RegistrySettings
from registry.verb import open_registry
from training.errors import TrainingError
from training.sighted import affected, described, seen_runs
from training.takedown import Answer, advice, standing, told
from training.works import holdings, known_datasets, meant, readings


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="revoke")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    OmegaConf.resolve(config)
    registry = open_registry(config)
    if config.what is None:
        print(standing(load_revocations(Path(registry.revocations))))
    elif config.undo:
        print(reinstate(config, registry))
    else:
        answer = revoke(config, registry)
        print(json.dumps(answer.to_json(), indent=1) if config.json else told(answer))


def revoke(config: DictConfig, registry: RegistrySettings) -> Answer:
    """Write the revocation unless it stands already, then find what saw the work, and write that behind it.

    With ``kind`` it is in force before anything is searched.

    Raises:
        TrainingError: no such work, several, or no reason.
        JournalError: the list of revocations does not verify; nothing was written.
    """
    what = _checked(config)
    revocation_lines(registry)
    one = _in_force(what, config.kind, registry)
    if one is None:
        _refuse_no_reason(config)
    if one is None and config.kind:
        one = _write(what, config.kind, {}, config, registry)
    models = known_models(registry, [Path(root) for root in config.models])
    datasets = known_datasets([Path(root) for root in config.datasets], [model.card for model in models])
    found = readings(what, datasets, one.kind if one else None)
    kind = one.kind if one else meant(what, found, datasets)
    if one is None:
        one = _write(what, kind, found[kind], config, registry)
    answer = _answer(replace(one, held=found[kind]), datasets, models, config, registry)
    _keep(answer, registry, config.who)
    return answer


def _write(
    what: str, kind: str, held: Mapping[str, Held], config: DictConfig, registry: RegistrySettings
) -> Revocation:
    plain = {version: asdict(found) for version, found in held.items()}
    entry = {"action": "revoke", "kind": kind, "value": what, "reason": str(config.reason).strip(), "held": plain}
    write_revocation(registry, entry, who=config.who)
    one = _in_force(what, kind, registry)
    assert one is not None
    return one


def _answer(
    one: Revocation,
    datasets: Sequence[Dataset],
    models: Sequence[KnownModel],
    config: DictConfig,
    registry: RegistrySettings,
) -> Answer:
    # They were opened before the list had its new line.
    fresh = [open_dataset(dataset.folder) for dataset in datasets]
    held = holdings(one, fresh)
    shares = described(one, [file for root in config.manifests for file in sorted(Path(root).glob("*.json"))])
    searched = {dataset.card.version for dataset in datasets}
    shares = {version: share for version, share in shares.items() if version not in searched}
    unknown = _unknown(models, searched | shares.keys())
    saw = affected(models, held, shares)
    return Answer(
        revocation=one,
        held=held,
        models=saw,
        runs=seen_runs([Path(root) for root in config.models], held),
        unknown=unknown,
        advice=advice(saw, registry, is_complete=not unknown),
    )


def _unknown(models: Sequence[KnownModel], known: Set[str]) -> dict[str, list[str]]:
    """Return the dataset versions that models' cards name and nobody could look into, each with its models."""
    unknown: defaultdict[str, list[str]] = defaultdict(list)
    for model in models:
        for version in {str(entry.get("version")) for entry in model.card.get("datasets") or []} - known:
            unknown[version].append(model.reference)
    return dict(sorted(unknown.items()))


def _keep(answer: Answer, registry: RegistrySettings, who: str | None) -> None:
    """Write the answer into the list, for lineage and gates, unless it is what stands there already."""
    one = answer.revocation
    told = ("digest", "kind", "name", "times", "exact")
    models = [{name: model[name] for name in told} for model in (seen.to_json() for seen in answer.models)]
    held = {version: asdict(found) for version, found in one.held.items()}
    entry = {"action": "found", "kind": one.kind, "value": one.value, "reason": "", "held": held, "models": models}
    # Through JSON and back, tuples are the lists that they are in the file.
    plain = json.loads(json.dumps(entry))
    lines = [line for line in revocation_lines(registry) if (line["kind"], line["value"]) == (one.kind, one.value)]
    if not lines or any(lines[-1].get(name) != value for name, value in plain.items()):
        write_revocation(registry, plain, who=who)


def reinstate(config: DictConfig, registry: RegistrySettings) -> str:
    """Take a revocation back by a line of its own.

    Raises:
        TrainingError: it does not stand, or no reason is given.
    """
    what = _checked(config)
    one = _in_force(what, config.kind, registry)
    if one is None:
        standing = load_revocations(Path(registry.revocations)).in_force
        listed = ", ".join(f"{it.kind} {it.value}" for it in standing) or "nothing"
        raise TrainingError(f"'{what}' is not revoked by itself: what is revoked is {listed}")
    _refuse_no_reason(config)
    entry = {"action": "reinstate", "kind": one.kind, "value": what, "reason": str(config.reason).strip()}
    line = write_revocation(registry, entry, who=config.who)
    return f"{one.kind} {what} may be learnt from again (line {line['sequence']} of {registry.revocations})"


def _checked(config: DictConfig) -> str:
    what = str(config.what).strip()
    if not what:
        raise TrainingError("nothing to revoke: pass a sample's key, a picture's SHA-256, a collection, URI or creator")
    if config.kind not in (None, *KINDS):
        raise TrainingError(f"kind={config.kind} must be one of {', '.join(KINDS)}")
    return what


def _refuse_no_reason(config: DictConfig) -> None:
    if not str(config.reason or "").strip():
        raise TrainingError("no reason is given: pass --reason TEXT; it is kept with the revocation")


def _in_force(what: str, kind: str | None, registry: RegistrySettings) -> Revocation | None:
    standing = load_revocations(Path(registry.revocations)).in_force
    return next((one for one in standing if one.value == what and kind in (None, one.kind)), None)


if __name__ == "__main__":
    main()
