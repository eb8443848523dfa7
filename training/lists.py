"""Which lists of revoked works a run was given, and from which position of its order on.

The order of a run is made over what was not revoked when the run began, and stays: a resumed run goes on with it, and
rows revoked since are replaced (``data/unrevoked.py``). ``seen.json`` in the run's folder remembers it, for the card
and for ``atelier revoke``, which also finds runs that never ended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.dataset import Dataset
from data.order import SampleOrder
from data.revocations import Revocations
from registry.files import replace_file
from training.errors import TrainingError

SEEN_FILE = "seen.json"


class RunLists:
    """The lists given to one run: ``[{"through": lines of the list, "position": first place it holds for}, …]``."""

    def __init__(self, folder: Path, dataset: Dataset, **recipe: Any) -> None:
        """``recipe`` is how the order follows from the dataset: its name, one of ``training.exposure.RECIPES``, and
        the values that it takes.
        """
        self.file = folder / SEEN_FILE
        self.dataset, self.recipe = dataset, recipe
        resumes = (folder / "checkpoints").is_dir() and self.file.is_file()
        self.lists: list[dict[str, int]] = read_seen(self.file)["order"]["lists"] if resumes else []

    def at_start(self) -> Dataset:
        """Return the dataset with the revocations that stood when the run began: what its order is made over."""
        now, dataset = self.dataset.revocations, self.dataset
        through = self.lists[0]["through"] if self.lists else now.through
        return Dataset(dataset.folder, dataset.card, dataset.index, now.until(through))

    def apply(self, trainer: Any, module: Any, position: int, revocations: Revocations, places: Any) -> None:
        """Let a running job follow a list: forget the revoked places as partners too, and remember the list."""
        module.forget(places)
        if trainer.is_global_zero:
            self.note(position, revocations)

    def note(self, position: int, revocations: Revocations) -> None:
        """Remember that from ``position`` on this list holds; what a run does again counts as it is done now."""
        kept = [one for one in self.lists if one["position"] < position or one is self.lists[0]]
        if not kept or kept[-1]["through"] != revocations.through:
            kept.append({"through": revocations.through, "position": position})
        self.lists = kept
        self._write({**self.recipe, "lists": self.lists})

    def end(self, order: SampleOrder, pictures: int) -> dict[str, Any]:
        """Remember that the run drew ``pictures`` from ``order``, and return what its card says of it."""
        said = {**self.recipe, "lists": self.lists, "sha256": order.digest(), "pictures": pictures}
        self._write(said)
        return said

    def _write(self, order: dict[str, Any]) -> None:
        card, folder = self.dataset.card, str(self.dataset.folder)
        said = {"dataset": {"name": card.name, "version": card.version, "folder": folder}, "order": order}
        replace_file(self.file, json.dumps(said, indent=1).encode() + b"\n")


def read_seen(file: Path) -> dict[str, Any]:
    """Read what ``RunLists`` wrote.

    Raises:
        TrainingError: it is something else.
    """
    try:
        said = json.loads(file.read_bytes())
        said["order"]["lists"], said["dataset"]["version"]
    except (ValueError, TypeError, KeyError):
        raise TrainingError(f"{file} is broken: remove {file.parent} to train anew") from None
    return dict(said)
