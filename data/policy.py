"""Which works a dataset may hold: by licence, and by lists of marks, revoked works and opt-outs.

The admission rules are values, so that a refusal can say which one it met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing
from omegaconf import OmegaConf

from atelier import CONF_FOLDER
from data.errors import PolicyError
from data.lists import WorkList
from data.record import Drawing, Refused
from data.revocations import load_revocations


@lru_cache
def _licensing() -> Any:
    return get_spdx_licensing()


@lru_cache
def _parse(expression: str) -> Any:
    """Parse an SPDX expression; beside the SPDX list, any ``LicenseRef-NAME`` is a licence by its name.

    Raises:
        ExpressionError: no expression, or a licence that SPDX does not list.
    """
    parsed = _licensing().parse(expression)
    unknown = [key for key in _licensing().unknown_license_keys(parsed) if not key.startswith("LicenseRef-")]
    if parsed is None or unknown:
        raise ExpressionError(f"unknown licence {', '.join(unknown) or repr(expression)}")
    return parsed


class Policy:
    """Admits a drawing if its SPDX expression can be met with the policy's licences and no list names it.

    ``A OR B`` needs one of them, ``A AND B`` both, ``A WITH exception`` the licence A.

    Args:
        name: as in ``conf/policy/NAME.yaml``.
        licences: SPDX identifiers that may be used.
        protected: collections of marks, refused whatever their licence says.
        revoked: works whose licence was withdrawn, as ``data.lists.WorkList`` reads them.
        opted_out: works that their makers keep out of training, listed the same way.

    Raises:
        PolicyError: a licence is no SPDX identifier, or there is none; a list cannot be read.
        RevocationError: the list of revocations cannot be trusted.
    """

    def __init__(
        self,
        *,
        name: str,
        licences: Sequence[str],
        protected: Sequence[str] = (),
        revoked: Sequence[str] = (),
        opted_out: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.protected = frozenset(protected)
        self.revocations = load_revocations()
        self.lists = {"revoked": WorkList(revoked), "opt-out listed": WorkList(opted_out)}
        if not licences:
            raise PolicyError(f"policy {name} allows no licence: list SPDX identifiers under 'licences'")
        try:
            self.licences = frozenset(_parse(licence).key for licence in licences)
        except (ExpressionError, AttributeError) as error:
            raise PolicyError(f"policy {name}: not an SPDX licence identifier ({error})") from None

    def describe(self) -> dict[str, object]:
        """Return the policy as plain values, for digests and records; lists by digest, where they name anything."""
        described: dict[str, object] = {
            "name": self.name,
            "licences": sorted(self.licences),
            "protected": sorted(self.protected),
        }
        return described | {reason: listed.sha256() for reason, listed in self.lists.items() if listed.entries}

    def refusal(self, drawing: Drawing) -> Refused | None:
        """Return why the drawing is turned away, or None if it is admitted; what ``atelier revoke`` took back first.

        Those are no part of ``describe``: every loader leaves them out of datasets that were made before, too.
        """
        if named := self._named(drawing):
            return named
        if drawing.collection in self.protected:
            return _refused(drawing, "trademark", f"collection {drawing.collection} holds protected marks")
        if not drawing.licence:
            return _refused(
                drawing, "licence missing", "no licence is given: state an SPDX one (licence=… or a LICENSE file)"
            )
        try:
            parsed = _parse(drawing.licence)
        except ExpressionError as error:
            return _refused(drawing, "licence unknown", f"{drawing.licence!r} is no SPDX expression ({error})")
        if not self._meets(parsed):
            detail = f"licence {drawing.licence} is not in policy {self.name}"
            return _refused(drawing, "licence not in policy", detail)
        return None

    def _named(self, drawing: Drawing) -> Refused | None:
        """Return the refusal of a drawing that a list names."""
        if taken := self.revocations.covers(drawing):
            return _refused(drawing, "revoked", taken.told())
        for reason, listed in self.lists.items():
            if entry := listed.entry_for(drawing):
                return _refused(drawing, reason, f"listed as {entry}")
        return None

    def check_licences(self, licences: Mapping[str, int], where: str) -> None:
        """Check a finished dataset's licences and how many pictures bear each.

        Raises:
            PolicyError: the policy does not admit one of them.
        """
        for licence, count in licences.items():
            try:
                admitted = self._meets(_parse(licence))
            except ExpressionError:
                admitted = False
            if not admitted:
                raise PolicyError(
                    f"{where} holds {count:,} pictures under {licence}, which policy {self.name} does not admit: "
                    "pass another policy or other pictures"
                )

    def _meets(self, parsed: Any) -> bool:
        if isinstance(parsed, LicenseWithExceptionSymbol):
            return parsed.license_symbol.key in self.licences
        if isinstance(parsed, LicenseSymbol):
            return parsed.key in self.licences
        met = [self._meets(part) for part in parsed.args]
        return any(met) if parsed.operator.strip() == "OR" else all(met)


def _refused(drawing: Drawing, reason: str, detail: str) -> Refused:
    return Refused(key=drawing.key, collection=drawing.collection, reason=reason, detail=detail)


def load_policy(name: str) -> Policy:
    """Return the policy of ``conf/policy/NAME.yaml``.

    Raises:
        PolicyError: there is none of that name.
    """
    folder = CONF_FOLDER / "policy"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in names:
        raise PolicyError(f"policy {name!r} does not exist: there are {', '.join(names)}")
    values = dict(OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml")))  # type: ignore[arg-type]
    return Policy(**{str(key): value for key, value in values.items() if key != "_target_"})
