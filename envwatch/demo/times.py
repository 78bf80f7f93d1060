"""Durations and spans of the demo, in ms since the epoch."""

from __future__ import annotations

from typing import Final, NamedTuple

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class TimeWindow(NamedTuple):
    """A span; `until` is excluded."""

    at: int
    until: int

    def covers(self, moment: float) -> bool:
        """Whether a moment is in the span."""
        return self.at <= moment < self.until
