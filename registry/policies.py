"""Policy checks of a gate: what a card must say, whatever the figures are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

from registry.artifacts import Card
from registry.figures import Evaluation
from registry.resolve import ResolvedModel
from registry.verdict import Check

_REQUIRED = ("kind", "name", "datasets", "licence", "obligations", "seed", "code_commit", "config", "run", "created")
_REQUIRED_OF_DATASET = ("name", "version", "licences", "pictures")
_SAYS_NOTHING = re.compile(r"noassertion|none|.*unknown.*", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{8,}")
_OWN_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")  # a licence of somebody's own, named as SPDX allows
_SHARE_ALIKE = re.compile(r"CC-BY(?:-NC)?-SA-[0-9.]+")
_ATTRIBUTION = re.compile(r"CC-BY-[A-Z0-9.-]+")


def card_complete(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """The card has every field that answers: made from what, by which code, with which seed."""
    required = [*_REQUIRED, *(["brand", "base"] if model.card["kind"] == "adapter" else [])]
    missing = [field for field in required if model.card.get(field) is None]
    missing += [
        f"datasets[{index}].{field}"
        for index, dataset in enumerate(_datasets(model.card))
        for field in _REQUIRED_OF_DATASET
        if dataset.get(field) is None
    ]
    return _check("card_complete", missing, "the card lacks {}", "the card has every field")


def licence_known(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """The model and everything it learnt from have licences, each a known SPDX expression."""
    named = [("the model", str(model.card.get("licence") or ""))]
    for dataset in _datasets(model.card):
        licences = dataset.get("licences") or {"": 0}
        named += [(f"dataset {dataset.get('name')}", str(licence)) for licence in licences]
    unknown = [f"{owner} ('{licence}')" for owner, licence in named if not _is_known(licence)]
    return _check("licence_known", unknown, "no known SPDX licence for {}", "every licence is a known SPDX expression")


def dataset_version_present(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """The model names its datasets, each by its version: a digest, so that nobody has to guess what was in it."""
    datasets = _datasets(model.card)
    if not datasets:
        return Check(check="dataset_version_present", passed=False, sentence="the card names no dataset")
    without = [str(d.get("name")) for d in datasets if not _HEX.fullmatch(str(d.get("version") or ""))]
    told = ", ".join(f"{d.get('name')}@{str(d.get('version'))[:12]}" for d in datasets)
    return _check("dataset_version_present", without, "no version (hex digest) for {}", f"made from {told}")


def obligations_carried(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """A share-alike licence of a dataset binds the model; one that asks for attribution leaves an obligation."""
    licences = [str(licence) for dataset in _datasets(model.card) for licence in dataset.get("licences") or {}]
    share_alike = {match for licence in licences for match in _SHARE_ALIKE.findall(licence)}
    own = str(model.card.get("licence") or "")
    dropped = sorted(f"share-alike ({licence}) in its own licence" for licence in share_alike if licence not in own)
    if any(_ATTRIBUTION.search(licence) for licence in licences) and not model.card.get("obligations"):
        dropped.append("obligations, although datasets ask for attribution")
    return _check("obligations_carried", dropped, "the card lacks {}", "the obligations of its datasets are carried")


def figures_of_this_model(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """Every evaluation was made on exactly these files."""
    if not evaluations:
        sentence = "no evaluation is logged: run atelier evaluate on this version"
        return Check(check="figures_of_this_model", passed=False, sentence=sentence)
    strange = [f"suite {e.suite} (digest {e.model_digest[:12]})" for e in evaluations if e.model_digest != model.digest]
    good = f"every figure was measured on digest {model.digest[:12]}"
    return _check("figures_of_this_model", strange, f"measured on another model than {model.digest[:12]}: {{}}", good)


def no_revoked_work(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """Neither the model nor its base learnt from a work that was revoked."""
    return _check("no_revoked_work", list(model.revoked_works), "it {}: retrain it", "no revoked work was learnt from")


def revoked_work_told(model: ResolvedModel, evaluations: Sequence[Evaluation]) -> Check:
    """As ``no_revoked_work``, for those who may go on with such a model: it warns and passes."""
    check = no_revoked_work(model, evaluations)
    sentence = check.sentence if check.passed else f"warning: {check.sentence} soon"
    return Check(check="revoked_work_told", passed=True, sentence=sentence)


POLICIES: dict[str, Callable[[ResolvedModel, Sequence[Evaluation]], Check]] = {
    "card_complete": card_complete,
    "licence_known": licence_known,
    "dataset_version_present": dataset_version_present,
    "obligations_carried": obligations_carried,
    "figures_of_this_model": figures_of_this_model,
    "no_revoked_work": no_revoked_work,
    "revoked_work_told": revoked_work_told,
}


def _check(name: str, wrong: list[str], bad: str, good: str) -> Check:
    sentence = bad.format(", ".join(wrong)) if wrong else good
    return Check(check=name, passed=not wrong, sentence=sentence)


def _datasets(card: Card) -> list[dict[str, Any]]:
    datasets = card.get("datasets")
    return [d for d in datasets if isinstance(d, dict)] if isinstance(datasets, list) else []


def _is_known(expression: str) -> bool:
    if not expression or _SAYS_NOTHING.fullmatch(expression):
        return False
    licensing = get_spdx_licensing()
    try:
        unknown = licensing.unknown_license_keys(expression)
    except ExpressionError:
        return False
    return all(_OWN_REFERENCE.fullmatch(str(key)) for key in unknown)
