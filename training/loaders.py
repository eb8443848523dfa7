"""The rows of each step as Lightning wants them; pictures stay where their bank has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from data.ledger import EpochOf, Ledger
from data.order import Order, SampleOrder, StepRows
from training.errors import TrainingError


class RowLoaders(lightning.LightningDataModule):  # type: ignore[misc]
    """Training rows by (seed, epoch, position), held-out rows in a fixed order.

    Its state in a checkpoint is the position in samples and the planned order's digest: the same on every rank, and
    right for a run that resumes with other ranks or another batch.
    """

    def __init__(
        self,
        order: Order,
        *,
        batch_pictures: int,
        heldout_rows: int = 0,
        heldout_pictures: int = 0,
        planned: SampleOrder | None = None,
        ledger: Path | None = None,
        ahead: Callable[[Tensor], None] | None = None,
    ) -> None:
        """``batch_pictures`` a rank and step; the first ``heldout_pictures`` of ``heldout_rows`` are validated.

        Args:
            planned: the order without regard to what was revoked since, which a resumed run must share; with
                ``ledger``, a folder, what was handed over is written there and measured against it.
            ahead: told the rows of a batch as soon as they are known, one batch before they are used.
        """
        super().__init__()
        self.order = order
        self.batch_pictures = batch_pictures
        self.heldout_count = min(heldout_rows, heldout_pictures)
        self._planned, self._ledger_folder, self._ahead = planned, ledger, ahead
        self._planned_sha256 = planned.digest() if planned else ""
        self._ledger: Ledger | None = None
        self._resumed_step, self._resumed_position = 0, 0

    @property
    def position(self) -> int:
        """How many samples all ranks together have been shown up to the trainer's step."""
        trainer: Any = self.trainer
        batches = int((trainer.global_step - self._resumed_step) * trainer.accumulate_grad_batches)
        return self._resumed_position + batches * self.batch_pictures * int(trainer.world_size)

    def train_dataloader(self) -> Any:
        """Start where the run stands: the position follows from the step, not from a loader's state.

        Raises:
            TrainingError: a work was revoked between the starts of two ranks, so that their orders differ.
        """
        trainer: Any = self.trainer
        if trainer.strategy.broadcast(self._planned_sha256) != self._planned_sha256:
            raise TrainingError("a work was revoked while the processes started: run the same command again")
        rows = StepRows(
            self.order,
            first_step=trainer.global_step,
            batch=self.batch_pictures,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
            position=self.position,
        )
        if self._ledger_folder is not None and self._planned is not None:
            epoch = EpochOf.of(self._planned.rows, self._planned_sha256)
            place = {"rank": trainer.global_rank, "ranks": trainer.world_size}
            self._ledger = Ledger(self._ledger_folder, epoch, **place, position=self.position)
        return DataLoader(_Told(rows, self._hand_over), batch_size=None, num_workers=0)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, and close the ledger up to here."""
        if self._ledger is not None:
            self._ledger.close_at(self.position)
        return {"step": int(self.trainer.global_step), "position": self.position, "order": self._planned_sha256}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from a checkpoint's position.

        Raises:
            TrainingError: it is of another order, so that samples would be missed and seen twice.
        """
        if state_dict.get("order", self._planned_sha256) != self._planned_sha256:
            raise TrainingError(
                "the last checkpoint is of another order: the dataset, seed or dataset.colour_share was another; set"
                " them back, or pass another out="
            )
        self._resumed_step, self._resumed_position = int(state_dict["step"]), int(state_dict["position"])

    def teardown(self, stage: str) -> None:
        """Write down what the last steps were handed."""
        if self._ledger is not None:
            self._ledger.close_at(self.position)

    def _hand_over(self, position: int, rows: Tensor) -> None:
        if self._ahead is not None:
            self._ahead(rows)
        if self._ledger is not None and self._planned is not None:
            revoked = int((rows.numpy() != self._planned.at(position, len(rows))).sum())
            self._ledger.add(position, rows.numpy(), revoked=revoked)

    def val_dataloader(self) -> Any:
        """Whole batches alone, the same number on every rank: uneven ranks would wait for each other for ever."""
        if not self.heldout_count:
            return []
        trainer: Any = self.trainer
        batch = max(1, min(self.batch_pictures, self.heldout_count // trainer.world_size))
        share = self.heldout_count // trainer.world_size // batch * batch
        begin = trainer.global_rank * share
        rows = torch.arange(begin, begin + share)
        return _Rows(DataLoader(TensorDataset(rows), batch_size=batch, num_workers=0))


class _Told(IterableDataset[Tensor]):
    """Rows of a rank's steps, each told with its position before it is handed over."""

    def __init__(self, rows: StepRows, told: Callable[[int, Tensor], None]) -> None:
        self.rows = rows
        self.told = told

    def __iter__(self) -> Iterator[Tensor]:
        position = self.rows.position + self.rows.rank * self.rows.batch
        for rows in self.rows:
            self.told(position, rows)
            yield rows
            position += self.rows.ranks * self.rows.batch


class _Rows:
    """A loader of one tensor, without the list around it."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return (batch[0] for batch in self.loader)
