"""One training step of any network in any task mix: the Lightning module that backbone and adapter share.

Shapes: B batch, C channels, H W pixels; t [B] in 0..1, 1 is clean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import lightning
import torch
from torch import Generator, Tensor, nn

from data.bank import Augmentation, PictureBank
from data.resident import StreamedLayers
from synthesis.backbone import NO_STYLE, MultiTaskTransformer
from synthesis.condition import REFERENCE_PX, Appearance, Condition, no_reference
from synthesis.tasks import resize, task_named, task_row
from training.average import learning
from training.corpus import Corpus
from training.errors import TrainingError
from training.mix import TaskMix
from training.optimizer import OptimizerSettings, make_optimizer
from training.restyle import restyled
from training.strategies import FullySharded, compile_network, shard
from training.terms import Sizes, Terms

PLAIN = Augmentation(placed_share=0, flip_share=0, hue_share=0, ground_share=0, black_ink_share=0.5)


@dataclass(frozen=True)
class Example:
    """A clean batch with what the network is told of it; ``tasks`` names each picture's slice."""

    clean: Tensor
    condition: Condition
    slices: list[tuple[str, slice]]


class Examples(Protocol):
    """What a step learns from: examples of rows of a corpus, usually of one side."""

    @property
    def corpus(self) -> Corpus: ...
    @property
    def side_px(self) -> int: ...
    def make(self, rows: Tensor, generator: Generator, side_px: int | None = None) -> Example:
        """rows [B] of the corpus -> an example of B pictures of ``side_px`` (the usual one), tasks in fixed slices."""


