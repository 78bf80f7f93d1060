"""When an app under test is idle: a condition of its event loop, not of the time or the CPU that it takes.

Textual's own pilot calls an app idle that hardly used the CPU for some milliseconds. A process that other programs
keep from running hardly uses the CPU either, so on a busy machine its answer is a guess.

Nothing waits for a frame either: where nothing but its moment is missing, the clock of the loop goes on to it. While a
thread is at work, it goes on as any clock does, or reading would seem slow.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import textual._time
import textual.app
import textual.pilot
from textual.screen import UPDATE_PERIOD

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAME_S = 2 * UPDATE_PERIOD + 0.001
"""Seconds within which a timer that is due is waited for: that of the next frame. It waits for up to two periods, as a
timer of Textual that comes late leaves out the period it is in and one more. A test waits for longer ones itself."""

MOST_FRAMES = 30
"""What still draws after so many frames draws for ever, as a layout does that has no room for its scrollbar."""

LONGEST_S = 10.0
"""A loop that never comes to rest is given up after this time."""

_held: set[int] = set()
"""Threads that wait for the test."""


@contextmanager
def held_by_the_test() -> Iterator[None]:
    """Let this thread of the loop, which waits until the test lets it go on, not count as being at work."""
    _held.add(threading.get_ident())
    try:
        yield
    finally:
        _held.discard(threading.get_ident())


async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = LONGEST_S) -> None:
    """Wait until no callback is ready, no frame is due, and no thread of the loop is at work.

    Args:
        min_sleep: seconds that the wait takes at least.
        max_sleep: ignored; Textual's callers pass none.
    """
    del max_sleep
    loop: Any = asyncio.get_running_loop()
    start = loop.time()
    quiet_turns = frames = 0
    while quiet_turns < 2 and frames < MOST_FRAMES and loop.time() < start + LONGEST_S:
        await asyncio.sleep(0)
        due_at = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=start + LONGEST_S)  # noqa: SLF001  asyncio has no public way to ask
        wait_s = max(due_at - loop.time(), 0.0)
        if loop._ready:  # noqa: SLF001
            quiet_turns = 0
        elif _has_busy_thread(loop) or loop.time() < start + min_sleep:
            quiet_turns = 0
            await asyncio.sleep(0.001)
        elif wait_s <= FRAME_S:
            quiet_turns = 0
            frames += 1
            skip(loop, wait_s)
        else:
            quiet_turns += 1


def _has_busy_thread(loop: Any) -> bool:
    executor = loop._default_executor  # noqa: SLF001
    if executor is None:
        return False
    at_work = len(executor._threads) - executor._idle_semaphore._value  # noqa: SLF001
    return bool(executor._work_queue.qsize() or at_work > len(_held))  # noqa: SLF001


def skip(loop: Any, seconds: float) -> None:
    """Let the clock of the loop go on by so many seconds at once."""
    loop.skipped = getattr(loop, "skipped", 0.0) + seconds


def _time_of(loop: object) -> float:
    return time.monotonic() + getattr(loop, "skipped", 0.0)


def install() -> None:
    """Let every pilot wait like this."""
    asyncio.BaseEventLoop.time = _time_of  # type: ignore[method-assign,assignment]
    textual._time.get_time = lambda: _time_of(asyncio._get_running_loop())  # noqa: SLF001  Textual's timers ask it
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]  # a name that they import
