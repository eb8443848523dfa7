"""``atelier distil teacher=FOLDER``: teaches a backbone's copy to draw in a few steps without guidance."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Generator, Tensor

from atelier import CONF_FOLDER
from data.dataset import Dataset, open_dataset
from data.ledger import check_ledger
from data.order import SampleOrder
from data.unrevoked import UnrevokedOrder
from registry.artifacts import digest_folder, read_card
from registry.register import register_model
from synthesis.backbone import MultiTaskTransformer
from synthesis.condition import Condition
from synthesis.objective import velocity_loss
from synthesis.tasks import TASKS
from training.average import ExponentialAverage
from training.balance import balanced
from training.errors import TrainingError
from training.export import attribution, dataset_entry, export_backbone
from training.limits import check_run
from training.lists import RunLists
from training.loaders import RowLoaders
from training.run import fit, make_trainer
from training.steps import DiffusionTraining, Example
from training.strategies import compile_network
from training.terms import Objective, check_own_sizes
from training.train import backbone_card, heldout, resident
from training.trajectory import Distillation, lessons


class DistillationTraining(DiffusionTraining):
    """The same step around another loss; the teacher is no part of the module, so no checkpoint carries it."""

    def __init__(
        self, network: MultiTaskTransformer, teacher: MultiTaskTransformer, settings: Distillation, **run: Any
    ) -> None:
        super().__init__(network, objective=Objective(), **run)
        self._teacher = [teacher.eval().requires_grad_(False)]  # in a list: Lightning would register a module
        self.settings = settings

    def configure_model(self) -> None:
        """Compile the teacher beside the student: each batch's shape once, for each size that is learnt."""
        if self.compiled:
            torch._dynamo.config.recompile_limit = 64
            compile_network(self._teacher[0], sharded=False, on_gpu=self.on_gpu)
        super().configure_model()

    def setup(self, stage: str) -> None:
        """Bring the teacher to the device, with the corpus."""
        self._teacher[0].to(self.device)
        super().setup(stage)

    def _loss(self, example: Example, t: Tensor, generator: Generator) -> Tensor:
        """Mean over segments of the squared error to the teacher's step [B], as velocities; ``t`` has no part in it."""
        drawn = (example.clean, example.condition)
        learnt = lessons(
            self.settings, self._denoiser(self._teacher[0]), self._denoiser(self.network), drawn, generator
        )
        # Autocast would keep the student's halved weights from the look without gradients, and learn nothing.
        torch.clear_autocast_cache()
        estimate = self.network(learnt.start, learnt.t, **learnt.condition.tensors())
        loss_SB = velocity_loss(estimate, learnt.target, learnt.t).unflatten(0, (-1, len(example.clean)))
        return loss_SB.mean(0)  # type: ignore[no-any-return]

    @staticmethod
    def _denoiser(network: Any) -> Any:
        def denoise(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
            return network(x, t, **condition.tensors()).float()  # type: ignore[no-any-return]

        return denoise


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="distil")
def main(config: DictConfig) -> None:
    """Hydra's entry point."""
    OmegaConf.resolve(config)
    distil(config)


