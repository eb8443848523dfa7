"""``atelier widen source=MODEL out=DIR``: makes a pretrained text-to-image model the start of a multi-task backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import hydra
from diffusers.utils import logging as diffusers_logging
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from transformers.utils import logging as transformers_logging

from atelier import CONF_FOLDER, AtelierError
from registry.artifacts import digest_folder, write_card
from synthesis.latents import Autoencoder
from synthesis.pretrained.families import Family, family_to_widen, open_pipeline
from synthesis.pretrained.widen import widened
from training.errors import TrainingError
from training.export import dtype_named, forget_places, now, written_whole
from training.run import code_commit, resolved
from training.source_licence import SourceLicence, source_licence

# Looked up by name and not in conf/ itself: there, source=FOLDER would choose from the group conf/source of ingestion.
_CONFIGS = ConfigStore.instance()
_CONFIGS.store(name="widen", node=OmegaConf.load(CONF_FOLDER / "widen.yaml"))
for _option in (CONF_FOLDER / "codec").glob("*.yaml"):
    _CONFIGS.store(group="codec", name=_option.stem, node=OmegaConf.load(_option))


@hydra.main(version_base="1.3", config_path=None, config_name="widen")
def main(config: DictConfig) -> None:
    """Read the settings, widen, write, say what was written."""
    source, out = _required(config, "source"), Path(_required(config, "out"))
    dtype = dtype_named("precision", str(config.precision))
    _refuse_overwriting(source, out)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    family = family_to_widen(source, revision=config.revision)
    licence = source_licence(source, config.licence, revision=config.revision)
    codec = _codec(config)
    pipeline = widened(open_pipeline(source, dtype=dtype, revision=licence.revision), family, codec=codec)
    _write(pipeline, out, _card(config, family, licence))
    channels = getattr(pipeline, family.part).config.in_channels
    print(f"widened: {source} ({family.name}), {family.part}.in_channels {channels}, licence {licence.expression}")
    print(f"written: {out}, a diffusers {family.inpainting}")


def _required(config: DictConfig, key: str) -> str:
    if OmegaConf.is_missing(config, key) or config[key] in (None, ""):
        raise TrainingError(f"{key} is missing: pass source=FOLDER_OR_HUB_NAME out=DIR")
    return str(config[key])


def _refuse_overwriting(source: str, out: Path) -> None:
    """Only what this command wrote may be replaced, and never the source."""
    if not out.exists():
        return
    if Path(source).exists() and out.resolve() == Path(source).resolve():
        raise TrainingError(f"out is the source, {source}: give another folder")
    ours = out / "atelier.json"
    if not (ours.is_file() and "pretrained" in json.loads(ours.read_text())):
        raise TrainingError(f"{out} is there already and not from atelier widen: give a new folder")


def _codec(config: DictConfig) -> Autoencoder | None:
    """The codec of the group, None for the source's own; what it refuses is told in its own words."""
    if not config.get("codec"):
        return None
    if OmegaConf.is_missing(config.codec, "source"):
        raise TrainingError(f"codec.source is missing: pass codec={config.codec.kind} codec.source=FOLDER_OR_HUB_NAME")
    try:
        codec: Autoencoder = instantiate(config.codec)
    except InstantiationException as error:
        if isinstance(error.__cause__, AtelierError):
            raise error.__cause__ from None
        raise
    return codec


def _card(config: DictConfig, family: Family, licence: SourceLicence) -> dict[str, Any]:
    source = str(config.source)
    local = Path(source).is_dir()
    called = Path(source).resolve().name if local else source
    origin = {"digest": digest_folder(Path(source))} if local else {"revision": licence.revision}
    return {
        "kind": "backbone",
        "name": str(config.name),
        "summary": (
            f"{called} ({family.name}) with input channels for a source picture and a "
            "mask, all zero: untrained, it draws what the original draws."
        ),
        "licence": licence.expression,
        "obligations": [f"Keep to the licence of {called}, {licence.named}: this model is made from it."],
        "pretrained": {
            "name": called,
            "source": source,
            "family": family.name,
            "pipeline": family.inpainting,
            **origin,
        },
        "datasets": [],
        "seed": 0,
        "code_commit": code_commit(),
        "config": resolved(config),
        "run": {"images_seen": 0, "seconds": 0.0, "hardware": "none"},
        "created": now(),
        "diffusers": diffusers.__version__,
    }


def _write(pipeline: Any, out: Path, card: dict[str, Any]) -> None:
    with written_whole(out) as building:
        pipeline.save_pretrained(str(building), safe_serialization=True)
        forget_places(building)
        write_card(building, card)
        (building / "README.md").write_text(_readme(card))


def _readme(card: dict[str, Any]) -> str:
    told = card["pretrained"]
    licence = card["licence"].lower()
    head = f"---\nlicense: {licence}\nlibrary_name: diffusers\npipeline_tag: text-to-image\n---\n"
    lines = [head, f"# {card['name']}", "", card["summary"], "", "## Made from", "", f"- {told['name']}", ""]
    lines += ["## Obligations", "", *(f"- {obligation}" for obligation in card["obligations"]), ""]
    lines += ["## Made by", "", f"`atelier widen`, code {card['code_commit'][:12]}, {card['created']}. No training."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
