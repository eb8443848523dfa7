"""Gates: thresholds on figures, kept as data in ``conf/gate``, and policy checks on the card.

A gate never stops at the first failure: it returns every check with its sentence, so that a person sees all that is
missing at once. A figure that is missing fails its check, unless the threshold is marked optional.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from registry.artifacts import KINDS
from registry.errors import RegistryError
from registry.figures import BOUNDS, Evaluation, Figure, by_name
from registry.policies import POLICIES
from registry.resolve import ResolvedModel
from registry.verdict import Check, Verdict

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One comparison: a figure (``NAME``, ``NAME.low`` or ``NAME.high``) against a number or another figure."""

    figure: str
    comparison: str
    against: float | str
    why: str
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse a comparison that is none and a threshold that no reason is given for."""
        if self.comparison not in _COMPARISONS:
            allowed = ", ".join(_COMPARISONS)
            raise RegistryError(f"threshold on {self.figure}: comparison '{self.comparison}' must be one of {allowed}")
        if isinstance(self.against, bool) or not isinstance(self.against, int | float | str):
            raise RegistryError(f"threshold on {self.figure}: against must be a number or a figure's name")
        if not self.why.strip():
            raise RegistryError(f"threshold on {self.figure}: say why it is there")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a model must fulfil before an alias may point to it.

    Figures of fewer than ``least_pictures`` count as not measured: a quick look must not open a gate, nor stand
    before a thorough one.
    """

    name: str
    thresholds: Sequence[Threshold]
    policies: Sequence[str]
    least_pictures: int = 0

    def __post_init__(self) -> None:
        """Refuse a policy that does not exist."""
        for policy in self.policies:
            if policy not in POLICIES:
                raise RegistryError(f"gate {self.name}: no policy '{policy}'; there are {', '.join(POLICIES)}")

    def digest(self) -> str:
        """Return the SHA-256 of the gate's settings, for the journal."""
        settings = {
            "name": self.name,
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "policies": list(self.policies),
            "least_pictures": self.least_pictures,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def load_gate(kind: str) -> Gate:
    """Return the gate that ``conf/gate/KIND.yaml`` describes; for callers that have no composed configuration."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from atelier import CONF_FOLDER

    if kind not in KINDS:
        raise RegistryError(f"no gate for kind '{kind}': there are {', '.join(KINDS)}")
    gate = instantiate(OmegaConf.load(CONF_FOLDER / "gate" / f"{kind}.yaml"), _convert_="all")
    assert isinstance(gate, Gate)
    return gate


def run_gate(gate: Gate, model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Verdict:
    """Hold a model and what was measured on it against a gate."""
    figures = by_name(evaluations, least_pictures=gate.least_pictures)
    enough = f" on {gate.least_pictures} pictures or more" if gate.least_pictures else ""
    checks = [_hold(threshold, figures, enough) for threshold in gate.thresholds]
    checks += [POLICIES[policy](model, evaluations) for policy in gate.policies]
    return Verdict(gate=gate.name, gate_digest=gate.digest(), checks=tuple(checks))


def _hold(threshold: Threshold, figures: Mapping[str, Figure], enough: str) -> Check:
    rule = f"{threshold.figure} {threshold.comparison} {threshold.against}"
    sides = [_value(threshold.figure, figures), _value(threshold.against, figures)]
    missing = [str(n) for n, v in zip((threshold.figure, threshold.against), sides, strict=True) if v is None]
    if missing:
        advice = "this check is optional" if threshold.optional else "run atelier evaluate on this version"
        sentence = f"{' and '.join(missing)} not measured{enough}: {advice}"
        return _check(rule, passed=threshold.optional, sentence=sentence)
    left, right = (side for side in sides if side is not None)
    other = _identity_clash(threshold, figures)
    if other:
        return _check(rule, passed=False, sentence=other, left=left, right=right)
    passed = _COMPARISONS[threshold.comparison](left, right)
    sentence = f"{rule}: {left:.4g} against {right:.4g}" + ("" if passed else f"; {threshold.why}")
    return _check(rule, passed=passed, sentence=sentence, left=left, right=right)


def _check(rule: str, *, passed: bool, sentence: str, left: float | None = None, right: float | None = None) -> Check:
    return Check(check=rule, passed=passed, figure=left, threshold=right, sentence=sentence)


def _value(reference: float | str, figures: Mapping[str, Figure]) -> float | None:
    if not isinstance(reference, str):
        return float(reference)
    name, bound = _split(reference)
    return figures[name].bound(bound) if name in figures else None


def _split(reference: str) -> tuple[str, str]:
    name, _, bound = reference.rpartition(".")
    return (name, bound) if name and bound in BOUNDS else (reference, "value")


def _identity_clash(threshold: Threshold, figures: Mapping[str, Figure]) -> str | None:
    """Two figures measured in different ways are not comparable: another extractor, another resizer, another N."""
    if not isinstance(threshold.against, str):
        return None
    one, other = (figures[_split(side)[0]] for side in (threshold.figure, threshold.against))
    if (one.identity, one.count) == (other.identity, other.count):
        return None
    ours, theirs = (f"{figure.name} ({figure.identity}, {figure.count} pictures)" for figure in (one, other))
    return f"{ours} and {theirs} were not measured in the same way"
