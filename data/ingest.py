"""The verb ``ingest``: admits pictures by licence policy and writes provenance-tagged shards."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.build import BuildSettings, Pictures, build_dataset
from data.errors import DataError
from data.tables import summary


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="ingest")
def main(config: DictConfig) -> None:
    """Read the source, admit, render, write, and end with a table."""
    require(config, "source.path", "the folder, tarball or file to read")
    require(config, "out", "the folder to write")
    out = Path(config.out)
    existed = out.exists()
    settings = BuildSettings(
        name=config.name or out.name,
        picture_px=config.picture_px,
        samples_per_shard=config.samples_per_shard,
        workers=config.workers,
    )
    source, policy = hydra.utils.instantiate(config.source), hydra.utils.instantiate(config.policy)
    dataset = build_dataset(source, policy, out, settings, progress_bar)
    print(summary(dataset.card))
    print(f"{out} was already finished from the same inputs" if existed and len(dataset) else f"written to {out}")


def progress_bar(pictures: Pictures, total: int) -> Pictures:
    """Show how many pictures are drawn, the rate and the remaining time."""
    bar: Pictures = tqdm(pictures, total=total, desc="drawing", unit=" pictures", mininterval=1.0, file=sys.stderr)
    return bar


def require(config: DictConfig, key: str, meaning: str) -> None:
    """Refuse a configuration that lacks a required value.

    Raises:
        DataError: the value is missing.
    """
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if OmegaConf.is_missing(node, name):
        raise DataError(f"{key} is not given: pass {key}=… ({meaning})")


if __name__ == "__main__":
    main()
