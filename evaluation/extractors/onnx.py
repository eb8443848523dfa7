"""Any ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors.network import NetworkExtractor
from evaluation.extractors.preprocessing import Preprocessing
from evaluation.extractors.weights import first_line, weights_sha256

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def onnx(
    path: str | Path,
    *,
    input_px: int,
    name: str | None = None,
    family: str = "other",
    sha256: str | None = None,
    resize: str = "bicubic-antialias",
    resize_px: int | None = None,
    normalisation: str | Sequence[Sequence[float]] = "imagenet",
    output: str | None = None,
    device: str = "cpu",
) -> NetworkExtractor:
    """Load an ONNX file that gives [B,D] for [B,3,input_px,input_px].

    Args:
        family: what its features are known as.
        sha256: refuse any other file.
        output: the output to take; None: the only one.

    Raises EvaluationError when the file is missing, another one, or no such network, or onnxruntime has not the device.
    """
    file = Path(path)
    digest = weights_sha256([file], sha256)
    session = _session(file, device)
    names = [one.name for one in session.get_outputs()]
    taken = names[0] if output is None and len(names) == 1 else str(output)
    if taken not in names:
        raise EvaluationError(f"{file} has the outputs {', '.join(names)}: pass extractor.output=NAME, one of them")
    return NetworkExtractor(
        _Forward(session, taken),
        name=name or file.stem,
        family=family,
        digest=digest,
        preprocessing=Preprocessing(input_px=input_px, resize=resize, resize_px=resize_px, normalisation=normalisation),
        device=device,
    )


class _Forward:
    """Calls a session; a graph that takes one picture at a time is given one at a time."""

    def __init__(self, session: Any, output: str) -> None:
        self._session = session
        self._output = output
        self._input = session.get_inputs()[0]

    def __call__(self, values_B3hw: Tensor) -> Tensor:
        batch = self._input.shape[0]
        parts = values_B3hw.split(batch) if isinstance(batch, int) else (values_B3hw,)
        return torch.cat([self._one(part) for part in parts])

    def _one(self, values_B3hw: Tensor) -> Tensor:
        fed = {self._input.name: values_B3hw.contiguous().cpu().numpy()}
        return torch.from_numpy(self._session.run([self._output], fed)[0])


def _session(file: Path, device: str) -> Any:
    import onnxruntime

    kind = torch.device(device).type
    provider = PROVIDERS.get(kind)
    if provider not in onnxruntime.get_available_providers():
        raise EvaluationError(f"onnxruntime has no {kind} here: pass extractor.device=cpu, or install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, and told in one line
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no base but this
        raise EvaluationError(f"{file} is no ONNX file that loads: {first_line(error)}") from error
