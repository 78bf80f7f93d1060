"""Time limits on a machine that other programs keep busy."""

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
    """Assert that the context takes less than `seconds` of an idle machine; other load may come and go."""
    longest, started = scaled(seconds), time.monotonic()
    yield
    took = time.monotonic() - started
    assert took < max(longest, scaled(seconds))


def scaled(seconds: float) -> float:
    """Return a limit for now from a limit in seconds of an idle machine: runnable programs share the cores."""
    return seconds * (1 + max(os.getloadavg()[0], _runnable()))


def _runnable() -> int:
    """Count the threads that want a core now; the load average over a minute lags behind."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
