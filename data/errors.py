"""What can go wrong in the package ``data``, as one drawn tree.

AtelierError
└── DataError
    ├── SourceError    pictures could not be read from where the person pointed
    ├── PolicyError    a licence policy is not usable
    ├── DatasetError   a dataset folder is missing, broken or not what was asked for
    └── RevocationError  the list of revoked works cannot be trusted
"""

from __future__ import annotations

from atelier import AtelierError


class DataError(AtelierError):
    """A mistake with pictures, licences or datasets that a person can put right."""


class SourceError(DataError):
    """Pictures could not be read from where the person pointed."""


class PolicyError(DataError):
    """A licence policy is not usable."""


class DatasetError(DataError):
    """A dataset folder is missing, broken or not what was asked for."""


class RevocationError(DataError):
    """The list of revoked works cannot be trusted, so that nothing may be learnt."""
