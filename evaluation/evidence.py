"""What an evaluation keeps so that another can be tested against it: ``pictures.parquet``, a row a picture.

A row holds what the picture was drawn from, its caption, the picture and the real drawing beside it (lossless WebP),
the direction of its features (float16, of length 1), and a column for each number that was measured of it.  The file's
metadata holds the jackknife of every figure that has one, and the digest of the ``figures.json`` that it belongs to.
Shapes: pictures uint8 [N,3,H,W], features [N,D], values [N].
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from evaluation.drawing import to_image, to_tensor
from evaluation.errors import EvaluationError
from evaluation.figures import Figure
from evaluation.intervals import Estimate
from evaluation.measurement import Measurement, PerPicture

FIGURES_FILE = "figures.json"
PICTURES_FILE = "pictures.parquet"
_METADATA = b"atelier"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One side of a comparison; ``features`` are of length 1, ``settings`` how the pictures were drawn."""

    title: str
    digest: str
    suite: str
    figures: tuple[Figure, ...]
    asked: tuple[str, ...]
    captions: tuple[str, ...]
    made: Tensor
    real: Tensor
    features: Tensor
    values: tuple[PerPicture, ...]
    estimates: Mapping[str, Estimate]
    settings: Mapping[str, object]
    extractor: str

    @classmethod
    def of(cls, measurement: Measurement) -> Evidence:
        """Return what a measurement that was just made keeps."""
        real, made = measurement.columns[:2]
        return cls(
            title=measurement.reference,
            digest=measurement.digest,
            suite=measurement.suite,
            figures=measurement.figures,
            asked=measurement.asked or measurement.captions,
            captions=measurement.captions,
            made=made.pictures,
            real=real.pictures,
            features=torch.nn.functional.normalize(made.features.double(), dim=1),
            values=measurement.values,
            estimates=measurement.estimates,
            settings=measurement.settings,
            extractor=measurement.extractor,
        )


def evidence_file(evidence: Evidence, figures_json: bytes) -> bytes:
    """Return the content of ``pictures.parquet`` that belongs to the content of ``figures.json``."""
    directions = evidence.features.numpy().astype(np.float16)
    columns: dict[str, Any] = {
        "asked": list(evidence.asked),
        "caption": list(evidence.captions),
        "made": [_webp(picture) for picture in evidence.made],
        "real": [_webp(picture) for picture in evidence.real],
        "features": pa.FixedSizeListArray.from_arrays(pa.array(directions.reshape(-1)), directions.shape[1]),
    }
    columns |= {f"value.{value.name}": value.values.double().numpy() for value in evidence.values}
    told = {
        "figures_sha256": hashlib.sha256(figures_json).hexdigest(),
        "values": [_told(value) for value in evidence.values],
        "jackknife": {
            name: {"value": estimate.value, "left_out": {key: each.tolist() for key, each in estimate.left_out.items()}}
            for name, estimate in evidence.estimates.items()
        },
    }
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(told).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_evidence(folder: Path, title: str) -> Evidence:
    """Read an evaluation's folder; ``title`` is what the comparison calls it.

    Raises EvaluationError when it holds no evaluation, one without pictures, or files that are broken or of two runs.
    """
    figures_json = _content(folder / FIGURES_FILE, "no evaluation", "atelier evaluate writes one")
    _content(folder / PICTURES_FILE, f"the evaluation at {folder} keeps no pictures", "evaluate again, then compare")
    try:
        document = json.loads(figures_json)
        table = pq.read_table(folder / PICTURES_FILE)
        told = json.loads(table.schema.metadata[_METADATA])
        same_run = told["figures_sha256"] == hashlib.sha256(figures_json).hexdigest()
        evidence = _evidence(title, document, table, told)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        told_error = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EvaluationError(f"the evaluation at {folder} cannot be read ({told_error}): evaluate again") from error
    if not same_run:
        raise EvaluationError(f"figures.json and pictures.parquet at {folder} are of two evaluations: evaluate again")
    return evidence


def _evidence(title: str, document: Mapping[str, Any], table: pa.Table, told: Mapping[str, Any]) -> Evidence:
    column = {name: table.column(name).to_pylist() for name in ("asked", "caption", "made", "real")}
    features = np.asarray(table.column("features").combine_chunks().flatten(), dtype=np.float32)
    estimates = {
        name: Estimate(
            float(entry["value"]),
            {key: torch.tensor(each, dtype=torch.float64) for key, each in entry["left_out"].items()},
        )
        for name, entry in told["jackknife"].items()
    }
    return Evidence(
        title=title,
        digest=str(document["model"]["digest"]),
        suite=str(document["suite"]),
        figures=tuple(Figure(**entry) for entry in document["figures"]),
        asked=tuple(column["asked"]),
        captions=tuple(column["caption"]),
        made=_pictures(column["made"]),
        real=_pictures(column["real"]),
        features=torch.from_numpy(features.reshape(len(table), -1)).double(),
        values=tuple(_value(entry, table) for entry in told["values"]),
        estimates=estimates,
        settings=dict(document["pictures"]["settings"]),
        extractor=str(document["pictures"]["extractor"]),
    )


def _told(value: PerPicture) -> dict[str, str]:
    return {
        "name": value.name,
        "title": value.title,
        "identity": value.identity,
        "better": value.better,
        "unit": value.unit,
    }


def _value(entry: Mapping[str, Any], table: pa.Table) -> PerPicture:
    values = table.column(f"value.{entry['name']}").to_numpy().astype(np.float64)  # a copy that may be written to
    return PerPicture(values=torch.from_numpy(values), **entry)


def _webp(picture_3HW: Tensor) -> bytes:
    buffer = io.BytesIO()
    to_image(picture_3HW).save(buffer, format="WEBP", lossless=True, method=2)
    return buffer.getvalue()


def _pictures(files: Sequence[bytes]) -> Tensor:
    return to_tensor([Image.open(io.BytesIO(content)) for content in files])


def _content(file: Path, lacking: str, right: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise EvaluationError(f"{lacking}: nothing at {file}; {right}") from None
