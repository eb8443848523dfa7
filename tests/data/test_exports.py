"""What is written beside the shards, as other tools and people read it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from data.dataset import Dataset
from data.exports import exports
from data.record import Origin
from data.summary import training_content


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, icons: int = ...) -> Dataset: ...


def test_mlcroissant_validates_without_a_complaint(make_dataset: MakeDataset) -> None:
    file = make_dataset().folder / "croissant.json"
    command: list[str | Path] = [Path(sys.executable).with_name("mlcroissant"), "validate", "--jsonld", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = [line for line in result.stderr.splitlines() if not line.endswith("Done.")]
    assert not told


def test_the_texts_follow_from_the_card(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    texts = exports(dataset.card)
    assert {name: (dataset.folder / name).read_text() for name in texts} == texts


def test_the_training_content_is_told_by_kind_of_source_and_by_licence(make_dataset: MakeDataset) -> None:
    card = make_dataset().card
    own = Origin(
        collection="tiles",
        title="Tiles",
        creator="B. Owner",
        creator_url="",
        licence="LicenseRef-Own-Work",
        licence_url="",
        uri="folder:tiles",
        sha256="0" * 64,
    )
    refused = {"opt-out in the file": 2, "unsafe picture": 3, "exact duplicate": 4}
    text = training_content(replace(card, sources=[card.sources[0], own], refused=refused))
    public, rest = text.split("### 2.2 ")
    assert "| dots | Dots | A. Drawer | MIT | `pkg:npm/%40iconify-json/dots@1.0.0` | 12 |" in public
    assert "| tiles | Tiles | B. Owner |" in rest.split("### 2.6 ")[1]
    assert "| MIT | 24 |" in rest
    rights, unlawful = rest.split("### 3.1 ")[1].split("### 3.2 ")
    assert "- opt-out in the file: 2" in rights and "duplicate" not in rights
    assert "- unsafe picture: 3" in unlawful.split("### 3.3")[0]
    assert "- exact duplicate: 4" in unlawful.split("### 3.3")[1]
    assert "fewer than 1 million images: 24" in text
