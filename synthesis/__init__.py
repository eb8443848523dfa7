"""The model: tasks, conditioning, backbone, objective, sampler, adapter, pipeline.

``MultiTaskTransformer`` and ``MultiTaskPipeline`` are reachable from here because a saved diffusers folder names its
classes by package; they load when first asked for, so that ``import synthesis.request`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTED = {"MultiTaskTransformer": "synthesis.backbone", "MultiTaskPipeline": "synthesis.pipeline"}


def __getattr__(name: str) -> Any:
    if name in _EXPORTED:
        return getattr(import_module(_EXPORTED[name]), name)
    raise AttributeError(f"module 'synthesis' has no attribute '{name}'")
