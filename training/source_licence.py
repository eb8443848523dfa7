"""The licence that a pretrained model comes with, as its own model card says it or as a person does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData, model_info
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.repocard import ModelCard
from license_expression import ExpressionError, get_spdx_licensing

from training.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class SourceLicence:
    """``expression`` is SPDX's, ``named`` what the source calls it; ``revision`` is the hub's commit."""

    expression: str
    named: str
    revision: str | None = None


def source_licence(source: str, given: str | None, *, revision: str | None = None) -> SourceLicence:
    """Return the licence that the source's card names; what a person gives must not contradict it.

    Raises:
        TrainingError: neither names a licence, they differ, or the name is none that SPDX allows.
    """
    data, commit = _card(source, revision)
    named = _named(data)
    if given is not None and not (told := spdx(str(given))):
        raise TrainingError(f"licence '{given}' is no SPDX expression: write one, or LicenseRef-NAME for another text")
    if given is None and named is None:
        raise TrainingError(f"{source} names no licence in its README.md: read its terms and pass licence=SPDX")
    if given is None:
        assert named is not None
        return SourceLicence(expression=spdx(named) or f"LicenseRef-{named}", named=named, revision=commit)
    if named is not None and (spdx(named) or f"LicenseRef-{named}").lower() != told.lower():
        raise TrainingError(f"licence is {told}, and {source} says {named}: leave licence out, or correct it")
    return SourceLicence(expression=told, named=named or told, revision=commit)


def spdx(name: str) -> str:
    """The expression as SPDX writes it ("Apache-2.0" for "apache-2.0"), empty where it is none.

    A ``LicenseRef-NAME`` is a licence by its name.
    """
    try:
        parsed = get_spdx_licensing().parse(name)
    except ExpressionError:
        return ""
    known = parsed is not None and all(
        str(key).startswith("LicenseRef-") for key in get_spdx_licensing().unknown_license_keys(parsed)
    )
    return str(parsed) if known else ""


def _card(source: str, revision: str | None) -> tuple[Any, str | None]:
    """The head of the model's card and the commit that it belongs to."""
    if Path(source).is_dir():
        readme = Path(source) / "README.md"
        if not readme.is_file():
            return ModelCardData(), None
        try:
            return ModelCard.load(readme, ignore_metadata_errors=True).data, None
        except ValueError as error:
            raise TrainingError(f"{readme} has a head that is no YAML: {str(error).splitlines()[0]}") from error
    try:
        info = model_info(source, revision=revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise TrainingError(f"the hub does not answer for {source}: {str(error).splitlines()[0]}") from error
    return info.card_data or ModelCardData(), info.sha


def _named(data: Any) -> str | None:
    """The hub writes licences of one's own as "other" and their name beside it."""
    told = data.get("license")
    name = data.get("license_name") if told == "other" else told
    return str(name) if isinstance(name, str) and name.lower() not in ("", "other", "unknown") else None
