"""What a gate found: a value with a reason for each of its checks."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a gate and the sentence that a person reads about it."""

    check: str
    passed: bool
    sentence: str
    figure: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All checks of one gate on one model."""

    gate: str
    gate_digest: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed; a gate without checks passes nothing."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def digest(self) -> str:
        """Return the SHA-256 of the gate's digest and every check, for the journal."""
        content = [self.gate, self.gate_digest, [_finite(asdict(check)) for check in self.checks]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finite(fields: dict[str, object]) -> dict[str, object]:
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}
