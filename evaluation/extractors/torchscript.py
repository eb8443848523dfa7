"""Any TorchScript file: SSCD, the Inception of StyleGAN and clean-fid, or a network of your own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors.inception import family_of
from evaluation.extractors.network import NetworkExtractor
from evaluation.extractors.preprocessing import Preprocessing
from evaluation.extractors.weights import first_line, weights_sha256


def torchscript(
    path: str | Path,
    *,
    input_px: int,
    name: str | None = None,
    family: str = "other",
    sha256: str | None = None,
    resize: str = "bicubic-antialias",
    resize_px: int | None = None,
    normalisation: str | Sequence[Sequence[float]] = "imagenet",
    arguments: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> NetworkExtractor:
    """Load a TorchScript file that gives [B,D] for [B,3,input_px,input_px].

    Args:
        family: what its features are known as; a published Inception for FID is known by its digest.
        sha256: refuse any other file.
        arguments: passed to the network beside the pictures, by name.

    Raises EvaluationError when the file is missing, another one, or no such network.
    """
    file = Path(path)
    digest = weights_sha256([file], sha256)
    network = _loaded(file, torch.device(device))
    told = dict(arguments or {})

    def forward(values_B3hw: Tensor) -> Tensor:
        return network(values_B3hw, **told)  # type: ignore[no-any-return]

    return NetworkExtractor(
        forward,
        name=name or file.stem,
        family=family_of(digest, family),
        digest=digest,
        preprocessing=Preprocessing(input_px=input_px, resize=resize, resize_px=resize_px, normalisation=normalisation),
        device=device,
    )


def _loaded(file: Path, device: torch.device) -> Any:
    try:
        with warnings.catch_warnings():
            # torch would have files in another format; the published ones are in this.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated.*", category=DeprecationWarning)
            return torch.jit.load(str(file), map_location=device).eval()
    except (RuntimeError, ValueError, AssertionError) as error:
        raise EvaluationError(f"{file} is no TorchScript file that loads: {first_line(error)}") from error
