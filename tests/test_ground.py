"""The ground: packaging and pins."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]


@pytest.mark.parametrize("name", [*PACKAGES, "atelier"])
def test_no_other_distribution_claims_a_name_of_ours(name: str) -> None:
    """Top-level names are deliberate; a second distribution with one of them would shadow ours."""
    assert set(packages_distributions().get(name, ["atelier"])) == {"atelier"}


def test_the_project_cannot_be_uploaded_by_mistake() -> None:
    """An index refuses this classifier."""
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def test_no_pin_names_a_malicious_lightning() -> None:
    """2.6.2 and 2.6.3 stole credentials on import."""
    constraints = (ROOT / "constraints.txt").read_text()
    (lightning,) = (line for line in PROJECT["project"]["dependencies"] if line.startswith("lightning"))
    assert {"!=2.6.2", "!=2.6.3"} <= set(re.findall(r"!=[\d.]+", lightning))
    pinned = re.findall(r"^(?:pytorch-)?lightning==([\d.]+)$", constraints, re.MULTILINE)
    assert pinned
    assert not {"2.6.2", "2.6.3"} & set(pinned)


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    """A fresh machine gets what was tested."""
    lines = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    wanted = {re.split(r"[<>=!\[]", line)[0].lower() for line in PROJECT["project"]["dependencies"]}
    assert wanted <= pinned


def test_no_machine_path_is_pinned() -> None:
    """Constraints name packages, not files."""
    assert "@" not in (ROOT / "constraints.txt").read_text()
