"""Where the registry keeps things; ``conf/registry`` names this class, and verbs include that group."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from atelier import revocations_path
from registry.journal import Journal
from registry.mlflow import ModelStore


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """Five places; relative paths are relative to the current directory."""

    tracking_uri: str = "sqlite:///var/mlflow.db"
    artifact_root: str = "var/mlartifacts"
    journal: str = "var/journal.jsonl"
    key: str = "var/keys/promotion.pem"
    # Loaders look for it there too, and know no registry.
    revocations: str = field(default_factory=lambda: str(revocations_path()))

    @cached_property
    def store(self) -> ModelStore:
        """The registered models."""
        return ModelStore(self.tracking_uri, self.artifact_root)

    @cached_property
    def ledger(self) -> Journal:
        """The journal of promotions."""
        return Journal(Path(self.journal), Path(self.key))

    @cached_property
    def revoked(self) -> Journal:
        """The list of revoked works, signed by the same key."""
        return Journal(Path(self.revocations), Path(self.key))
