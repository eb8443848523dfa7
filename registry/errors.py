"""The tree of the registry's mistakes. Each message is one line: what was wrong, where, what would be right."""

from __future__ import annotations

from atelier import AtelierError


class RegistryError(AtelierError):
    """A model, version, alias or setting that the registry cannot work with."""


class ArtifactError(RegistryError):
    """A folder that is no model artifact, or one that no longer has the digest it was registered with."""


class FiguresError(RegistryError):
    """A figures file that cannot be read or that was measured on another model."""


class JournalError(RegistryError):
    """A journal whose lines were changed, removed or signed by another key."""


class LockError(RegistryError):
    """Another process holds the lock for longer than this one is willing to wait."""
