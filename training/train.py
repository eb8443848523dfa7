"""``atelier train experiment=NAME``: trains the multi-task backbone and exports it as a diffusers folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from atelier import CONF_FOLDER
from data.dataset import Dataset, open_dataset
from data.ledger import check_ledger
from data.order import SampleOrder
from data.unrevoked import UnrevokedOrder
from registry.artifacts import digest_folder, read_card
from registry.register import register_model
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import APPEARANCE_WIDTH
from synthesis.tasks import TASKS
from synthesis.text import TextEncoder
from training.average import ExponentialAverage
from training.balance import balanced
from training.corpus import load_corpus
from training.errors import TrainingError
from training.export import attribution, dataset_entry, export_backbone, now
from training.learner import Learner, example_maker, style_rows, styles_of
from training.limits import check_run
from training.lists import RunLists
from training.loaders import RowLoaders
from training.pretrained import PretrainedLearner
from training.run import code_commit, fit, make_trainer, resolved
from training.steps import DiffusionTraining, ExampleMaker, Examples
from training.sweep import job_folder
from training.terms import Objective, check_own_sizes, own_terms

# What a network may have more of than the one that it starts from.
GROWN = frozenset({"dropout", "larger", "reference_depth"})


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="train")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    config.out = job_folder(config.out)
    OmegaConf.resolve(config)
    train(config)


def train(config: DictConfig) -> Path:
    """Build the run from its settings, fit, export; return the backbone's folder."""
    begin = time.monotonic()
    check_run(config)
    lightning.seed_everything(config.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    dataset = open_dataset(Path(config.dataset.folder))
    learner = learner_of(config, dataset)
    folder = Path(config.out)
    lists = RunLists(folder, dataset, recipe="balanced", seed=config.seed, colour_share=config.dataset.colour_share)
    train_rows, heldout_rows = lists.at_start().rows(split="train"), heldout(dataset)
    average: ExponentialAverage = instantiate(config.average)
    trainer = make_trainer(config, folder, average)
    module = DiffusionTraining(
        learner.network,
        maker=partial(learner.examples, train_rows, augmented=True),
        heldout=partial(learner.examples, heldout_rows, augmented=False) if heldout_rows else None,
        objective=learner.objective,
        optimizer=instantiate(config.optimizer),
        max_steps=config.max_steps,
        seed=config.seed,
        compiled=config.compile,
        sizes=instantiate(config.sizes),
    )
    order = SampleOrder(balanced(dataset, train_rows, config.dataset.colour_share), seed=config.seed)
    loaders = RowLoaders(
        UnrevokedOrder(order, dataset, train_rows, on_change=partial(lists.apply, trainer, module)),
        batch_pictures=config.dataset.batch_pictures,
        heldout_rows=len(heldout_rows),
        heldout_pictures=config.dataset.heldout_pictures,
        planned=order,
        ledger=folder / "ledger",
        ahead=module.look_ahead,
    )
    fit(trainer, module, loaders, folder)
    weights = average.whole()  # by every rank: each may hold a shard
    if trainer.is_global_zero:
        drawn, earlier = loaders.position, learner.earlier
        seen = drawn + (earlier["images_seen"] if earlier else 0)
        entry = dataset_entry(dataset, len(train_rows), seen, lists.end(order, drawn))
        card = backbone_card(config, entry, seen, time.monotonic() - begin, trainer)
        card |= {"initial": earlier} if earlier else {}
        learner.export(weights, folder / "backbone", card, attribution(dataset))
        for epoch in check_ledger(folder / "ledger")[-1:]:
            print(f"ledger: {epoch}")
        print(f"backbone: {folder / 'backbone'} ({seen:,} pictures seen)")
        if config.register:
            version = register_model(folder / "backbone", "backbone", store=instantiate(config.registry).store)
            print(f"registered as models:/backbone/{version}")
    return folder / "backbone"


def learner_of(config: DictConfig, dataset: Dataset) -> Learner:
    """A pretrained network where ``backbone`` names a folder, else one of the project's own."""
    return PretrainedLearner(config, dataset) if "folder" in config.backbone else OwnLearner(config, dataset)


class OwnLearner:
    """The project's own network, fresh or grown from ``initial``; ``training.learner.Learner`` says what for."""

    def __init__(self, config: DictConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset
        self.network = new_network(config.backbone, styles_of(dataset))
        self.earlier = start_from(self.network, Path(config.initial)) if config.initial else None
        self.objective = own_objective(config)

    def examples(self, rows: list[int], device: torch.device, *, augmented: bool) -> Examples:
        """Bring pictures and the features of their captions to a device."""
        side_px = int(self.network.config.native_px)
        styles = styles_of(self._dataset)
        return resident(self._config, self._dataset, styles, rows, device, augmented=augmented, side_px=side_px)

    def export(self, weights: Mapping[str, Tensor], folder: Path, card: Mapping[str, Any], attribution: str) -> None:
        """Write a folder of ``MultiTaskPipeline``."""
        told = dict(card) | {"summary": summary(self._config)}
        export_backbone(self.network.config, weights, folder, told, attribution)


def own_objective(config: DictConfig) -> Objective:
    """The settings' objective, if it is one for the project's own network."""
    check_own_sizes(instantiate(config.sizes))
    return own_terms(instantiate(config.objective))


def new_network(sizes: DictConfig, styles: tuple[str, ...]) -> MultiTaskTransformer:
    """Make the network that ``sizes`` describe, or say which of them does not fit."""
    told: dict[str, Any] = {str(name): value for name, value in sizes.items()}
    told["larger"] = tuple(tuple(pair) for pair in told.get("larger") or ())
    try:
        network: MultiTaskTransformer = MultiTaskTransformer(
            styles=styles, tasks=tuple(TASKS), appearance_width=APPEARANCE_WIDTH, **told
        )
    except (TypeError, ValueError) as error:
        raise TrainingError(f"backbone: {str(error).removeprefix('MultiTaskTransformer.__init__() ')}") from error
    return network


def start_from(network: MultiTaskTransformer, folder: Path) -> dict[str, Any]:
    """Load the weights of an earlier backbone; return its digest, folder and pictures seen.

    What the earlier one did not have (further tasks, sizes, a reference) starts as in a fresh network.
    """
    if not (folder / "transformer" / "config.json").is_file():
        raise TrainingError(f"initial={folder} is not a backbone: name a folder that atelier train wrote")
    card = read_card(folder)
    if "pretrained" in card:
        raise TrainingError(
            f"initial={folder} is a pretrained model: pass backbone=pretrained backbone.folder={folder}"
        )
    earlier = MultiTaskTransformer.from_pretrained(str(folder / "transformer"), dtype=torch.float32)
    for name, value in network.config.items():
        before = earlier.config.get(name)
        if name == "tasks" and list(value)[: len(before)] == list(before):
            continue
        if not name.startswith("_") and name not in GROWN and list_or_self(before) != list_or_self(value):
            raise TrainingError(f"initial={folder}: its {name} is {before}, this run's is {value}")
    grow(network, earlier.state_dict())
    seen = int(card["run"]["images_seen"])
    return {"digest": digest_folder(folder), "source": str(folder), "images_seen": seen}


def grow(network: MultiTaskTransformer, earlier: dict[str, Tensor]) -> None:
    """Copy what an earlier, perhaps smaller, network knows; rows of tasks that it did not have keep their start."""
    weights = network.state_dict()
    for name, weight in earlier.items():
        if name == "embed_task.weight":
            weights[name][: len(weight)] = weight
        else:
            weights[name] = weight
    network.load_state_dict(weights)


def list_or_self(value: Any) -> Any:
    """Tuples become lists in a saved configuration."""
    return list(value) if isinstance(value, tuple) else value


def heldout(dataset: Dataset) -> list[int]:
    """Rows that no training sees: held-out pairs and held-out subjects, coloured ones, in a fixed shuffle."""
    rows = [*dataset.rows(split="heldout_pair"), *dataset.rows(split="heldout_subject")]
    coloured = [row for row in rows if not dataset.records[row].monochrome]
    return sorted(coloured, key=lambda row: dataset.records[row].sha256)


def resident(
    config: DictConfig,
    dataset: Dataset,
    styles: tuple[str, ...],
    rows: list[int],
    device: torch.device,
    *,
    augmented: bool,
    side_px: int,
) -> ExampleMaker:
    """Bring rows of a dataset to a device as examples in the making, usually of ``side_px``."""
    encoder = TextEncoder(config.text_encoder, longest_tokens=config.dataset.caption_tokens).to(device)
    numbers = style_rows(dataset, rows, styles)
    corpus = load_corpus(dataset, rows, numbers, encoder, resident=config.dataset.resident).to(device)
    return example_maker(config, dataset, corpus, augmented=augmented, side_px=side_px)


def backbone_card(
    config: DictConfig, entry: dict[str, Any], seen: int, seconds: float, trainer: lightning.Trainer
) -> dict[str, Any]:
    """What the artifact says of itself, but for its summary."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "kind": "backbone",
        "name": config.name,
        "datasets": [entry],
        "licence": "Apache-2.0",
        "obligations": ["Keep the attributions of the training drawings (ATTRIBUTION.md) with the weights."],
        "seed": config.seed,
        "code_commit": code_commit(config.code_commit),
        "config": resolved(config),
        "run": {"images_seen": seen, "seconds": round(seconds, 1), "hardware": f"{trainer.world_size} x {device}"},
        "created": now(),
    }


def summary(config: DictConfig) -> str:
    """One sentence for the card: what is drawn, how large, and which tasks were learnt."""
    sides = ", ".join(str(px) for px in sorted(int(px) for px, share in config.sizes.shares.items() if share))
    tasks = ", ".join(name.replace("_", " ") for name, share in config.tasks.shares.items() if share)
    return f"A multi-task network that draws icons, emoji and illustrations of {sides} px: {tasks}."


if __name__ == "__main__":
    main()
