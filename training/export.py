"""Writes what a run made: a folder in diffusers or peft layout with its card, whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from data.dataset import Dataset
from registry.artifacts import write_card
from synthesis.backbone import MultiTaskTransformer
from synthesis.pipeline import MultiTaskPipeline
from synthesis.sampler import few_step_scheduler
from training.errors import TrainingError

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling that replaces ``folder`` when the block ends well and vanishes when it does not."""
    building = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        yield building
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def export_backbone(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    folder: Path,
    card: Mapping[str, Any],
    attribution: str,
    *,
    few_steps: int | None = None,
) -> None:
    """Save a backbone in half precision as a diffusers folder with card, model card text and attributions.

    ``config`` is the network's, ``weights`` all that it learnt, whole.  With ``few_steps`` it is one that was distilled
    for them: it draws in as many, without guidance, unless told else.
    """
    halved = MultiTaskTransformer.from_config(config)
    halved.load_state_dict(weights)
    with written_whole(folder) as building:
        scheduler = FlowMatchEulerDiscreteScheduler() if few_steps is None else few_step_scheduler(few_steps)
        own = {} if few_steps is None else {"num_inference_steps": few_steps, "guidance_scale": 1.0}
        MultiTaskPipeline(halved.to(torch.float16), scheduler, **own).save_pretrained(building)  # type: ignore[arg-type]
        write_card(building, dict(card))
        (building / "README.md").write_text(model_card(card))
        (building / "ATTRIBUTION.md").write_text(attribution)


def dtype_named(setting: str, name: str) -> torch.dtype:
    """The type of weights that a setting names.

    Raises:
        TrainingError: there is none of that name.
    """
    if name not in PRECISIONS:
        raise TrainingError(f"{setting} is {name}: it must be one of {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def export_pretrained(pipeline: Any, folder: Path, card: Mapping[str, Any], attribution: str) -> None:
    """Save a pipeline of diffusers with card, model card text and attributions; nothing in it is of this project."""
    with written_whole(folder) as building:
        pipeline.save_pretrained(str(building), safe_serialization=True)
        forget_places(building)
        write_card(building, dict(card))
        (building / "README.md").write_text(model_card(card))
        (building / "ATTRIBUTION.md").write_text(attribution)


def forget_places(folder: Path) -> None:
    """Take out where the parts were loaded from: it says nothing elsewhere, and equal models get equal digests."""
    for path in folder.rglob("*.json"):
        told = re.sub(r'\n *"(_name_or_path|name_or_path)": "[^"\n]*"(,?)(?=\n)', _comma_alone, path.read_text())
        json.loads(told)
        path.write_text(told)


def _comma_alone(match: re.Match[str]) -> str:
    return "" if match[2] else "\n"


def dataset_entry(
    dataset: Dataset, rows: int, exposure_pictures: int, order: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a card says of a dataset that a run learnt from; ``order`` tells how its rows can be counted again."""
    return {
        "name": dataset.card.name,
        "version": dataset.card.version,
        "policy": dataset.card.policy,
        "licences": dict(dataset.card.licences),
        "pictures": rows,
        "exposure_pictures": exposure_pictures,
        "attribution": sorted(
            {f"{origin.title} by {origin.creator}, {origin.licence}" for origin in dataset.card.sources}
        ),
        **({"order": dict(order)} if order else {}),
    }


def attribution(dataset: Dataset) -> str:
    """The text of the dataset's attribution file."""
    return (dataset.folder / "ATTRIBUTION.md").read_text()


def now() -> str:
    """The time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def model_card(card: Mapping[str, Any]) -> str:
    """A model card after Mitchell et al. 2019 in the hub's form, from what the run recorded."""
    tags = "base_model_relation: adapter\n" if card["kind"] == "adapter" else ""
    head = f"---\nlicense: {card['licence'].lower()}\nlibrary_name: diffusers\npipeline_tag: text-to-image\n{tags}---\n"
    lines = [head, f"# {card['name']}", "", card["summary"], ""]
    if "pretrained" in card:
        lines += ["## Made from", "", f"- {card['pretrained']['name']}, {card['licence']}", ""]
    lines += ["## Learnt from", ""]
    for entry in card["datasets"]:
        licences = ", ".join(f"{name} ({count:,})" for name, count in entry["licences"].items())
        lines += [f"- {entry['name']}, version `{entry['version'][:16]}`, {entry['pictures']:,} drawings: {licences}"]
    lines += ["", "The creators are named in `ATTRIBUTION.md`.", "", "## Obligations", ""]
    lines += [f"- {obligation}" for obligation in card["obligations"]] or ["None beyond the licence."]
    run = card["run"]
    lines += [
        "",
        "## Made by",
        "",
        f"{run['images_seen']:,} pictures seen in {run['seconds']:.0f} s on {run['hardware']}; ",
    ]
    lines[-1] += (
        f"seed {card['seed']}, code {card['code_commit'][:12]}, {card['created']}. All settings: `atelier.json`."
    )
    return "\n".join(lines) + "\n"
