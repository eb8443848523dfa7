"""``atelier promote model=NAME version=N``: run the gate and move the alias if it passes."""

from __future__ import annotations

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from registry.errors import RegistryError
from registry.promotion import GateRefusedError, Promotion, promote
from registry.verb import open_registry, required
from registry.verdict import Verdict


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="promote")
def main(config: DictConfig) -> None:
    """Read the settings, promote, and tell every check."""
    name = required(config, "model", "a registered name, such as model=brand-openmoji")
    version = _version(required(config, "version", "the version to promote, such as version=1"))
    alias = str(config.alias)
    try:
        promotion = promote(
            open_registry(config),
            name,
            version,
            gates=instantiate(config.gates, _convert_="all"),
            alias=alias,
            why=str(config.why or ""),
            who=config.who,
        )
    except GateRefusedError as refusal:
        print(_checks(refusal.verdict))
        raise
    print(_checks(promotion.verdict))
    print(_outcome(promotion, name, version, alias))


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise RegistryError(f"version must be a whole number from 1, such as version=1, not '{text}'")
    return int(text)


def _checks(verdict: Verdict) -> str:
    rows = [f"  {'pass' if check.passed else 'FAIL'}  {check.sentence}" for check in verdict.checks]
    return "\n".join([f"gate {verdict.gate}:", *rows])


def _outcome(promotion: Promotion, name: str, version: int, alias: str) -> str:
    move = promotion.move
    if move is None:
        return f"{name}@{alias} already points to version {version}"
    before = "pointed nowhere before" if move.from_version is None else f"was version {move.from_version}"
    return f"{name}@{alias} now points to version {version} ({before}); journal line {move.sequence}"


if __name__ == "__main__":
    main()
