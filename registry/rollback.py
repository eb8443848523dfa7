"""``atelier rollback model=NAME``: move the alias back to the version that it held before."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from registry.promotion import rollback
from registry.verb import open_registry, required


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="rollback")
def main(config: DictConfig) -> None:
    """Read the settings, roll back, and tell where the alias stands now."""
    name = required(config, "model", "a registered name, such as model=brand-openmoji")
    move = rollback(open_registry(config), name, alias=str(config.alias), why=str(config.why or ""), who=config.who)
    print(
        f"{name}@{move.alias} points to version {move.version} again"
        f" (was version {move.from_version}); journal line {move.sequence}"
    )


if __name__ == "__main__":
    main()
