"""What every training run does around Lightning: its folder, its loggers, resuming, being interrupted."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from omegaconf import DictConfig, OmegaConf

from atelier import PROJECT_ROOT
from synthesis.precision import fast_dtype
from training.average import ExponentialAverage
from training.errors import TrainingError
from training.failures import SoundCheckpoints, told
from training.logbook import Logbook, make_logger
from training.strategies import WholeCheckpoints, before_it, named

CHECKPOINT = "last.ckpt"


class ErrorStreamBar(TQDMProgressBar):  # type: ignore[misc]
    """Lightning's bar on the error stream, where bars belong: what a command prints stays lines."""

    def init_train_tqdm(self) -> Any:
        """Make the bar while the streams are swapped: it keeps the one it sees."""
        with redirect_stdout(sys.stderr):
            return super().init_train_tqdm()

    def init_validation_tqdm(self) -> Any:
        """As for training."""
        with redirect_stdout(sys.stderr):
            return super().init_validation_tqdm()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        """End the bar's line: what went wrong begins one of its own."""
        print(file=sys.stderr)


def make_trainer(config: DictConfig, folder: Path, average: ExponentialAverage) -> lightning.Trainer:
    """Build Lightning's trainer from ``config.trainer`` with checkpoints every ``config.checkpoint_steps``."""
    checkpoints = ModelCheckpoint(
        dirpath=folder / "checkpoints",
        save_last=True,
        save_top_k=-1 if config.keep_checkpoints else 0,
        every_n_train_steps=config.checkpoint_steps,
        enable_version_counter=False,
    )
    logger = make_logger(config.logger, folder, resumes=last_checkpoint(folder) is not None)
    settings = dict(config.trainer) | {"precision": precision_of(str(config.trainer.precision))}
    if not isinstance(config.trainer.strategy, str):
        settings["strategy"] = instantiate(config.trainer.strategy, _convert_="all")
    # Showing the loss waits for the device: seldom enough not to hold it up.
    bar = ErrorStreamBar(refresh_rate=max(1, config.trainer.log_every_n_steps // 5))
    measured = [instantiate(config.measured)] if config.get("measured") else []
    callbacks = [Logbook(config.logger, folder), average, *measured, SoundCheckpoints(), checkpoints, bar]
    writes = [] if named(settings["strategy"]) == "deepspeed" else [WholeCheckpoints()]  # DeepSpeed writes its own
    run = {"max_steps": config.max_steps, "default_root_dir": str(folder)}
    return instantiate(settings, **run, logger=logger, callbacks=callbacks, plugins=writes)


def precision_of(name: str) -> str:
    """Lightning's name for ``auto``: mixed bfloat16 where the device does it fast, else float32."""
    if name != "auto":
        return name
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16-mixed" if fast_dtype(device) == torch.bfloat16 else "32-true"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run's folder: its last one, or what a SLURM job wrote when its time was up."""
    last = folder / "checkpoints" / CHECKPOINT
    before = before_it(last)  # a kill between two renames leaves this alone
    if not last.exists() and before.exists():
        before.rename(last)
    found = [file for file in (last, *folder.glob("hpc_ckpt_*.ckpt")) if file.exists()]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def check_strategy(checkpoint: Path, strategy: Any) -> None:
    """Refuse to go on under another strategy: each orders the optimizer's moments in its own way.

    Raises:
        TrainingError: the checkpoint is of another strategy, or broken.
    """
    wanted, found = named(strategy), "deepspeed"
    if checkpoint.is_file():
        try:
            found = torch.load(checkpoint, mmap=True, map_location="cpu", weights_only=True).get("strategy", "ddp")
        except (OSError, RuntimeError, ValueError, pickle.UnpicklingError):
            raise TrainingError(f"{checkpoint} is no checkpoint: remove it to train from the start") from None
    if found != wanted:
        raise TrainingError(
            f"{checkpoint} is of trainer={found}, this run is of trainer={wanted}: pass trainer={found} to go on, or"
            " another out with initial=BACKBONE to start from what it exported"
        )


def fit(
    trainer: lightning.Trainer,
    module: Any,
    loaders: Any,
    folder: Path,
    *,
    batch_setting: str = "dataset.batch_pictures",
) -> None:
    """Train from the last checkpoint of the folder, or from the start.

    Raises:
        KeyboardInterrupt: it was interrupted; the last checkpoint is kept.
        TrainingError: memory, a process or the disk gave out.
    """
    last = last_checkpoint(folder)
    if last is not None:
        check_strategy(last, trainer.strategy)
    with warnings.catch_warnings():
        # The rows of a step are computed, not loaded: workers would only cost, and the loader keeps no state.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*is not resumable.*|.*fault-tolerant.*|.*mid-epoch.*")
        warnings.filterwarnings("ignore", message=".*IterableDataset.*__len__.*")
        # A frozen backbone under an adapter stays in evaluation mode on purpose.
        warnings.filterwarnings("ignore", message=".*module.s. in eval mode at the start of training.*")
        # Lightning's own use of a torch interface that torch has renamed.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        try:
            trainer.fit(module, loaders, ckpt_path=str(last) if last else None, weights_only=True)
        except SystemExit:
            # Lightning turns Ctrl-C into an exit of its own; the front door has the word for it.
            raise KeyboardInterrupt from None
        except (MemoryError, RuntimeError) as error:
            kept = last_checkpoint(folder)
            line = told(
                error,
                step=trainer.global_step,
                batch_pictures=loaders.batch_pictures,
                batch_setting=batch_setting,
                kept=f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet",
            )
            if line is None:
                raise
            raise line from error


def code_commit(told: str | None = None) -> str:
    """The commit of the code, with "-changed" behind it when files differ.

    Outside a checkout it is what the person told, or "unknown".
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "conf")
    except (OSError, subprocess.CalledProcessError):
        return told or "unknown"
    return f"{commit}-changed" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def resolved(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain values."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    return dict(values)
