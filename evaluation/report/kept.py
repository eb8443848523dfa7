"""Keeping an earlier evaluation where another one is about to take its folder."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from evaluation.errors import EvaluationError
from evaluation.evidence import FIGURES_FILE
from evaluation.measurement import Measurement

SAYS = ("model", "suite", "seed", "figures", "pictures")  # of figures.json


def keep_earlier(measurement: Measurement, folder: Path) -> Path | None:
    """Copy the evaluation in ``folder`` to FOLDER.TIME, the time it was made, unless it says what ``measurement`` does.

    Returns where it now lies, None where there was nothing to keep.  EvaluationError when it cannot be copied.
    """
    earlier = folder / FIGURES_FILE
    if not earlier.is_file() or _says_the_same(earlier, measurement):
        return None
    made_at = datetime.fromtimestamp(earlier.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H%M%S.%f")
    kept = folder.with_name(f"{folder.name}.{made_at}Z")
    partial = folder.with_name(f".{kept.name}.{os.getpid()}")
    if kept.is_dir():
        return kept
    try:
        shutil.copytree(folder, partial)
        partial.replace(kept)
    except OSError as error:
        raise EvaluationError(
            f"the earlier evaluation at {folder} could not be kept as {kept}: {error}; pass out=DIR for another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return kept


def _says_the_same(earlier: Path, measurement: Measurement) -> bool:
    """Return whether an evaluation's figures and settings are this one's; one that cannot be read says otherwise.

    What the page says besides, the curves over versions for one, follows from more than this evaluation.
    """
    try:
        documents = json.loads(earlier.read_text()), json.loads(json.dumps(measurement.to_json()))
        one, other = ([document[part] for part in SAYS] for document in documents)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(one == other)
