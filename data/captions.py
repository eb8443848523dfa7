"""What is in the picture, said in several ways; never the style it is drawn in."""

from __future__ import annotations

from collections.abc import Iterable

from data.naming import words
from data.record import MAX_CAPTIONS
from data.splits import held_out


def captions_of(subject: str, other_names: Iterable[str] = (), categories: Iterable[str] = ()) -> tuple[str, ...]:
    """Return at most four captions, no two alike: the subject, its other names, the subject with its category.

    Another name whose own split differs is left out: it would teach a held-out subject by its second name.
    """
    side = held_out(subject)
    name = words(subject)
    others = [words(other) for other in other_names if held_out(other) == side]
    placed = [f"{name}, {words(category).lower()}" for category in list(categories)[:1]]
    ways = list(dict.fromkeys([name, *others]))
    return tuple(dict.fromkeys([*ways[: MAX_CAPTIONS - len(placed)], *placed]))
