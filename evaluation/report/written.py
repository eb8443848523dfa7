"""Writing the files of one evaluation: all of them, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from evaluation.errors import EvaluationError


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files under hidden names, then rename them one after the other in the order given.

    What was in the folder stays as it was until every file lies whole on the disk.  Raises EvaluationError when the
    folder cannot be written or the disk is full; nothing of the files is then left.
    """
    partial = {folder / f".{name}.{os.getpid()}": folder / name for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (hidden, _), content in zip(partial.items(), files.values(), strict=True):
            hidden.write_bytes(content)
        for hidden, file in partial.items():
            hidden.replace(file)
    except OSError as error:
        raise EvaluationError(
            f"the report could not be written into {folder}: {error.strerror or error}; pass out=DIR for another place"
        ) from error
    finally:
        for hidden in partial:
            hidden.unlink(missing_ok=True)
