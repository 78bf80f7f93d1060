"""When an app under test is idle: a condition of its event loop, not of the time or the CPU that it takes.

Textual's own pilot calls an app idle that hardly used the CPU for some milliseconds. A process that other programs
keep from running hardly uses the CPU either, so on a busy machine its answer is a guess.
"""

from __future__ import annotations

import asyncio
from typing import Any

import textual.app
import textual.pilot

FRAME_S = 0.025
"""Timers due within this time are waited for: Textual draws 60 times a second. A test waits for longer ones itself."""

MOST_FRAMES = 30
"""What still draws after so many frames draws for ever, as a layout does that has no room for its scrollbar."""

LONGEST_S = 10.0
"""A loop that never comes to rest, or a thread that waits for the test, is given up after this time."""


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
        elif wait_s <= FRAME_S:
            quiet_turns = 0
            frames += 1
            await asyncio.sleep(wait_s)
        elif _has_busy_thread(loop) or loop.time() < start + min_sleep:
            quiet_turns = 0
            await asyncio.sleep(0.001)
        else:
            quiet_turns += 1


def _has_busy_thread(loop: Any) -> bool:
    executor = loop._default_executor  # noqa: SLF001
    if executor is None:
        return False
    return bool(executor._work_queue.qsize() or executor._idle_semaphore._value < len(executor._threads))  # noqa: SLF001


def install() -> None:
    """Let every pilot wait like this."""
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]  # a name that they import
