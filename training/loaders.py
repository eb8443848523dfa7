"""The rows of each step as Lightning wants them; pictures stay on the device."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from data.order import Order, StepRows


class RowLoaders(lightning.LightningDataModule):  # type: ignore[misc]
    """Training rows by (seed, epoch, position), held-out rows in a fixed order."""

    def __init__(self, order: Order, *, batch_pictures: int, heldout_rows: int = 0, heldout_pictures: int = 0) -> None:
        """``batch_pictures`` a rank and step; the first ``heldout_pictures`` of ``heldout_rows`` are validated."""
        super().__init__()
        self.order = order
        self.batch_pictures = batch_pictures
        self.heldout_count = min(heldout_rows, heldout_pictures)

    def train_dataloader(self) -> Any:
        """Start where the run stands: the position follows from the step, not from a loader's state."""
        trainer: Any = self.trainer
        rows = StepRows(
            self.order,
            first_step=trainer.global_step,
            batch=self.batch_pictures,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        return DataLoader(rows, batch_size=None, num_workers=0)

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


class _Rows:
    """A loader of one tensor, without the list around it."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return (batch[0] for batch in self.loader)
