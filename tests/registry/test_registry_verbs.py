"""The verbs as a person calls them: in a process of their own, in a folder that is not the project's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier import PROJECT_ROOT
from registry.ancestry import ancestry, draw
from registry.promotion import promote
from registry.resolve import resolve_model
from registry.settings import RegistrySettings

MakeModel = Callable[..., Path]
NAME = "brand-openmoji"


def atelier(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import atelier; atelier.main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_promote_then_history_and_lineage(registered: RegistrySettings, tmp_path: Path) -> None:
    done = atelier(tmp_path, "promote", f"model={NAME}", "version=1", "why='the first one'")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  pass  frechet_distance_brand.high < frechet_distance_unadapted.low: 65 against 88" in done.stdout
    assert f"{NAME}@champion now points to version 1 (pointed nowhere before); journal line 1" in done.stdout

    listed = atelier(tmp_path, "history", f"model={NAME}")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "promote champion none → 1 by " in listed.stdout
    assert ": the first one" in listed.stdout
    assert "1 moves; every line of the journal verified" in listed.stdout

    told = atelier(tmp_path, "lineage", f"models:/{NAME}@champion")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"{NAME} version 1, adapter openmoji (digest ")


def test_a_refused_promotion_tells_every_check(registered: RegistrySettings, tmp_path: Path) -> None:
    done = atelier(tmp_path, "promote", f"model={NAME}", "version=3")
    assert done.returncode == 2
    assert "  FAIL  frechet_distance_brand.high < frechet_distance_unadapted.low: 120 against 88" in done.stdout
    assert "  pass  every licence is a known SPDX expression" in done.stdout
    assert f"atelier: {NAME} version 3 is not promoted, it fails 2 of 13 checks" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["promote", "version=1"], "atelier: model is missing: pass a registered name, such as model=brand-openmoji"),
        (["promote", "model=x", "version=new"], "atelier: version must be a whole number from 1"),
        (["promote", "model=x", "version=1"], "atelier: no registered model 'x': sqlite:///"),
        (["promote", "mdl=x"], "atelier: configuration: there is no setting 'mdl'; did you mean 'model'?"),
        (["rollback", "model=backbone"], "atelier: no registered model 'backbone'"),
        (["history", "model=backbone"], "atelier: no registered model 'backbone'"),
        (["lineage", "nowhere"], "atelier: no model folder at nowhere"),
        (["lineage", "models:/x"], "write models:/NAME@ALIAS or models:/NAME/VERSION"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = atelier(tmp_path, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_can_be_looked_at_without_a_registry(tmp_path: Path) -> None:
    done = atelier(tmp_path, "promote", "--cfg", "job")
    assert done.returncode == 0
    assert "figure: frechet_distance_brand.high" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_tree_tells_base_datasets_licences_run_and_moves(
    registered: RegistrySettings, make_backbone: MakeModel
) -> None:
    registered.store.register("backbone", make_backbone())
    promote(registered, NAME, 1, who="me", why="good")
    tree = list(draw(ancestry(resolve_model(f"models:/{NAME}@champion", registered.store), registered)))
    text = "\n".join(tree)
    assert "├─ obligations: name OpenMoji and share alike" in tree
    assert "├─ base: backbone base (digest " in text
    assert "│  └─ registered as backbone version 1" in text
    assert "├─ dataset learn (version a1b2c3d4e5f6), 60 pictures, shown 4,800 times, policy share_alike" in tree
    assert "│  ├─ licences: CC-BY-SA-4.0: 60" in tree
    assert "run: seed 7, code commit 0123456789ab, 4,800 images seen, 62 s, on 2 CPU cores" in text
    assert f"└─ registered as {NAME} version 1, champion" in tree
    assert " promote champion none → 1 by me, gate adapter " in tree[-1]


def test_a_folder_that_nobody_registered_has_a_tree_too(tmp_path: Path, make_backbone: MakeModel) -> None:
    done = atelier(tmp_path, "lineage", str(make_backbone()))
    assert (done.returncode, done.stderr) == (0, "")
    assert "registered" not in done.stdout
    assert not (tmp_path / "var").exists()