def distil(config: DictConfig) -> Path:
    """Build the run from its settings, fit, export; return the student's folder."""
    begin = time.monotonic()
    check_run(config)
    check_own_sizes(instantiate(config.sizes))
    lightning.seed_everything(config.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    settings: Distillation = instantiate(config.distillation)
    teacher, told = read_teacher(Path(config.teacher))
    network = MultiTaskTransformer.from_config(teacher.config)
    network.load_state_dict(teacher.state_dict())
    dataset, folder = open_dataset(Path(config.dataset.folder)), Path(config.out)
    styles = tuple(teacher.config.styles)
    check_fits(config, teacher, dataset)
    lists = RunLists(folder, dataset, recipe="balanced", seed=config.seed, colour_share=config.dataset.colour_share)
    train_rows, heldout_rows = lists.at_start().rows(split="train"), heldout(dataset)
    average: ExponentialAverage = instantiate(config.average)
    trainer = make_trainer(config, folder, average)
    made = partial(resident, config, dataset, styles, side_px=teacher.config.native_px)
    module = DistillationTraining(
        network,
        teacher,
        settings,
        maker=partial(made, train_rows, augmented=True),
        heldout=partial(made, heldout_rows, augmented=False) if heldout_rows else None,
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
        drawn = loaders.position
        seen = drawn + told["images_seen"]
        entry = dataset_entry(dataset, len(train_rows), seen, lists.end(order, drawn))
        card = backbone_card(config, entry, seen, time.monotonic() - begin, trainer)
        card |= {"summary": summary(settings), "initial": told, "teacher": told, "drawing": drawing(settings)}
        steps = settings.num_inference_steps
        export_backbone(network.config, weights, folder / "backbone", card, attribution(dataset), few_steps=steps)
        for epoch in check_ledger(folder / "ledger")[-1:]:
            print(f"ledger: {epoch}")
        print(
            f"student: {folder / 'backbone'} ({drawn:,} pictures seen, draws in {settings.num_inference_steps} steps)"
        )
        if config.register:
            version = register_model(folder / "backbone", "backbone", store=instantiate(config.registry).store)
            print(f"registered as models:/backbone/{version}")
    return folder / "backbone"


def read_teacher(folder: Path) -> tuple[MultiTaskTransformer, dict[str, Any]]:
    """Load the teacher in full precision; return it with its digest, folder and pictures seen."""
    if not (folder / "transformer" / "config.json").is_file():
        raise TrainingError(f"teacher={folder} is not a backbone: name a folder that atelier train wrote")
    card = read_card(folder)
    if "pretrained" in card:
        raise TrainingError(f"teacher={folder} is made from {card['pretrained']['name']}: name a backbone of ours")
    if "teacher" in card:
        raise TrainingError(f"teacher={folder} was distilled itself: name the backbone that it learnt from")
    teacher: MultiTaskTransformer = MultiTaskTransformer.from_pretrained(
        str(folder / "transformer"), dtype=torch.float32
    )
    told = {"digest": digest_folder(folder), "source": str(folder), "images_seen": int(card["run"]["images_seen"])}
    return teacher, told


def check_fits(config: DictConfig, teacher: MultiTaskTransformer, dataset: Dataset) -> None:
    """Refuse tasks, sizes and styles that the teacher does not know.

    Raises:
        TrainingError: names them, and what the teacher knows.
    """
    known: dict[str, list[Any]] = {
        "tasks.shares": [name for name in TASKS if name in teacher.config.tasks],
        "sizes.shares": list(teacher.sizes),
        "dataset.folder": list(teacher.config.styles),
    }
    asked: dict[str, list[Any]] = {
        "tasks.shares": [name for name, share in config.tasks.shares.items() if share],
        "sizes.shares": [px for px, share in config.sizes.shares.items() if share],
        "dataset.folder": sorted({record.style for record in dataset.records}),
    }
    for name, wanted in asked.items():
        if unknown := [str(one) for one in wanted if one not in known[name]]:
            raise TrainingError(
                f"{name}: the teacher {config.teacher} does not know {', '.join(unknown)}; it knows"
                f" {', '.join(map(str, known[name]))}"
            )


def summary(settings: Distillation) -> str:
    """One sentence for the card."""
    return (
        f"A multi-task transformer that draws icons, emoji and illustrations in {settings.num_inference_steps} steps"
        f" without guidance: distilled from {settings.num_inference_steps * settings.teacher_substeps} steps of its"
        f" teacher with guidance {settings.guidance_scale:g}."
    )


def drawing(settings: Distillation) -> dict[str, Any]:
    """How the student draws, and what it imitates."""
    return {
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": 1.0,
        "teacher_steps": settings.num_inference_steps * settings.teacher_substeps,
        "teacher_guidance_scale": settings.guidance_scale,
    }


if __name__ == "__main__":
    main()
