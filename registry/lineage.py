"""``atelier lineage MODEL``: what a model was made from, as a tree."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from registry.ancestry import ancestry, draw
from registry.resolve import resolve_model
from registry.verb import open_registry, required


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="lineage")
def main(config: DictConfig) -> None:
    """Resolve the model and print its tree."""
    reference = required(config, "model", "MODEL: a folder, models:/NAME@ALIAS or models:/NAME/VERSION")
    registry = open_registry(config)
    print("\n".join(draw(ancestry(resolve_model(reference, registry.store), registry))))


if __name__ == "__main__":
    main()
