"""Keeps a network busy: batches are read and pinned ahead, and a result is fetched while the next computes.

Threads read ahead.  A GPU looks at small pictures faster than the threads of one process decode files, so files for
one are read in processes.

Shapes: pictures uint8 [B,3,H,W], features float32 [B,D].
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evaluation.errors import EvaluationError
from evaluation.extractors.pictures import Pictures, PicturesOnDisk
from evaluation.extractors.protocol import Extractor

CPU_BATCH = 16  # a core's cache holds no more, and a larger batch is no faster
CUDA_BATCH = 512  # halved until it fits the device's memory
MOST_THREADS = 16


def fed(extractor: Extractor, pictures: Pictures, places: Sequence[int]) -> Iterator[Tensor]:
    """Yield features [B,D] on the CPU of pictures at some places, batch by batch, in order."""
    on_cuda = extractor.device.type == "cuda"
    batch = CUDA_BATCH if on_cuda else CPU_BATCH
    parts = [places[begin : begin + batch] for begin in range(0, len(places), batch)]
    network, waiting = Halving(extractor), None
    in_processes = on_cuda and isinstance(pictures, PicturesOnDisk) and len(parts) > 1
    read = read_in_processes(pictures, parts) if in_processes else _read_ahead(pictures, parts, pinned=on_cuda)
    for pictures_B3HW in read:
        # On CUDA this only queues the work, so that the device goes on while the features before come back.
        launched = network(pictures_B3HW)
        if waiting is not None:
            yield waiting.cpu()
        waiting = launched
    if waiting is not None:
        yield waiting.cpu()


class Halving:
    """An extractor that is given half as many pictures at a time whenever they do not fit its device's memory."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._most: int | None = None

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        """Return features [B,D]; OutOfMemoryError where a single picture does not fit."""
        parts = pictures_B3HW.split(self._most) if self._most else (pictures_B3HW,)
        try:
            return torch.cat([self._extractor(part) for part in parts])
        except torch.OutOfMemoryError:
            if len(parts[0]) == 1:
                raise
            self._most = len(parts[0]) // 2
        torch.cuda.empty_cache()
        return self(pictures_B3HW)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep TF32 out: features, and so figures, would depend on the kind of device."""
    kept = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = kept


def read_in_processes(pictures: Pictures, parts: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """Yield the batches in order, read in processes and, where there is a GPU, pinned."""
    workers = min(MOST_THREADS, os.cpu_count() or 1, len(parts))
    pinned = torch.cuda.is_available()
    for batch in DataLoader(_Batches(pictures, parts), batch_size=None, num_workers=workers, pin_memory=pinned):
        if isinstance(batch, EvaluationError):
            raise batch
        yield batch


class _Batches(Dataset["Tensor | EvaluationError"]):
    """Place n is the batch of the n-th part, or why it cannot be read: raised there, it would come back as a trace."""

    def __init__(self, pictures: Pictures, parts: Sequence[Sequence[int]]) -> None:
        self._pictures, self._parts = pictures, parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: int) -> Tensor | EvaluationError:
        try:
            return self._pictures.batch(self._parts[place])
        except EvaluationError as error:
            return error


def _read_ahead(pictures: Pictures, parts: Sequence[Sequence[int]], *, pinned: bool) -> Iterator[Tensor]:
    """Yield the batches in order, each read in a thread while those before are computed with."""
    threads = min(MOST_THREADS, os.cpu_count() or 1)

    def read(part: Sequence[int]) -> Tensor:
        batch = pictures.batch(part)
        return batch.pin_memory() if pinned else batch

    begun: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        try:
            for part in parts:
                begun.append(pool.submit(read, part))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
