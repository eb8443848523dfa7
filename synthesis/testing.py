"""Tiny random models, made on the spot: the same classes and files as the real ones, for tests of what uses them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from synthesis.adapter import attach_adapter
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import APPEARANCE_WIDTH
from synthesis.pipeline import MultiTaskPipeline
from synthesis.tasks import TASKS


def make_tiny_pipeline(
    folder: Path,
    *,
    seed: int = 0,
    styles: tuple[str, ...] = ("noto", "twemoji"),
    tasks: tuple[str, ...] | None = None,
    larger: tuple[tuple[int, int], ...] = (),
) -> Path:
    """Write a random backbone of 0.1 M parameters in diffusers layout, with its card; return the folder.

    ``larger`` lists further sizes as (px, patch_px).
    """
    torch.manual_seed(seed)
    network = MultiTaskTransformer(
        styles=styles,
        tasks=tuple(TASKS) if tasks is None else tasks,
        width=32,
        depth=1,
        head_width=16,
        mlp_width=32,
        appearance_width=APPEARANCE_WIDTH,
        larger=larger,
    )
    with torch.no_grad():
        for leave in (network.final_linear, *(way.leave for way in network.ways.values())):
            leave.weight.normal_(std=0.05)
        network.modulation.weight.normal_(std=0.05)
    MultiTaskPipeline(network, FlowMatchEulerDiscreteScheduler()).save_pretrained(folder)
    _write_card(folder, {"kind": "backbone", "name": "backbone", "licence": "Apache-2.0", "obligations": []})
    return folder


def make_tiny_brand(folder: Path, base: Path, name: str, *, seed: int = 0, base_digest: str = "") -> Path:
    """Write a random adapter for a tiny backbone, with its card; return the folder."""
    torch.manual_seed(seed)
    network = MultiTaskTransformer.from_pretrained(str(base / "transformer"))
    branded = attach_adapter(network, rank=2, alpha=2)
    with torch.no_grad():
        for parameter in branded.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
    branded.save_pretrained(str(folder))
    card = {
        "kind": "adapter",
        "name": f"brand-{name}",
        "brand": name,
        "base": {"name": "backbone", "digest": base_digest, "source": str(base)},
        "licence": "CC-BY-SA-4.0",
        "obligations": ["Name the creators (ATTRIBUTION.md) and share adaptations alike (CC-BY-SA-4.0)."],
    }
    _write_card(folder, card)
    return folder


def _write_card(folder: Path, card: Mapping[str, object]) -> None:
    dataset = {"name": "tiny", "version": "0" * 64, "policy": "commercial", "licences": {"MIT": 1}, "pictures": 1}
    filled = {"datasets": [dataset | {"exposure_pictures": 1, "attribution": []}], "seed": 0, "code_commit": "0" * 40}
    run = {"images_seen": 1, "seconds": 0.0, "hardware": "cpu"}
    text = json.dumps(
        filled | {"config": {}, "run": run, "created": "2026-01-01T00:00:00+00:00"} | dict(card), indent=2
    )
    (folder / "atelier.json").write_text(text + "\n")
