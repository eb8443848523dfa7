"""The seam of a new measurement: a suite names its panels, and each becomes a section of the report."""

from __future__ import annotations

from typing import Protocol

from evaluation.measurement import Section
from evaluation.scene import Scene


class Panel(Protocol):
    """Measures one aspect of a scene.  Its settings are its constructor; ``conf/suite`` names it."""

    def measure(self, scene: Scene) -> Section:
        """Return the section; one that says what is ``missing`` where the scene lacks what the panel needs.

        Raises EvaluationError for what is wrong rather than missing.
        """
