"""``atelier onboard brand=NAME images=DIR``: 10 to 100 pictures of a brand become a registered LoRA adapter."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from atelier import CONF_FOLDER, PROJECT_ROOT
from data.brand import brand_dataset
from data.dataset import Dataset
from data.settings import made
from registry.artifacts import read_card, write_card
from registry.register import register_model
from registry.resolve import ResolvedModel, resolve_model
from registry.settings import RegistrySettings
from training.brand import train_adapter
from training.errors import TrainingError
from training.export import attribution, dataset_entry, model_card, now, written_whole
from training.kit import BrandKit, read_kit
from training.progress import counted
from training.run import code_commit, resolved

FEWEST_PICTURES, MOST_PICTURES = 10, 100
_BRAND_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="onboard")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    for key, example in (("brand", "brand=NAME"), ("images", "images=DIR")):
        if OmegaConf.is_missing(config, key):
            raise TrainingError(f"{key} is missing: pass {example}")
    check_whole(config)  # what a sharding strategy asks of a backbone's settings is not there to be resolved
    OmegaConf.resolve(config)
    onboard(config)


def check_whole(config: DictConfig) -> None:
    """Refuse strategies that shard: an adapter is learnt whole.  Raises TrainingError."""
    strategy = OmegaConf.to_container(config.trainer, resolve=False)["strategy"]  # type: ignore[call-overload, index]
    target = str(strategy["_target_"] if isinstance(strategy, dict) else strategy)
    if target.startswith(("training.strategies.", "deepspeed", "fsdp")):
        raise TrainingError(
            "an adapter is too small to be sharded: leave trainer= out for one device, or pass trainer=ddp for several"
        )


def onboard(config: DictConfig) -> Path:
    """Check the pictures, train, write and register the adapter; return its folder."""
    begin = time.monotonic()
    brand = checked_brand(str(config.brand))
    kit = read_kit(Path(config.kit) if config.kit else None, brand)
    registry: RegistrySettings = instantiate(config.registry)
    base = find_backbone(config.base, registry)
    folder = Path(config.out) / brand
    dataset = brand_pictures(config, brand, folder)
    adapter = folder / "adapter"
    fingerprint = fingerprint_of(config, kit, base, dataset)
    if made_before(adapter, fingerprint):
        print(f"adapter {adapter} was made from the same drawings, backbone and settings: kept")
    else:
        lightning.seed_everything(config.seed, verbose=False)
        branded, seen, order = train_adapter(config, base.folder, dataset, folder / "runs" / fingerprint[:12])
        entry = dataset_entry(dataset, len(dataset.rows()), seen, order)
        card = adapter_card(config, kit, base, dataset, entry, time.monotonic() - begin, fingerprint)
        write_adapter(branded, adapter, card, attribution(dataset), kit)
        print(f"adapter: {adapter} ({seen:,} pictures seen in {time.monotonic() - begin:.0f} s)")
    base_version = register_model(base.folder, "backbone", store=registry.store)
    version = register_model(adapter, f"brand-{brand}", store=registry.store)
    print(f"registered as models:/brand-{brand}/{version} on models:/backbone/{base_version}")
    return adapter


def checked_brand(name: str) -> str:
    """Return the name, or say how a brand may be called."""
    if not _BRAND_NAME.fullmatch(name):
        raise TrainingError(f"brand '{name}': use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit")
    return name


def find_backbone(reference: str | None, registry: RegistrySettings) -> ResolvedModel:
    """The named backbone; else the champion; else the one that ships."""
    if reference:
        found = resolve_model(reference, registry.store)
    elif registry.store.exists() and registry.store.alias_version("backbone", "champion") is not None:
        found = resolve_model("models:/backbone@champion", registry.store)
    else:
        found = resolve_model(PROJECT_ROOT / "assets" / "backbone", registry.store)
    if found.card["kind"] != "backbone":
        raise TrainingError(f"{reference} is an {found.card['kind']}: a brand needs a backbone; pass base=MODEL")
    if "pretrained" in found.card:
        raise TrainingError(
            f"{reference or found.reference} is made from {found.card['pretrained']['name']}: a brand is learnt on the"
            " project's own backbones; pass base=MODEL of one"
        )
    return found


def brand_pictures(config: DictConfig, brand: str, folder: Path) -> Dataset:
    """The brand's drawings as a dataset, admitted by the policy; refuses too few and too many."""
    dataset = brand_dataset(
        Path(config.images),
        folder / "pictures",
        policy=made(config.policy),
        licence=config.licence,
        name=brand,
        progress=counted("reading drawings"),
    )
    count, revoked = len(dataset.rows()), int(dataset.revoked.sum())
    if revoked:
        print(f"{revoked} pictures of {config.images} are revoked and left out: atelier revoke lists why")
    if not FEWEST_PICTURES <= count <= MOST_PICTURES:
        beside = f" beside {revoked} revoked ones" if revoked else ""
        raise TrainingError(
            f"{config.images} holds {count} pictures{beside}: a brand needs {FEWEST_PICTURES} to {MOST_PICTURES}"
        )
    return dataset


