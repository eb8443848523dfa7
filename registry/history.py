"""``atelier history model=NAME``: verify the journal and list every move of a model's aliases."""

from __future__ import annotations

import datetime

import hydra
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from registry.ancestry import told
from registry.errors import RegistryError
from registry.promotion import Move, drift, history, served_on
from registry.settings import RegistrySettings
from registry.verb import open_registry, required


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="history")
def main(config: DictConfig) -> None:
    """Read the settings and print the moves, or those in force on one day."""
    name = required(config, "model", "a registered name, such as model=brand-openmoji")
    registry = open_registry(config)
    moves = history(registry, name, config.alias)
    if not moves and not registry.store.versions(name):
        raise RegistryError(f"no registered model '{name}': {registry.store.what_exists()}")
    if config.day is not None:
        _print_day(moves, _day(str(config.day)))
        return
    _print_all(registry, name, moves)


def _print_all(registry: RegistrySettings, name: str, moves: list[Move]) -> None:
    for move in moves:
        print(f"{move.sequence:>4}  {told(move)}")
    for sentence in drift(registry, name):
        print(f"warning: {sentence}")
    print(f"{name}: {len(moves)} moves; every line of the journal verified")


def _print_day(moves: list[Move], day: datetime.date) -> None:
    for alias in sorted({move.alias for move in moves}):
        in_force = served_on([move for move in moves if move.alias == alias], day)
        versions = ", then ".join(f"version {move.version} (since {move.time})" for move in in_force)
        print(f"{alias} on {day}: {versions or 'no version'}")


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise RegistryError(f"day must be a date (UTC) such as day=2026-11-22, not '{text}'") from None


if __name__ == "__main__":
    main()
