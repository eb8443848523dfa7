"""Measures a run on the way: every n steps a fixed subset of held-out drawings, drawn with the averaged weights."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from torch import Tensor

from data.dataset import open_dataset
from evaluation.drawing import DrawingSettings
from evaluation.errors import EvaluationError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.files import write_whole
from evaluation.metrics.checked import LEAST_PICTURES
from evaluation.tasks.steps import MeasuredStep, StepRecord
from evaluation.tasks.subset import HeldOutSubset
from synthesis.backbone import MultiTaskTransformer
from synthesis.pipeline import MultiTaskPipeline
from training.average import ExponentialAverage
from training.errors import TrainingError


class MeasuredOnTheWay(lightning.Callback):  # type: ignore[misc]
    """Every ``every_steps`` steps (0: never) draws held-out captions and logs kernel distance and PSNR with the step.

    The first rank draws, with a copy of the network: the one that learns, its compiled graph and the random numbers of
    training stay as they are, and a run gives the same weights with and without. The other ranks ask for nothing and
    wait at the next gradient. ``measured/figures.json`` in the run's folder holds every step once: a resumed run that
    comes by a step again logs what stands there.
    """

    def __init__(
        self,
        *,
        judge: str,
        text_encoder: str,
        every_steps: int = 0,
        pictures: int = 32,
        seed: int = 0,
        num_inference_steps: int = 8,
        guidance_scale: float = 3.0,
    ) -> None:
        """``judge`` is the folder of the dataset that holds drawings out."""
        _check_whole("every_steps", every_steps, 0)
        _check_whole("pictures", pictures, LEAST_PICTURES)
        _check_whole("seed", seed, 0)
        self.every_steps = every_steps
        self._judge, self._text_encoder, self._pictures, self._seed = judge, text_encoder, pictures, seed
        self._drawing = DrawingSettings(
            num_inference_steps=num_inference_steps, guidance_scale=guidance_scale, batch_pictures=32
        )
        self._subset: HeldOutSubset | None = None
        self._record: StepRecord | None = None
        self._pipeline: MultiTaskPipeline | None = None
        self._extractor: EfficientNetLite0 | None = None
        self._looked_at = 0

    def setup(self, trainer: lightning.Trainer, module: Any, stage: str) -> None:
        """Choose the drawings, on every rank: what cannot be measured is told by all, before the first step."""
        if not self.every_steps or self._subset is not None:
            return
        config = module.network.config
        self._subset = HeldOutSubset(
            open_dataset(Path(self._judge)),
            pictures=self._pictures,
            seed=self._seed,
            px=int(config.native_px),
            drawing=self._drawing,
            tasks=tuple(config.tasks),
        )
        self._record = StepRecord(Path(trainer.default_root_dir), self._subset.subject)

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Take up what a resumed run had measured; a run from the start begins anew."""
        self._looked_at = trainer.global_step
        if self._record is not None and trainer.is_global_zero and trainer.global_step:
            self._record.load()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        """Measure when a step is due, once, on the first rank."""
        step = trainer.global_step
        if not self.every_steps or step == self._looked_at:
            return
        self._looked_at = step
        if step % self.every_steps:
            return
        weights = average_of(trainer).whole()  # by every rank: each may hold a shard
        if trainer.is_global_zero:
            self._tell(trainer, self._measured(trainer, module, step, weights))

    def _measured(
        self, trainer: lightning.Trainer, module: Any, step: int, weights: dict[str, Tensor]
    ) -> MeasuredStep | None:
        """Return a step's figures, from the record where they stand; None, with a warning, where they fail."""
        assert self._record is not None and self._subset is not None
        if step in self._record.steps:
            return self._record.steps[step]
        try:
            with isolate_rng():
                self._pipeline = self._dressed(module, weights)
                self._extractor = self._extractor or EfficientNetLite0(device=str(module.device))
                measured = self._subset.measure(self._pipeline, self._extractor)
            one = MeasuredStep(step=step, figures=measured.figures)
            write_whole(self._sheet_file(trainer, step), _png(measured.sheet))
            self._record.add(one)
        except (EvaluationError, OSError) as error:
            print(f"warning: step {step} is not measured: {error}", file=sys.stderr)
            return None
        return one

    def _tell(self, trainer: lightning.Trainer, measured: MeasuredStep | None) -> None:
        if measured is None:
            return
        values: dict[str, float] = {}
        for figure in measured.figures:
            name = f"measured/{figure.name}"
            values |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        file = self._sheet_file(trainer, measured.step)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=measured.step)
            if file.is_file():
                log_sheet(logger, file, measured.step)

    def _dressed(self, module: Any, weights: dict[str, Tensor]) -> MultiTaskPipeline:
        """Return a pipeline around a copy of the network that wears the average."""
        if self._pipeline is None:
            network = MultiTaskTransformer.from_config(module.network.config).eval().requires_grad_(False)
            pipeline = MultiTaskPipeline(network, FlowMatchEulerDiscreteScheduler(), self._text_encoder)
            self._pipeline = pipeline.to(module.device)
        self._pipeline.transformer.load_state_dict(weights)
        return self._pipeline

    def _sheet_file(self, trainer: lightning.Trainer, step: int) -> Path:
        return Path(trainer.default_root_dir) / "measured" / f"step-{step:07}.png"

    def teardown(self, trainer: lightning.Trainer, module: Any, stage: str) -> None:
        """Give the copy's memory back."""
        self._pipeline = self._extractor = self._subset = None


def average_of(trainer: lightning.Trainer) -> ExponentialAverage:
    """Return the run's moving average, or say that it has none."""
    for callback in trainer.callbacks:
        if isinstance(callback, ExponentialAverage):
            return callback
    raise TrainingError("measured.every_steps needs the moving average of the weights: keep average in the settings")


def log_sheet(logger: Logger, file: Path, step: int) -> None:
    """Hand a sheet of examples to a logger that keeps pictures; beside a table the file is enough."""
    with Image.open(file) as sheet:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, sheet, key="measured", step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("measured", np.asarray(sheet), step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image("measured", [sheet], step=step)


def _check_whole(name: str, value: Any, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise TrainingError(f"measured.{name} is {value}: it must be a whole number of {lowest} or more")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
