"""Fetches the base sets of ``conf/source/base.yaml`` with ``npm pack`` and ingests them: ``make corpus``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from atelier import CONF_FOLDER
from data.errors import SourceError
from data.ingest import ingest


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="corpus")
def main(config: DictConfig) -> None:
    """Fetch what is missing, then ingest."""
    fetch(Path(config.source.path), dict(config.source.collections))
    ingest(config)


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
        command = [npm, "pack", package, "--silent", "--pack-destination", partial]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = tarball(Path(partial), name, version)
        if result.returncode or not packed.is_file():
            reason = " ".join(result.stderr.split())[:300] or "no file came"
            raise SourceError(f"npm pack {package} failed: {reason}")
        packed.rename(tarball(folder, name, version))


if __name__ == "__main__":
    main()
