"""What a picture file must pass before it becomes a sample, as settings that any worker process can be handed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from data.errors import DataError

SHAPES = ("square", "kept")
KEPT_STEP_PX = 16


@dataclass(frozen=True)
class Unusable:
    """Why a picture cannot become a sample: ``reason`` is counted, ``detail`` tells this one's case."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class FileChecks:
    """How files are checked and shaped.

    Args:
        min_side_px: the shortest side that a picture file may have.
        max_pixels: the most pixels that a picture file may declare; decoding takes about 12 bytes for each.
        max_file_bytes: the longest file that is read.
        max_ratio: how many times its shorter side the longer may be.
        honest_suffix: refuse a file whose suffix names another format than its content.
        opt_outs: refuse what its own file keeps out of training; if False the statements are only recorded.
        unsafe_threshold: refuse pictures that open_nsfw scores at this or above, 0 to 1; None scores none.
        unsafe_drawings: score SVG drawings too.
        shape: "square" pads to a transparent square; "kept" keeps the proportions, padding sides up to 16 px steps.

    Raises:
        DataError: a value is out of its range.
    """

    min_side_px: int = 32
    max_pixels: int = 50_000_000
    max_file_bytes: int = 100_000_000
    max_ratio: float = 16.0
    honest_suffix: bool = True
    opt_outs: bool = True
    unsafe_threshold: float | None = 0.8
    unsafe_drawings: bool = False
    shape: str = "square"

    def __post_init__(self) -> None:
        for name in ("min_side_px", "max_pixels", "max_file_bytes", "max_ratio"):
            if getattr(self, name) < 1:
                raise DataError(f"checks.{name} is {getattr(self, name)}; it must be 1 or more")
        if self.unsafe_threshold is not None and not 0 < self.unsafe_threshold <= 1:
            allowed = "above 0 and at most 1, or null for no check"
            raise DataError(f"checks.unsafe_threshold is {self.unsafe_threshold}; it must be {allowed}")
        if self.shape not in SHAPES:
            raise DataError(f"checks.shape is {self.shape!r}; it must be one of {', '.join(SHAPES)}")

    def describe(self) -> dict[str, object]:
        """Return the checks as plain values, for digests and records."""
        return asdict(self)


DEFAULT_CHECKS = FileChecks()
