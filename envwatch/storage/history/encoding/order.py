"""The order of rows after a change, as runs of rows that keep their order.

Pure. A run is where it began in the order before, and its length; `NEW` as its beginning stands for rows that were not
there. Rows that stand in no run are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Run: TypeAlias = "tuple[int, int]"

NEW: Final = -1


def runs_between(before: Sequence[str], after: Sequence[str]) -> list[Run]:
    """Return the runs that make an order of ids from the one before; none repeats an id."""
    places = {id_: place for place, id_ in enumerate(before)}
    runs: list[Run] = []
    start = length = 0
    for id_ in after:
        place = places.get(id_, NEW)
        if place == (NEW if start == NEW else start + length) and length:
            length += 1
            continue
        if length:
            runs.append((start, length))
        start, length = place, 1
    if length:
        runs.append((start, length))
    return runs
