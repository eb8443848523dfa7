"""A progress bar around any countable work: done, rate, time that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def counted(title: str) -> Callable[[Iterable[Item], int | None], Iterable[Item]]:
    """Return a wrapper (items, total) -> the same items, counted on the screen under a title."""
    return lambda items, total: tqdm(items, desc=title, total=total, unit=" pictures", leave=False)
