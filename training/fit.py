"""``atelier fit fitted=NAME``: fits one of the small networks that evaluation looks with, and writes its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import hydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from atelier import CONF_FOLDER, AtelierError


class Fitted(Protocol):
    """Something that is fitted once and then ships; its settings are its constructor."""

    def fit(self) -> Path:
        """Learn, write the folder whole or not at all, and return it.

        Raises AtelierError for whatever a person can put right.
        """


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="fit")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    print(f"written: {built(config.fitted).fit()}")


def built(node: DictConfig) -> Fitted:
    """Instantiate what is to be fitted; what it refuses about its settings is told in its own words."""
    try:
        fitted: Fitted = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, AtelierError):
            raise error.__cause__ from None
        raise
    return fitted


if __name__ == "__main__":
    main()
