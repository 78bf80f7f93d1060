"""Garbage collection and heap: rows of a large fleet live long and form no reference cycles.

Python runs full collections, which block keys for 0.1 s, while a listing is judged or recorded. So imports and the
first listing are frozen. Freezing again would keep garbage; instead, a timer collects old objects, in 12 ms at
10,000 rows.
"""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_DRAWN_AFTER_S: Final = 1.0
"""Seconds until a slow machine has drawn 10,000 rows."""

_THRESHOLDS: Final = (20_000, 2, 1_000_000)
"""Thresholds without full collections in practice."""

_FULL_EVERY_S: Final = 60.0
"""Textual's lines are reference cycles: 0.3 MiB of garbage a minute at a poll a second, measured."""

_SHARE: Final = 500
"""Full collections take at most 1/500 of the time; with 1/1,000, keys left 14 MiB of garbage at 1,000 rows."""

_MUCH_GARBAGE: Final = 20_000
"""Objects of garbage that make a collection slow, but not the next one. A longer wait would let more garbage pile up:
300 keys a minute left 60 MiB."""


def stop() -> None:
    """Stop collection: imports make hundreds of thousands of objects and hardly any garbage."""
    gc.disable()


def start_after_first_outcome(delay_s: float = _DRAWN_AFTER_S) -> Callable[..., None]:
    """Return an observer that starts collection once the first outcome is drawn."""
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
    """Start collection, with a timer for old objects."""
    import asyncio

    start()
    loop = asyncio.get_running_loop()

    def collect() -> None:
        began = time.thread_time()
        freed = gc.collect()
        trim_heap()
        loop.call_later(wait_after(freed, time.thread_time() - began, every_s), collect)

    loop.call_later(every_s, collect)


def wait_after(freed: int, took_s: float, every_s: float) -> float:
    """Return the seconds until the next full collection, by the freed objects and the CPU time of the last one."""
    return every_s if freed >= _MUCH_GARBAGE else max(every_s, took_s * _SHARE)


_M_ARENA_MAX: Final = -8  # of glibc's `malloc.h`


def share_heap() -> None:
    """Let all threads share a heap; call before the first thread starts.

    glibc gives threads separate heaps: after ten minutes of time travel, 7 MiB were free but unused.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Return free pages of the heap to the system."""
    import ctypes

    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
