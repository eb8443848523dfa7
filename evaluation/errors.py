"""What can go wrong in a measurement that a person can put right."""

from __future__ import annotations

from atelier import AtelierError


class EvaluationError(AtelierError):
    """A measurement that cannot be made, or two figures that must not be compared."""


class NotComparableError(EvaluationError):
    """Two figures differ in what was measured: extractor, preprocessing, judging drawings or number of pictures."""


class TooFewPicturesError(EvaluationError):
    """Fewer pictures than a distance between two sets needs."""
