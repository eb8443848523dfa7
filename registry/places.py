"""Where MLflow keeps its database and its artifacts: what its URIs say about local paths."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry.errors import RegistryError

_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite database; None for every other kind of address."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def absolute_uri(uri: str) -> str:
    """Return ``uri`` with its path, where it is an SQLite database, made absolute."""
    path = sqlite_path(uri)
    return uri if path is None else f"{_SQLITE}{path.absolute()}"


def refuse_other_files(path: Path) -> None:
    """Make room for a database at ``path``.

    Raises:
        RegistryError: a file lies there that is no SQLite database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as stream:
            if stream.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:
                raise RegistryError(f"{path} is not an SQLite database: move it away, or set registry.tracking_uri")


def local_path(uri: str) -> Path | None:
    """Return the path that an artifact's URI means on this machine; None where it lies on a server."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(uri)
