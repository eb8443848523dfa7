"""The verb ``ingest``: admits pictures by licence policy and writes provenance-tagged shards."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.build import BuildSettings, Rules, build_dataset
from data.dataset import CARD_FILE
from data.settings import made, require
from data.tables import summary


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="ingest")
def main(config: DictConfig) -> None:
    """Ingest as the command line says."""
    end_as_if_interrupted()
    ingest(config)


def end_as_if_interrupted() -> None:
    """Make a plain kill clean up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def ingest(config: DictConfig) -> None:
    """Read the source, admit, render, write, and end with a table.

    Raises:
        DataError: a setting is missing or wrong, nothing was admitted, or ``out`` is something else already.
    """
    require(config, "source.path", "the folder, tarball or file to read")
    require(config, "out", "the folder to write")
    out = Path(config.out)
    existed = (out / CARD_FILE).is_file()
    settings = BuildSettings(
        name=config.name or out.name,
        picture_px=config.picture_px,
        samples_per_shard=config.samples_per_shard,
        workers=config.workers,
        part_drawings=config.part_drawings,
    )
    dataset = build_dataset(
        made(config.source),
        made(config.policy),
        out,
        settings,
        rules=Rules(checks=made(config.checks), duplicates=made(config.duplicates)),
        engine=made(config.engine),
        replace=config.replace,
        progress=progress_bar,
    )
    print(summary(dataset.card))
    print(f"{out} was already finished from the same inputs" if existed else f"written to {out}")


def progress_bar(items: Iterable[Any], total: int | None) -> Iterable[Any]:
    """Show how many drawings are done, the rate and the remaining time."""
    bar: Iterable[Any] = tqdm(items, total=total, desc="drawing", unit=" pictures", mininterval=1.0, file=sys.stderr)
    return bar


if __name__ == "__main__":
    main()
