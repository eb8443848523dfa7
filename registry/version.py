"""A version of a registered model, and the names that registered models may have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import RegistryError

_NAME_FORM = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version of a registered model, as its tags tell it."""

    name: str
    version: int
    digest: str
    kind: str
    licence: str
    base_digest: str | None
    datasets: str  # "name@version, …"
    aliases: tuple[str, ...]
    run_id: str
    created_seconds: float  # since 1970


def checked_name(name: str) -> str:
    """Return ``name``.

    Raises:
        RegistryError: it is none that a registered model may have.
    """
    if not _NAME_FORM.fullmatch(name):
        raise RegistryError(
            f"'{name}' is no model name: write lower-case letters, digits, '-', '_' and '.', at most 100"
        )
    return name


def refuse_wrong_name(name: str, kind: str) -> None:
    """Refuse a name that does not fit the kind: adapters are ``brand-NAME``, and nothing else is.

    Raises:
        RegistryError: says which name would be right.
    """
    checked_name(name)
    if (kind == "adapter") != name.startswith("brand-"):
        right = "brand-NAME" if kind == "adapter" else "a name without 'brand-', such as backbone"
        raise RegistryError(f"cannot register this {kind} as '{name}': it takes {right}")
