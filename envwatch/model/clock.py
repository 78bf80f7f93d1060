"""Instants typed by clock, so that mypy reports a mix-up; the machine's clocks; estimates of the server's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple, NewType

from envwatch.model import limits

ServerMs = NewType("ServerMs", float)
"""Ms since the epoch by the server's clock, as in rows."""
WallMs = NewType("WallMs", float)
"""Ms since the epoch by this machine's wall clock."""
MonotonicS = NewType("MonotonicS", float)
"""Seconds of this machine's monotonic clock."""

ESTIMATES_DIFFER_MS: Final = 1_000.0
"""Largest difference between two listings' estimates of the server's clock at a moment."""


class Clocks(NamedTuple):
    """This machine's clocks at a moment."""

    wall: WallMs
    monotonic: MonotonicS
    """This clock cannot be set, but may stop during sleep."""

    def slept_since(self, earlier: Clocks) -> bool:
        """Whether the machine slept, or the wall clock was set."""
        return abs(self.drift_since(earlier)) > limits.SLEPT_FROM.total_seconds()

    def drift_since(self, earlier: Clocks) -> float:
        """Return the wall clock's advance minus the monotonic clock's, in seconds."""
        return (self.wall - earlier.wall) / 1000 - (self.monotonic - earlier.monotonic)

    def not_before(self, other: Clocks) -> Clocks:
        """Return the later moment by the monotonic clock.

        The wall clock may have been set, so the wall time advances by 0 up to the monotonic difference.
        """
        monotonic = max(self.monotonic, other.monotonic)
        wall = WallMs(self.wall + (monotonic - self.monotonic) * 1000)
        return Clocks(max(self.wall, min(other.wall, wall)), monotonic)


class OffsetBounds(NamedTuple):
    """Bounds of the server's clock minus this machine's wall clock, in ms."""

    low: float
    high: float

    @classmethod
    def of_answer(cls, date: float, asked: float, answered: float) -> OffsetBounds:
        """Return the bounds from a response's `Date` header, cut to the second; all times are in ms.

        The server read the clock between the request and the arrival of the response's head.
        """
        return cls(date - answered, date + 1000 - asked)


@dataclass(frozen=True)  # without slots: every row asks for the cached offset
class ServerClock:
    """An estimate from the newest responses."""

    samples: tuple[OffsetBounds, ...] = ()

    @property
    def bounds(self) -> OffsetBounds | None:
        """The intersection of all samples; None without samples."""
        if not self.samples:
            return None
        return OffsetBounds(max(s.low for s in self.samples), min(s.high for s in self.samples))

    @cached_property
    def offset(self) -> float:
        """The middle of the bounds in ms; 0 without samples."""
        bounds = self.bounds
        return (bounds.low + bounds.high) / 2 if bounds else 0.0

    @property
    def is_known(self) -> bool:
        """Whether any response had a `Date`."""
        return bool(self.samples)

    @property
    def is_far_off(self) -> bool:
        """Whether to warn of a wrong local clock."""
        return abs(self.offset) >= limits.CLOCK_WARN_FROM / timedelta(milliseconds=1)

    def with_bounds(self, bounds: OffsetBounds) -> ServerClock:
        """Return the clock after a response; if samples contradict each other, only the newest stays."""
        latest = ServerClock((*self.samples[1 - limits.CLOCK_SAMPLES :], bounds))
        agreed = latest.bounds
        return latest if agreed is not None and agreed.low <= agreed.high else ServerClock((bounds,))

    def server_time(self, wall: WallMs) -> ServerMs:
        """Return the server's time at a wall time."""
        return ServerMs(wall + self.offset)
