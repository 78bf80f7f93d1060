"""Garbage collection, and the heap: rows of a large fleet live long and form no reference cycles.

By default, a full collection blocks keys for 0.1 s. Imports and the first listing are frozen once. Freezing again would
keep garbage, 0.1 to 0.4 MiB with every poll.

Python starts full collections while a listing is judged or recorded, when a collection takes longest. A timer collects
old objects instead: rows changed since the first listing, 12 ms at 10,000 rows.
"""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_DRAWN_AFTER_S: Final = 1.0
"""Seconds from the first outcome until 10,000 rows are drawn on a slow machine."""

_THRESHOLDS: Final = (20_000, 2, 1_000_000)
"""In effect, no full collection."""

_FULL_EVERY_S: Final = 60.0
"""Textual's lines are reference cycles: at a poll a second, 3,000 old objects a minute (0.3 MiB, measured) become
garbage."""

_SHARE: Final = 500
"""A full collection takes at most 1/500 of the time.

With 1/1,000, keys left 14 MiB of garbage at 1,000 rows: garbage prolongs a collection and delays the next."""


def stop() -> None:
    """Stop collection during imports, which make hundreds of thousands of objects and hardly any garbage."""
    gc.disable()


def start_after_first_outcome(delay_s: float = _DRAWN_AFTER_S) -> Callable[..., None]:
    """Return a session observer that starts collection once the first outcome is drawn."""
    import asyncio

    is_scheduled = False

    def observe(*_: object) -> None:
        nonlocal is_scheduled
        if not is_scheduled:
            is_scheduled = True
            asyncio.get_running_loop().call_later(delay_s, keep_collecting)

    return observe


def start() -> None:
    """Freeze present objects, and collect young objects rarely, at most about 80,000 at once."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


def keep_collecting(every_s: float = _FULL_EVERY_S) -> None:
    """Start collection in a long-running program, with a timer for old objects."""
    import asyncio

    start()
    loop = asyncio.get_running_loop()

    def collect() -> None:
        began = time.thread_time()
        gc.collect()
        trim_heap()
        took_s = time.thread_time() - began
        loop.call_later(max(every_s, took_s * _SHARE), collect)

    loop.call_later(every_s, collect)


_M_ARENA_MAX: Final = -8
"""From glibc's `malloc.h`."""


def share_heap() -> None:
    """Let all threads allocate from one heap; call before the first thread starts.

    glibc gives each of the first threads a heap. After ten minutes of time travel, 7 MiB were free and unused in the
    heaps of threads that read the past.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Return free pages of the heap to the system."""
    import ctypes

    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
