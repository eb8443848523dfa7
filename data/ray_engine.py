"""Runs the tasks of ``data.workers`` on a Ray cluster: the extra ``ray``. Results come back in order, as locally."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from data.errors import DataError
from data.workers import AHEAD_TASKS, LocalEngine, Result, Task, ahead

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Tasks on the cores of a cluster; what they give travels back to the one process that writes.

    Args:
        address: of a running cluster; one is started on this machine if None, unless the program is in one already.
        workers: tasks at once; every core of the cluster if None.

    Raises:
        DataError: ray is not installed, the cluster cannot be reached, a task was lost, or fewer than one worker.
    """

    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        LocalEngine(workers=self.workers)
        _ray()

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result]:
        """Yield ``work(task)`` in order."""
        ray = _ray()
        begun = self._begin(ray)
        try:
            count = self.workers or int(ray.cluster_resources().get("CPU", 1))
            remote, shared = ray.remote(_work).options(scheduling_strategy="SPREAD"), ray.put(work)
            started = (remote.remote(shared, task) for task in tasks)
            for reference in ahead(started, count * (1 + AHEAD_TASKS)):
                yield self._result(ray, reference)
        finally:
            if begun:
                ray.shutdown()

    def _begin(self, ray: Any) -> bool:
        """Connect, unless the program is connected; returns whether this did."""
        _check_reachable(self.address)
        if ray.is_initialized():
            return False
        try:
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"no Ray cluster at engine.address={self.address}: {first}") from None
        return True

    def _result(self, ray: Any, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            # What a task raised is a bug or a file that the node cannot see, and is told as what it is.
            raise error.cause from None
        except ray.exceptions.RayError as error:
            first = str(error).splitlines()[0]
            raise DataError(f"the Ray cluster lost a task ({first}): run the same command again to go on") from None


def _work(work: Callable[[Task], Result], task: Task) -> Result:
    return work(task)


def _check_reachable(address: str | None) -> None:
    """Ask for the port of HOST:PORT first: Ray would try for five minutes.

    Raises:
        DataError: nothing answers there.
    """
    found = re.fullmatch(r"(?:ray://)?(?P<host>[^:/]+):(?P<port>[0-9]+)", address or "")
    if found is None:
        return
    try:
        socket.create_connection((found["host"], int(found["port"])), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DataError(f"no Ray cluster at engine.address={address}: {error}") from None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise DataError("engine=ray needs Ray, which is not installed: pip install -e '.[ray]'") from None
    return ray
