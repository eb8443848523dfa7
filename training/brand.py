"""Trains one brand's adapter on a backbone.

Shapes: B pictures; the backbone stays as it is, the low-rank updates and the brand's style row learn.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from peft import PeftModel
from torch import Tensor

from data.dataset import Dataset
from data.order import SampleOrder
from data.unrevoked import UnrevokedOrder
from synthesis.adapter import attach_adapter
from synthesis.backbone import MultiTaskTransformer
from synthesis.text import TextEncoder
from training.average import ExponentialAverage, learning
from training.corpus import load_corpus
from training.lists import RunLists
from training.loaders import RowLoaders
from training.run import fit, make_trainer
from training.steps import DiffusionTraining, ExampleMaker
from training.terms import own_terms


class AdapterTraining(DiffusionTraining):
    """The same step; its checkpoints hold what learns, never the frozen backbone."""

    strict_loading = False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen weights out: they are the backbone's, by its digest."""
        learnt = {f"network.{name}" for name in learning(self.network)}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in learnt}


def train_adapter(
    config: DictConfig, backbone: Path, dataset: Dataset, folder: Path
) -> tuple[PeftModel, int, dict[str, Any]]:
    """Train and return the network wearing the averaged adapter, how many pictures it saw, and in what order."""
    network = MultiTaskTransformer.from_pretrained(str(backbone / "transformer"), dtype=torch.float32)
    network.requires_grad_(False)
    start_style(network)
    branded = attach_adapter(network, rank=config.rank, alpha=config.alpha)
    lists = RunLists(folder, dataset, recipe="all", seed=config.seed)
    rows = lists.at_start().rows()
    average: ExponentialAverage = instantiate(config.average)
    trainer = make_trainer(config, folder, average)
    module = AdapterTraining(
        branded,
        maker=partial(resident_brand, config, dataset, rows, network),
        heldout=None,
        objective=own_terms(instantiate(config.objective)),
        optimizer=instantiate(config.optimizer),
        max_steps=config.max_steps,
        seed=config.seed,
        compiled=False,
    )
    places = SampleOrder(range(len(rows)), seed=config.seed)
    order = UnrevokedOrder(places, dataset, rows, on_change=partial(lists.apply, trainer, module))
    loaders = RowLoaders(order, batch_pictures=config.batch_pictures, planned=places, ledger=folder / "ledger")
    fit(trainer, module, loaders, folder, batch_setting="batch_pictures")
    average.wear(branded)
    seen = loaders.position
    return branded, seen, lists.end(places, seen)


def start_style(network: MultiTaskTransformer) -> None:
    """A brand starts from the mean of the named styles."""
    with torch.no_grad():
        rows: Tensor = network.embed_style.weight
        rows[network.brand_slot] = rows[1 : network.brand_slot].mean(0)


def resident_brand(
    config: DictConfig, dataset: Dataset, rows: list[int], network: MultiTaskTransformer, device: torch.device
) -> ExampleMaker:
    """Bring a brand's drawings to the device; all of them wear the brand's style row."""
    encoder = TextEncoder(config.text_encoder, longest_tokens=config.caption_tokens).to(device)
    corpus = load_corpus(dataset, rows, [network.brand_slot] * len(rows), encoder).to(device)
    side_px = int(network.config.native_px)
    return ExampleMaker(corpus, instantiate(config.tasks), instantiate(config.augmentation), side_px)
