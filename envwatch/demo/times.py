"""Durations, spans and times of day; all times of the demo are whole milliseconds since the epoch."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class TimeWindow(NamedTuple):
    """A time in which something goes on."""

    at: int
    until: int

    def covers(self, moment: float) -> bool:
        """Whether a moment lies in it; its end does not."""
        return self.at <= moment < self.until


NEVER: Final = TimeWindow(0, 0)


def time_of_day(at: int) -> int:
    """Return the milliseconds since midnight at a moment, by this machine's time zone."""
    local = time.localtime(at / SECOND_MS)
    return local.tm_hour * HOUR_MS + local.tm_min * MINUTE_MS + local.tm_sec * SECOND_MS