def fingerprint_of(config: DictConfig, kit: BrandKit, base: ResolvedModel, dataset: Dataset) -> str:
    """Digest of everything that decides what the adapter becomes."""
    settings = {
        key: value for key, value in resolved(config).items() if key not in ("out", "registry", "logger", "kit")
    }
    parts: dict[str, Any] = {
        "settings": settings,
        "base": base.digest,
        "kit": kit.to_card(),
        "dataset": dataset.card.version,
        "code": _code_digest(),
    }
    if dataset.revoked.any():
        parts["learnt"] = dataset.rows()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _code_digest() -> str:
    packages = ("training", "synthesis", "data")
    files = sorted(file for package in packages for file in (PROJECT_ROOT / package).glob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def made_before(adapter: Path, fingerprint: str) -> bool:
    """Whether the folder holds a whole adapter of the same fingerprint."""
    return (adapter / "atelier.json").is_file() and read_card(adapter).get("fingerprint") == fingerprint


def adapter_card(
    config: DictConfig,
    kit: BrandKit,
    base: ResolvedModel,
    dataset: Dataset,
    entry: dict[str, Any],
    seconds: float,
    fingerprint: str,
) -> dict[str, Any]:
    """What the adapter says of itself: its base by digest, its drawings, and what using it obliges to."""
    licences = sorted(dataset.card.licences)
    shared_alike = [licence for licence in licences if "-SA-" in licence]
    obligations = ["Name the creators of the drawings that it learnt (ATTRIBUTION.md)."]
    obligations += [f"Share pictures drawn with it under {licence}." for licence in shared_alike]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "kind": "adapter",
        "name": f"brand-{config.brand}",
        "brand": config.brand,
        "kit": kit.to_card(),
        "summary": f"Draws anything that the backbone draws in the style of {kit.title}.",
        "base": {"name": base.card["name"], "digest": base.digest, "source": _source_of(base)},
        "datasets": [entry],
        "licence": shared_alike[0] if shared_alike else licences[0] if len(licences) == 1 else " AND ".join(licences),
        "obligations": obligations,
        "seed": config.seed,
        "code_commit": code_commit(),
        "config": resolved(config),
        "fingerprint": fingerprint,
        "run": {"images_seen": entry["exposure_pictures"], "seconds": round(seconds, 1), "hardware": device},
        "created": now(),
    }


def _source_of(base: ResolvedModel) -> str:
    if base.name is not None:
        return f"models:/{base.name}/{base.version}"
    folder = base.folder.resolve()
    return str(folder.relative_to(PROJECT_ROOT) if folder.is_relative_to(PROJECT_ROOT) else folder)


def write_adapter(branded: Any, folder: Path, card: dict[str, Any], attributions: str, kit: BrandKit) -> None:
    """Save the adapter in peft's layout with card, attributions and the kit's logo, whole or not at all."""
    with written_whole(folder) as building:
        branded.save_pretrained(str(building))
        write_card(building, card)
        (building / "README.md").write_text(model_card(card))
        (building / "ATTRIBUTION.md").write_text(attributions)
        kit.write_logo(building)