class ExampleMaker:
    """Makes examples from rows of a corpus, on its device: paint, condition, drop."""

    def __init__(
        self,
        corpus: Corpus,
        mix: TaskMix,
        augmentation: Augmentation,
        side_px: int,
        *,
        reference_px: int = REFERENCE_PX,
    ) -> None:
        """``reference_px`` is the side at which a reference is shown."""
        self.corpus = corpus
        self.mix = mix
        self.augmentation = augmentation
        self.side_px = side_px
        self.reference_px = reference_px

    def make(self, rows: Tensor, generator: Generator, side_px: int | None = None) -> Example:
        """rows [B] of the corpus -> an example of B pictures of ``side_px`` (the usual one), tasks in fixed slices.

        In full precision, whatever the network runs in: affine_grid in bfloat16 moves pixels by a quarter of one.
        """
        with torch.autocast(rows.device.type, enabled=False):
            return self._make(rows, generator, side_px or self.side_px)

    def _make(self, rows: Tensor, generator: Generator, side_px: int) -> Example:
        bank = self.corpus.bank
        placement = bank.place(rows, self.augmentation, generator)
        clean = bank.paint(rows, placement, side_px)
        slices = self.mix.slices(len(rows))
        source, mask = torch.zeros_like(clean), torch.zeros_like(clean[:, :1])
        task = torch.zeros_like(rows)
        reference, known = no_reference(len(rows), rows.device, side_px=self.reference_px)
        for name, part in slices:
            moved = type(placement)(**{key: value[part] for key, value in vars(placement).items()})
            picture = self._shown(name, rows[part], clean[part], moved, generator)
            if collaged := self._collaged(name, part):
                clean[collaged], picture[: collaged.stop - collaged.start] = self._collage(
                    rows[collaged], generator, side_px
                )
            if changed := self._restyled(name, part):
                picture[changed.start - part.start :] = restyled(clean[changed], generator)
            source[part], mask[part] = task_named(name).condition(picture, mask=None, generator=generator)
            if task_named(name).refers:
                known[part] = True
                alone = name == "style_reference"  # its source is empty: what it refers to is another drawing
                reference[part] = (
                    self._worn(rows[part], generator) if alone else resize(source[part], self.reference_px)
                )
            task[part] = task_row(name)
        appearance = Appearance(**vars(placement)).vector()
        told = self._told(rows, (source, mask), task, appearance, slices, generator)
        return Example(clean, replace(told, reference=reference, reference_mask=told.reference_mask & known), slices)

    def _worn(self, rows: Tensor, generator: Generator) -> Tensor:
        """A picture of each row's set [B,3,h,h], upright on white, whatever it shows."""
        bank = self.corpus.bank
        mates = self.corpus.mates.mate(rows, generator)
        plain = bank.place(mates, PLAIN, generator)
        return bank.paint(mates, plain, self.reference_px)

    def _collaged(self, name: str, part: slice) -> slice | None:
        """The rows of a task's slice whose pictures show four drawings."""
        count = self._of_transfer(name, part, self.mix.collaged_in_transfer)
        return slice(part.start, part.start + count) if count else None

    def _restyled(self, name: str, part: slice) -> slice | None:
        """The rows of a task's slice, its last ones, whose source is the drawing itself in another look."""
        count = self._of_transfer(name, part, self.mix.restyled_in_transfer)
        return slice(part.stop - count, part.stop) if count else None

    @staticmethod
    def _of_transfer(name: str, part: slice, share: float) -> int:
        """How many rows a share of style transfer's slice is; none of another task's."""
        return round(share * (part.stop - part.start)) if name == "style_transfer" else 0

    def _collage(self, rows: Tensor, generator: Generator, side_px: int) -> tuple[Tensor, Tensor]:
        """Each row's drawing [B] with three of its set, two by two, and the same four as other sets drew them."""
        mates = self.corpus.mates.mate(rows.repeat_interleave(3), generator)
        four = torch.cat([rows[:, None], mates.unflatten(0, (-1, 3))], dim=1).flatten()
        placement = self.corpus.bank.place(four, self.augmentation, generator)
        target = self.corpus.bank.paint(four, placement, side_px // 2)
        return two_by_two(target), two_by_two(self._shown("style_transfer", four, target, placement, generator))

    def _shown(self, name: str, rows: Tensor, clean: Tensor, placement: Any, generator: Generator) -> Tensor:
        """The picture that the task starts from: in style transfer, the same subject in another set or look."""
        if name != "style_transfer":
            return clean
        bank = self.corpus.bank
        partner = bank.partner(rows, generator, within_bits=self.mix.bits_in_transfer)
        own = partner == rows
        other = bank.paint(partner, repainted(placement, bank, partner, generator), clean.shape[-1])
        return torch.where(own[:, None, None, None], restyled(clean, generator), other)

    def _told(
        self,
        rows: Tensor,
        given: tuple[Tensor, Tensor],
        task: Tensor,
        appearance: Tensor,
        slices: list[tuple[str, slice]],
        generator: Generator,
    ) -> Condition:
        """Drop text, style and appearance by their shares; a source that shows the ground needs no appearance."""
        text, text_mask = self.corpus.text(rows, task, generator)
        chance = torch.rand(3, len(rows), device=rows.device, generator=generator)
        text_share = torch.full_like(chance[0], self.mix.text_dropped)
        appearance_share = torch.full_like(chance[0], self.mix.appearance_dropped)
        style_share = torch.full_like(chance[0], self.mix.style_dropped)
        for name, part in slices:
            if name == "style_transfer":
                text_share[part] = self.mix.text_dropped_in_transfer
            if name == "style_reference":
                style_share[part] = 1.0
            if task_named(name).shows_ground:
                appearance_share[part] = 0.7
            if changed := self._restyled(name, part):  # in another look the ground may be hidden
                appearance_share[changed] = self.mix.appearance_dropped
            if collaged := self._collaged(name, part):  # no caption and no place is true of four drawings
                text_share[collaged] = appearance_share[collaged] = 1.0
        kept_text = chance[0] >= text_share
        style = torch.where(chance[1] < style_share, NO_STYLE, self.corpus.styles[rows])
        picture, _ = no_reference(len(rows), rows.device)
        return Condition(
            source=given[0],
            mask=given[1],
            task=task,
            style=style,
            appearance=appearance * (chance[2] >= appearance_share)[:, None],
            text=text * kept_text[:, None, None],
            text_mask=text_mask & kept_text[:, None],
            reference=picture,
            reference_mask=chance[1] >= self.mix.style_dropped,
        )


def two_by_two(tiles: Tensor) -> Tensor:
    """[4B,C,h,w] -> [B,C,2h,2w]: each four in a row as two above two."""
    grid = tiles.unflatten(0, (-1, 2, 2))  # B rows columns C h w
    whole: Tensor = grid.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
    return whole


def repainted(placement: Any, bank: PictureBank, rows: Tensor, generator: Generator) -> Any:
    """The same place and ground with hue untouched and an ink for one-colour partners."""
    ink = 0.5 * torch.rand(len(rows), 3, device=rows.device, generator=generator) * bank.monochrome[rows][:, None]
    fields = dict(vars(placement)) | {"ink": ink, "hue": placement.hue * ~bank.monochrome[rows]}
    return type(placement)(**fields)


class DiffusionTraining(lightning.LightningModule):  # type: ignore[misc]
    """Trains whatever parameters of ``network`` ask for gradients, on all tasks of the mix."""

    def __init__(
        self,
        network: nn.Module,
        *,
        maker: Callable[[torch.device], Examples],
        heldout: Callable[[torch.device], Examples] | None,
        objective: Terms,
        optimizer: OptimizerSettings,
        max_steps: int,
        seed: int,
        compiled: bool,
        sizes: Sizes | None = None,
    ) -> None:
        """``maker`` and ``heldout`` are called once the device is known, so that pictures are resident there."""
        super().__init__()
        self.network = network
        self._make_maker, self._make_heldout = maker, heldout
        self._maker: Examples | None = None
        self._heldout_maker: Examples | None = None
        self.objective = objective
        self.optimizer_settings = optimizer
        self.max_steps = max_steps
        self.seed = seed
        self.compiled = compiled
        self.sizes = sizes
        self._configured = self._sharded = False

    def configure_model(self) -> None:
        """Compile the inner network, then shard it where the strategy asks for that; once, however often asked."""
        if self._configured:
            return
        self._configured = True
        self._sharded = isinstance(self.trainer.strategy, FullySharded)
        if self.compiled:
            compile_network(self.network, sharded=self._sharded, on_gpu=self.on_gpu)
        if self._sharded:
            shard(self.network, self.trainer.strategy)

    @property
    def on_gpu(self) -> bool:
        """Whether the run is on GPUs."""
        return bool(self.trainer.strategy.root_device.type == "cuda")

    def setup(self, stage: str) -> None:
        """Bring the corpus to the device."""
        device = self.trainer.strategy.root_device  # the module itself may be brought there later
        self._maker = self._make_maker(device)
        self._heldout_maker = self._make_heldout(device) if self._make_heldout else None

    def forget(self, places: Any) -> None:
        """Show no picture of these places [N] of the corpus as another's partner any more."""
        if self._maker is not None:
            self._maker.corpus.forget(torch.as_tensor(places, device=self.device))

    def look_ahead(self, rows: Tensor) -> None:
        """Let a corpus that is not resident begin to read the rows of a batch before its step."""
        if self._maker is not None and isinstance(layers := self._maker.corpus.bank.layers, StreamedLayers):
            layers.ahead(rows)

    def _generator(self, *key: int) -> Generator:
        """A generator that depends on the seed and the key alone, so that a resumed run draws the same numbers."""
        seed = self.seed
        for part in key:
            seed = (seed * 1_000_003 + part + 1) % (2**63 - 1)
        return Generator(device=self.device).manual_seed(seed)

    def training_step(self, rows: Tensor, index: int) -> Tensor:
        """rows [B] -> mean loss."""
        assert self._maker is not None
        part = index % self.trainer.accumulate_grad_batches  # of a step: each draws numbers of its own
        generator = self._generator(self.global_step, self.global_rank, *([part] if part else []))
        side_px = (self.sizes.at(self.global_step) if self.sizes else None) or self._maker.side_px
        example = self._maker.make(rows.to(self.device), generator, side_px)
        uniform = torch.rand(len(rows), device=self.device, generator=generator)
        loss_B = self._loss(example, self.objective.times(uniform, side_px / self._maker.side_px), generator)
        self._log_tasks(loss_B.detach(), example.slices, side_px)
        return loss_B.mean() + self._idle()

    def _idle(self) -> Tensor:
        """0, in which the ways of every size take part, used or not: DDP wants a gradient of every parameter."""
        parts = [weight.flatten()[0] for weight in ([] if self._sharded else self._of_one_size())]
        return 0.0 * sum(parts, torch.zeros((), device=self.device))

    def on_after_backward(self) -> None:
        """Give what a step did not use a gradient of zeros under FSDP2 too, so that the optimizer treats all alike."""
        for weight in learning(self.network).values() if self._sharded else ():
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)

    def _of_one_size(self) -> list[nn.Parameter]:
        """Parameters that pictures of one size of patch use and others do not."""
        if self.sizes is None or not isinstance(self.network, MultiTaskTransformer):
            return []
        weights: list[nn.Parameter] = self.network.parameters_of_one_size()
        return weights

    def _loss(self, example: Example, t: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(example.clean.shape, device=self.device, generator=generator)
        return self.objective.loss(self.network, example.clean, example.condition, noise, t)

    def _log_tasks(self, loss_B: Tensor, slices: list[tuple[str, slice]], side_px: int) -> None:
        if (self.global_step + 1) % self.trainer.log_every_n_steps:
            return
        loss = loss_B.mean()
        # All ranks decide together: one that stopped alone would leave the others waiting.
        if not self.trainer.strategy.reduce_boolean_decision(bool(loss.isfinite()), all=True):
            raise TrainingError(
                f"the loss became {float(loss)} at step {self.global_step}: lower optimizer.learning_rate "
                f"({self.optimizer_settings.learning_rate}); the last good checkpoint is kept"
            )
        self.log("loss", loss, prog_bar=True)
        assert self._maker is not None
        sized = "loss" if side_px == self._maker.side_px else f"loss_{side_px}px"
        self.log_dict({f"{sized}/{name}": loss_B[part].mean() for name, part in slices})

    def validation_step(self, rows: Tensor, index: int) -> None:
        """Held-out loss at eight fixed times with fixed noise, so that two values differ by the network alone."""
        assert self._heldout_maker is not None
        generator = self._generator(2**31, index)
        example = self._heldout_maker.make(rows.to(self.device), generator)
        t = (torch.arange(len(rows), device=self.device) % 8 + 0.5) / 8
        loss_B = self._loss(example, t, generator)
        self.log("heldout_loss", loss_B.mean(), prog_bar=True, sync_dist=True)
        self.log_dict({f"heldout_loss/{name}": loss_B[part].mean() for name, part in example.slices}, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW and the schedule, both by the settings."""
        return make_optimizer(self.network, self.optimizer_settings, self.max_steps)
