"""``atelier fit fitted=NAME``: fits one of the small networks that evaluation looks with, and writes its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import hydra
from omegaconf import DictConfig

from atelier import CONF_FOLDER
from evaluation.settings import built, check_device


class Fitted(Protocol):
    """Something that is fitted once and then ships; its settings are its constructor."""

    def fit(self) -> Path:
        """Learn, write the folder whole or not at all, and return it.

        Raises AtelierError for whatever a person can put right.
        """


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="fit")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    check_device(str(config.device))
    fitted: Fitted = built(config.fitted)
    print(f"written: {fitted.fit()}")


if __name__ == "__main__":
    main()
