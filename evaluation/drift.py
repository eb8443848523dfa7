"""Whether the look of a model's pictures moved between two versions: what ``atelier compare`` adds to its figures.

Shapes: pictures uint8 [N,3,H,W].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.figures import Figure
from evaluation.measurement import Finding, Section
from evaluation.style.descriptor import DESCRIPTOR_FOLDER, WEIGHTS_FILE, StyleDescriptor
from evaluation.style.versions import version_drift
from evaluation.wording import p_text

MOVED = 0.05
AT_ONCE = 64
TITLE = "Version drift of the style"
NOTE = (
    "The descriptors of both sides' pictures are held against each other as crowds: 0 is no drift. The probability"
    " comes from exchanging before and after within prompts, and is not corrected for the figures above."
)


@dataclass(frozen=True, kw_only=True)
class StyleDrift:
    """Version drift by any extractor; its features are brought to unit length."""

    descriptor: Extractor
    seed: int = 0

    def __call__(self, before_N3HW: Tensor, after_N3HW: Tensor) -> Section:
        """Return the drift and what it says.

        Raises TooFewPicturesError for fewer than 16 pictures.
        """
        described = (_described(self.descriptor, pictures) for pictures in (before_N3HW, after_N3HW))
        found = version_drift(*described, seed=self.seed)
        count, px = len(before_N3HW), int(before_N3HW.shape[-1])
        identity = f"version-drift[{found.bandwidth:.4f}]/{extractor_identity(self.descriptor)}/{px}px/N={count}"
        drift = Figure.of("version_drift", found.discrepancy.interval(), count=count, identity=identity, better="lower")
        moved = found.p_value < MOVED
        sentence = f"{'The look moved' if moved else 'No proof that the look moved'} (p {p_text(found.p_value)})."
        return Section(
            name="drift",
            title=TITLE,
            note=NOTE,
            figures=(drift,),
            findings=(Finding(tone="unsure" if moved else "good", sentence=sentence),),
        )


@dataclass(frozen=True, kw_only=True)
class FittedStyleDrift:
    """Version drift by the fitted style descriptor of a folder; where it holds none, the section says so."""

    descriptor: str = DESCRIPTOR_FOLDER
    device: str = "cpu"
    seed: int = 0

    def __call__(self, before_N3HW: Tensor, after_N3HW: Tensor) -> Section:
        """Return the drift and what it says.

        Raises TooFewPicturesError for fewer than 16 pictures, EvaluationError for a descriptor that is broken.
        """
        if not (Path(self.descriptor) / WEIGHTS_FILE).is_file():
            missing = (
                f"no style descriptor at {self.descriptor}: make one with atelier fit fitted=descriptor, and pass"
                " drift.descriptor=DIR"
            )
            return Section(name="drift", title=TITLE, note=NOTE, missing=missing)
        fitted = StyleDescriptor(self.descriptor, self.device)
        return StyleDrift(descriptor=fitted, seed=self.seed)(before_N3HW, after_N3HW)


def _described(descriptor: Extractor, pictures_N3HW: Tensor) -> Tensor:
    batches = [descriptor(batch).cpu() for batch in pictures_N3HW.split(AT_ONCE)]
    return torch.nn.functional.normalize(torch.cat(batches).double(), dim=1)
