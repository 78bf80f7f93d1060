"""How much longer a promised time may take on a machine that other programs keep busy."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Assert that something takes less than so many seconds on an idle machine; others may come and go meanwhile."""
    longest, started = scaled(seconds), time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < max(longest, scaled(seconds))


def scaled(seconds: float) -> float:
    """Return how long something may take now that takes at most so many seconds on an idle machine.

    A program that has to share its core with as many others as are runnable gets only its share of each second.
    """
    return seconds * (1 + max(os.getloadavg()[0], _runnable()))


def _runnable() -> int:
    """Count the threads that want a core at this moment; the average over a minute comes too late for a new load."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
