"""The suite ``serving``: do pictures that are served keep the look of the golden run?  One after the other, in order.

Shapes: pictures uint8 [N,3,H,W], descriptors [N,E].
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from evaluation.drawing import check_count, check_seed, to_tensor
from evaluation.drawings import pictures_of
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.evidence import FIGURES_FILE, read_evidence
from evaluation.extractors.pictures import fitted, opened, picture_digest
from evaluation.extractors.protocol import extractor_identity
from evaluation.figures import Figure
from evaluation.measurement import Column, Finding, Measurement, Source, Verdict
from evaluation.metrics.nearest import nearest_cosine
from evaluation.studio import Studio
from evaluation.style.checked import LEAST_ROWS
from evaluation.style.descriptor import DESCRIPTOR_FOLDER, StyleDescriptor
from evaluation.style.serving import LEAST_GOLDEN, ServingWatch, check_settings
from evaluation.suites.served import Found, section_of, strangeness, watched
from registry.artifacts import digest_folder

MOST_SERVED = 100_000  # all are held in memory and kept in the evaluation


@dataclass(frozen=True, kw_only=True)
class ServingSuite:
    """A folder of served pictures, in the order of ``order``, against the pictures of ``golden``.

    ``golden`` is a folder of pictures that were approved, or of an evaluation, whose made pictures are taken.  The
    other settings are those of ``ServingWatch``.
    """

    golden: str | None = None
    name: str = "serving"
    order: Literal["name", "time"] = "name"
    window_pictures: int = 128
    quiet_pictures: int = 5000
    false_alarms: float = 0.05
    slack: float = 0.25
    seed: int = 0
    side_px: int = 64
    descriptor: str = DESCRIPTOR_FOLDER

    def __post_init__(self) -> None:
        if not self.golden:
            raise EvaluationError("suite.golden is missing: pass suite.golden=DIR, the pictures that were approved")
        check_seed(self.seed)
        check_count("suite.side_px", self.side_px, 16, 4096)
        check_settings(
            within="suite.",
            window_pictures=self.window_pictures,
            quiet_pictures=self.quiet_pictures,
            false_alarms=self.false_alarms,
            slack=self.slack,
        )
        if self.order not in ("name", "time"):
            raise EvaluationError(f"suite.order is '{self.order}': it must be name or time")

    def measure(self, reference: str, studio: Studio) -> Measurement:
        """Return the drift, its course and the alarm; EvaluationError for too few or broken pictures on either side."""
        golden, files = self._golden_pictures(), self._served(Path(reference))
        names = tuple(file.stem for file in files)
        served = to_tensor([fitted(opened(file), self.side_px) for file in files])
        network = StyleDescriptor(self.descriptor, studio.device)
        golden_GE, served_NE = (
            normalize(studio.features(network, pictures, title).double(), dim=1)
            for pictures, title in ((golden, "the golden run"), (served, "what was served"))
        )
        watch = self._watch(golden_GE)
        found = watched(watch, served_NE)
        digest = digest_of(golden)
        identity = f"{extractor_identity(network)}/{self.side_px}px/golden@{digest[:12]}[{len(golden)}]"
        drift = self._drift(watch, len(files), identity)
        columns = _columns(golden, golden_GE, served, served_NE)
        verdict = self._verdict(found, names)
        return Measurement(
            suite=self.name,
            seed=self.seed,
            reference=reference,
            digest=digest_folder(Path(reference)),
            title=Path(reference).name,
            sections=(section_of(found, drift, columns, names, Finding(tone=verdict.tone, sentence=verdict.headline)),),
            verdict=verdict,
            captions=names,
            columns=columns,
            sources=(
                Source(role="golden run", name=str(self.golden), version=digest, pictures=len(golden), licences={}),
            ),
            settings={"order": self.order, "side_px": self.side_px, "window_pictures": self.window_pictures},
            extractor=extractor_identity(network),
            asked=names,
            per_picture=(strangeness(found, f"strangeness/{identity}/N={len(files)}"),),
        )

    def _drift(self, watch: ServingWatch, served: int, identity: str) -> Figure:
        last = min(self.window_pictures, served)
        return Figure.of(
            "serving_drift",
            watch.drift().interval(),
            count=last,
            identity=f"serving-drift/{identity}/N={last}",
            better="lower",
        )

    def _golden_pictures(self) -> Tensor:
        folder = Path(str(self.golden))
        if (folder / FIGURES_FILE).is_file():
            pictures = read_evidence(folder, str(folder)).made
            if pictures.shape[-1] != self.side_px:
                px = int(pictures.shape[-1])
                raise EvaluationError(f"the evaluation at {folder} drew at {px} px: pass suite.side_px={px}")
            return pictures
        return to_tensor([fitted(opened(file), self.side_px) for file in listed(folder, LEAST_GOLDEN, "golden")])

    def _served(self, folder: Path) -> list[Path]:
        files = listed(folder, LEAST_ROWS, "served")
        if len(files) > MOST_SERVED:
            raise EvaluationError(
                f"{folder} holds {len(files):,} served pictures, at most {MOST_SERVED:,} are watched:"
                " begin a new folder"
            )
        return files if self.order == "name" else sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))

    def _watch(self, golden_GE: Tensor) -> ServingWatch:
        return ServingWatch(
            golden_GE,
            window_pictures=self.window_pictures,
            quiet_pictures=self.quiet_pictures,
            false_alarms=self.false_alarms,
            slack=self.slack,
            seed=self.seed,
        )

    def _verdict(self, found: Found, names: Sequence[str]) -> Verdict:
        count = len(found.seen)
        promise = (
            f"Pictures of the golden look ring the alarm by mistake within {self.quiet_pictures:,} pictures"
            f" with probability {self.false_alarms:g}"
            + ("; after every so many the sums begin anew." if count > self.quiet_pictures else ".")
        )
        if found.alarm is None or found.began is None:
            full = count >= self.window_pictures
            headline = (
                f"No alarm in {count:,} served pictures." if full else f"No alarm yet, in {count} served pictures."
            )
            return Verdict(tone="good" if full else "unsure", headline=headline, sentences=(promise,))
        stranger = found.seen[found.alarm].upper > found.threshold
        how = "look stranger than the golden run" if stranger else "crowd at the golden run's middle: they vary less"
        where = f"It rang at picture {found.alarm + 1:,} of {count:,} ({names[found.alarm]}); the evidence gathers from"
        sentence = f"{where} picture {found.began + 1:,} on ({names[found.began]})."
        return Verdict(tone="bad", headline=f"Alarm: served pictures {how}.", sentences=(sentence, promise))


def listed(folder: Path, least: int, which: str) -> list[Path]:
    """Return all picture files of a folder by name; EvaluationError where it holds fewer than ``least``."""
    if not folder.is_dir():
        raise EvaluationError(f"no folder of {which} pictures at {folder}")
    files = pictures_of(folder)
    if len(files) < least:
        raise TooFewPicturesError(f"{folder} holds {len(files)} {which} pictures: {least} or more are needed")
    return files


def digest_of(pictures_N3HW: Tensor) -> str:
    """Return the sha256 of pictures in their order, whatever else lies in the folder that they came from."""
    return hashlib.sha256(b"".join(picture_digest(picture) for picture in pictures_N3HW)).hexdigest()


def _columns(golden: Tensor, golden_GE: Tensor, served: Tensor, served_NE: Tensor) -> tuple[Column, Column]:
    """Return what was served beside the golden picture nearest to each."""
    _, nearest = nearest_cosine(served_NE, golden_GE)
    return (
        Column(
            title="Nearest of the golden run", short="golden", pictures=golden[nearest], features=golden_GE[nearest]
        ),
        Column(title="Served", short="served", pictures=served, features=served_NE),
    )
