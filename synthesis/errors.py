"""What can go wrong while drawing, as one drawn tree."""

from atelier import AtelierError


class SynthesisError(AtelierError):
    """A request, a model folder or an adapter that cannot be used, with what would be right."""
