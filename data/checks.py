"""What a picture file must pass before it is drawn, as settings that any worker process can be handed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from data.errors import DataError

SHAPES = ("square", "kept")


@dataclass(frozen=True, kw_only=True)
class FileChecks:
    """How files are checked and shaped.

    Args:
        min_side_px: the shortest side a picture file may have.
        max_pixels: the most pixels a picture file may declare.
        shape: "square" pads to a transparent square; "kept" keeps the proportions, sides a multiple of 16 px.

    Raises:
        DataError: a value is out of its range.
    """

    min_side_px: int = 32
    max_pixels: int = 50_000_000
    shape: str = "square"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise DataError(f"shape is {self.shape!r}; it must be one of {', '.join(SHAPES)}")

    def describe(self) -> dict[str, object]:
        """Return the checks as plain values, for digests and records."""
        return asdict(self)


DEFAULT_CHECKS = FileChecks()
