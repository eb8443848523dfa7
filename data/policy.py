"""Which licences a dataset may hold. The admission rules are values, so that a refusal can say which one it met."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing

from data.errors import PolicyError
from data.record import Drawing, Refused


@lru_cache
def _licensing() -> Any:
    return get_spdx_licensing()


@lru_cache
def _parse(expression: str) -> Any:
    return _licensing().parse(expression, validate=True)


class Policy:
    """Admits a drawing if its SPDX expression can be met with the policy's licences and its set is no trademark.

    ``A OR B`` needs one of them, ``A AND B`` both, ``A WITH exception`` the licence A.

    Args:
        name: as in ``conf/policy/NAME.yaml``.
        licences: SPDX identifiers that may be used.
        protected: collections of marks, refused whatever their licence says.

    Raises:
        PolicyError: a licence is no SPDX identifier, or there is none.
    """

    def __init__(self, *, name: str, licences: Sequence[str], protected: Sequence[str] = ()) -> None:
        self.name = name
        self.protected = frozenset(protected)
        if not licences:
            raise PolicyError(f"policy {name} allows no licence: list SPDX identifiers under 'licences'")
        try:
            self.licences = frozenset(_parse(licence).key for licence in licences)
        except (ExpressionError, AttributeError) as error:
            raise PolicyError(f"policy {name}: not an SPDX licence identifier ({error})") from None

    def describe(self) -> dict[str, object]:
        """Return the policy as plain values, for digests and records."""
        return {"name": self.name, "licences": sorted(self.licences), "protected": sorted(self.protected)}

    def refusal(self, drawing: Drawing) -> Refused | None:
        """Return why the drawing is turned away, or None if it is admitted."""
        if drawing.collection in self.protected:
            return _refused(drawing, "trademark", f"collection {drawing.collection} holds protected marks")
        if not drawing.licence:
            return _refused(drawing, "licence missing", "no SPDX licence is given for this picture")
        try:
            parsed = _parse(drawing.licence)
        except ExpressionError as error:
            return _refused(drawing, "licence unknown", f"{drawing.licence!r} is no SPDX expression ({error})")
        if parsed is None or not self._meets(parsed):
            detail = f"licence {drawing.licence} is not in policy {self.name}"
            return _refused(drawing, "licence not in policy", detail)
        return None

    def _meets(self, parsed: Any) -> bool:
        if isinstance(parsed, LicenseWithExceptionSymbol):
            return parsed.license_symbol.key in self.licences
        if isinstance(parsed, LicenseSymbol):
            return parsed.key in self.licences
        met = [self._meets(part) for part in parsed.args]
        return any(met) if parsed.operator.strip() == "OR" else all(met)


def _refused(drawing: Drawing, reason: str, detail: str) -> Refused:
    return Refused(key=drawing.key, collection=drawing.collection, reason=reason, detail=detail)
