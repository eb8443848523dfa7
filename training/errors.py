"""What can go wrong while training, as one drawn tree."""

from atelier import AtelierError


class TrainingError(AtelierError):
    """A setting, a dataset or a state of a run that cannot be trained, with what would be right."""
