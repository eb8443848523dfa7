"""Streams batches of pictures from a dataset that does not fit the device.

One thread says which rows make up a step, workers read and decode them, and batches arrive in order whatever the
number of workers. The loader's state is a position in samples and the order's digest: the same on every rank, and
enough to go on from anywhere, on any number of ranks and workers.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import ImageColor
from torch.utils.data import DataLoader, Sampler

from data.buckets import AcrossEpochs, Buckets, Plan, Step
from data.dataset import Dataset
from data.errors import DataError, DatasetError
from data.fetch import Batch, Broken, Fetch
from data.ledger import EpochOf, Ledger
from data.order import SampleOrder
from data.revocations import Revocations


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How a dataset is streamed.

    Args:
        batch: pictures of a step over all ranks.
        last: how an epoch ends. "across": batches go on into the next epoch. "padded": the last one is filled up with
            rows that ``Batch.real`` leaves out. Pictures of several shapes are always batched by shape, "padded".
        side_px: resize to this square; null keeps the stored size.
        ground: composite over this colour, three channels; null keeps alpha.
        workers: threads that read and decode; 0 does it in the caller's.
        processes: the workers are processes of torch's DataLoader. Threads are faster, for nothing need be sent and
            decoding leaves Python's lock alone; processes suit a training loop that itself keeps Python busy.
        prefetch: batches that a worker makes ahead.
        checked: compare each sample's digest with the index.
        seed: of the order.

    Raises:
        DataError: a value is out of its range.
    """

    batch: int
    last: str = "across"
    side_px: int | None = None
    ground: str | None = None
    workers: int = 0
    processes: bool = False
    prefetch: int = 2
    checked: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.last not in ("across", "padded"):
            raise DataError(f"last is {self.last!r}: it must be across or padded")
        for name, lowest in (("batch", 1), ("workers", 0), ("prefetch", 1), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise DataError(f"{name} is {getattr(self, name)}: it must be {lowest} or more")
        if self.side_px is not None and self.side_px < 1:
            raise DataError(f"side_px is {self.side_px}: it must be 1 or more, or null")
        try:
            ImageColor.getrgb(self.ground or "#fff")
        except ValueError:
            raise DataError(f"ground is {self.ground!r}: it must be a colour, as #rrggbb, or null") from None


class StreamLoader:
    """An endless sequence of batches from where ``position`` stands; stop when you have enough.

    It is no torch ``DataLoader`` itself, so that no trainer puts a sampler of its own into it.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: StreamSettings,
        *,
        rows: Any = None,
        rank: int | None = None,
        ranks: int | None = None,
        ledger: Path | None = None,
    ) -> None:
        """Stream ``rows`` of a dataset, by default those of split train that are not revoked.

        Args:
            rank: by default torchrun's, or 0 of 1.
            ledger: the folder to write the ledger of samples into.

        Raises:
            DataError: there is no row, or the settings do not fit the dataset.
        """
        self.settings = settings
        self.position = 0
        self._dataset, self._rows = dataset, rows
        self._order_from(dataset.revocations)
        self._rank, self._ranks, self._ledger_folder = rank, ranks, ledger
        self._ledger: Ledger | None = None

    def __iter__(self) -> Iterator[Batch]:
        rank, ranks = self._place()
        if self._ledger_folder is not None:
            epoch = EpochOf.of(self.order.rows, self._digest)
            self._ledger = Ledger(self._ledger_folder, epoch, rank=rank, ranks=ranks, position=self.position)
        for batch in self._fetched(self.plan.steps(self.position, rank, ranks)):
            if isinstance(batch, Broken):
                raise DatasetError(batch.told)
            shown = self._without_revoked(batch)
            if self._ledger is not None:
                taken = int((batch.real & ~shown.real).sum())
                self._ledger.add(batch.begin, batch.rows[batch.real].numpy(), revoked=taken)
            self.position = batch.end
            yield shown

    def state_dict(self) -> dict[str, Any]:
        """Return the state, the same on every rank; what the ledger holds is written up to here."""
        if self._ledger is not None:
            self._ledger.close_at(self.position)
        return {"position": self.position, "order": self._digest, "revoked_through": self._started.through}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what was revoked since its run began is left out of the batches, not of the order.

        Raises:
            DataError: it is that of another order, so that the rest would not be what it was to be.
        """
        self._order_from(self._dataset.revocations.until(int(state["revoked_through"])))
        if state["order"] != self._digest:
            raise DataError("samples, seed or way of batching are not those of the checkpoint: start the run anew")
        self.position = int(state["position"])

    def _order_from(self, revocations: Revocations) -> None:
        """Make the order over what was not revoked when the run began."""
        dataset = self._dataset
        then = Dataset(dataset.folder, dataset.card, dataset.index, revocations)
        self.order = SampleOrder(
            then.select(split="train") if self._rows is None else self._rows, seed=self.settings.seed
        )
        self.plan = plan_of(dataset, self.order, self.settings)
        self._digest = self.plan.digest()
        self._started, self._revoked = revocations, dataset.revoked

    def _fetched(self, steps: Iterator[Step]) -> Iterator[Batch | Broken]:
        """Return the batches of steps in their order."""
        how = self.settings
        fetch = Fetch(self._dataset, side_px=how.side_px, ground=how.ground, checked=how.checked)
        if how.workers and not how.processes:
            return in_threads(fetch, steps, how.workers, how.workers * how.prefetch)
        loader = DataLoader(
            fetch,
            sampler=_Steps(steps),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=how.workers,
            prefetch_factor=how.prefetch if how.workers else None,
            pin_memory=torch.cuda.is_available(),
        )
        return iter(loader)

    def _without_revoked(self, batch: Batch) -> Batch:
        """Blank what is revoked by now, and mark it as padding; a look at the list costs one ``stat``."""
        if self._dataset.revocations.changed():
            now = self._dataset.revocations.refreshed()
            self._dataset = Dataset(self._dataset.folder, self._dataset.card, self._dataset.index, now)
            self._revoked = self._dataset.revoked
        taken = torch.from_numpy(self._revoked[batch.rows.numpy()])
        if not taken.any():
            return batch
        return batch._replace(
            pictures=batch.pictures.masked_fill(taken[:, None, None, None], 0), real=batch.real & ~taken
        )

    def _place(self) -> tuple[int, int]:
        """Asked for when batches are: what starts the processes may set it after this object was made."""
        rank = int(os.environ.get("RANK", "0")) if self._rank is None else self._rank
        ranks = int(os.environ.get("WORLD_SIZE", "1")) if self._ranks is None else self._ranks
        return rank, ranks


def plan_of(dataset: Dataset, order: SampleOrder, settings: StreamSettings) -> Plan:
    """Return how the rows of an order are made into batches.

    Raises:
        DataError: pictures of several shapes are to become one square.
    """
    shaped = bool(dataset.index.column("width_px")[order.rows].any())
    if shaped and settings.side_px is not None:
        raise DataError(f"side_px is {settings.side_px}, but pictures keep their shapes: set it to null")
    if shaped or settings.last == "padded":
        return Buckets.of(dataset, order, batch=settings.batch)
    return AcrossEpochs(order, batch=settings.batch)


def in_threads(fetch: Fetch, steps: Iterator[Step], threads: int, ahead: int) -> Iterator[Batch | Broken]:
    """Yield the batches of steps in order, ``ahead`` of them in the making; pinned where there is a GPU to copy to."""
    pinned = torch.cuda.is_available()

    def made(step: Step) -> Batch | Broken:
        batch = fetch[step]
        return batch._replace(pictures=batch.pictures.pin_memory()) if pinned and isinstance(batch, Batch) else batch

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Batch | Broken]] = deque()
        try:
            waiting.extend(pool.submit(made, step) for step in islice(steps, ahead))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(made, step) for step in islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Steps(Sampler[Step]):
    def __init__(self, steps: Iterator[Step]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[Step]:
        return self.steps


def _as_it_is(batch: Any) -> Any:
    return batch
