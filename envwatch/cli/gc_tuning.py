"""GC tuning: the rows of a large fleet are long-lived and form no reference cycles.

With Python's defaults, each full collection of a large fleet blocks the keys for a tenth of a second. What is imported
and the first listing are frozen, once. Nothing is frozen later: freezing keeps the garbage of that moment, 0.1 to
0.4 MiB with every poll.

Python starts a full collection while many objects are made: while a listing is judged or recorded, when a collection
takes longest. So a timer collects the oldest generation instead. The timer's collection looks at the rows that changed
since the first listing: 12 ms at 10,000 rows.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_DRAWN_AFTER_S: Final = 1.0
"""From the first outcome until it has been judged and drawn, also at 10,000 rows on a slow machine."""

_THRESHOLDS: Final = (20_000, 2, 1_000_000)
"""New objects per collection of the youngest generation, such collections per collection of the second generation, and
collections of the second generation per full collection: in effect no full collection."""

_FULL_EVERY_S: Final = 60.0
"""Least time between full collections. Textual's lines are reference cycles. At one poll a second, about 3,000 of their
objects a minute (0.3 MiB) become old before they are garbage (measured)."""

_SHARE: Final = 5_000
"""A full collection takes at most one part in so many of the time until the next one."""


def stop() -> None:
    """Collect nothing during imports, which make hundreds of thousands of objects and hardly any garbage."""
    gc.disable()


def start_after_first_outcome(delay_s: float = _DRAWN_AFTER_S) -> Callable[..., None]:
    """Return an observer of a session that starts collections once, after the first outcome was judged and drawn."""
    import asyncio

    is_scheduled = False

    def observe(*_: object) -> None:
        nonlocal is_scheduled
        if not is_scheduled:
            is_scheduled = True
            asyncio.get_running_loop().call_later(delay_s, keep_collecting)

    return observe


def start() -> None:
    """Collect young objects rarely, at most about 80,000 at once, and never the objects that exist by now."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


def keep_collecting(every_s: float = _FULL_EVERY_S) -> None:
    """Start collections in a program that runs for long; the running loop's timer collects old objects."""
    import asyncio

    start()
    asyncio.get_running_loop().call_later(every_s, _collect_all, every_s)


def _collect_all(every_s: float) -> None:
    import asyncio

    began = time.perf_counter()
    gc.collect()
    took_s = time.perf_counter() - began
    asyncio.get_running_loop().call_later(max(every_s, took_s * _SHARE), _collect_all, every_s)
