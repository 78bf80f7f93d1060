"""Types of instants, this machine's two clocks, and an estimate of the server's clock.

An instant has the clock's type, so that mypy reports a mix-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple, NewType

from envwatch.model import limits

ServerMs = NewType("ServerMs", float)
"""Milliseconds since the epoch by the server's clock, as in rows."""
WallMs = NewType("WallMs", float)
"""Milliseconds since the epoch by this machine's wall clock."""
MonotonicS = NewType("MonotonicS", float)
"""Seconds since some start by this machine's monotonic clock."""

ESTIMATES_DIFFER_MS: Final = 1_000.0
"""Each listing estimates the server's clock anew. Two estimates of a moment differ by at most this."""


class Clocks(NamedTuple):
    """This machine's clocks at one moment."""

    wall: WallMs
    monotonic: MonotonicS
    """Cannot be set, but may stand still while the machine sleeps."""

    def slept_since(self, earlier: Clocks) -> bool:
        """Whether the machine slept, or the wall clock was set."""
        return abs(self.drift_since(earlier)) > limits.SLEPT_FROM.total_seconds()

    def drift_since(self, earlier: Clocks) -> float:
        """Return by how many seconds more the wall clock advanced than the monotonic clock."""
        return (self.wall - earlier.wall) / 1000 - (self.monotonic - earlier.monotonic)

    def not_before(self, other: Clocks) -> Clocks:
        """Return the later moment by the monotonic clock.

        The wall clock may have been set, so the wall time of a later `other` is clamped: from `self.wall` to
        `self.wall` plus the monotonic difference.
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
        """Return the bounds from a response: the server read `date` between request and response.

        `date` is the `Date` header in ms, cut to the second. `answered` is the time when the response's head arrived.
        """
        return cls(date - answered, date + 1000 - asked)


@dataclass(frozen=True)  # without slots: every row asks for the cached offset
class ServerClock:
    """An estimate of the server's clock from the newest 12 responses."""

    samples: tuple[OffsetBounds, ...] = ()

    @property
    def bounds(self) -> OffsetBounds | None:
        """The intersection of all samples."""
        if not self.samples:
            return None
        return OffsetBounds(max(s.low for s in self.samples), min(s.high for s in self.samples))

    @cached_property
    def offset(self) -> float:
        """The middle of the bounds in ms; 0 without samples, as if the server had the local clock."""
        bounds = self.bounds
        return (bounds.low + bounds.high) / 2 if bounds else 0.0

    @property
    def is_known(self) -> bool:
        """Whether any response had a `Date`."""
        return bool(self.samples)

    @property
    def is_far_off(self) -> bool:
        """Whether to warn that the local clock is wrong."""
        return abs(self.offset) >= limits.CLOCK_WARN_FROM / timedelta(milliseconds=1)

    def with_bounds(self, bounds: OffsetBounds) -> ServerClock:
        """Return the clock after a response; if the samples contradict each other, only the newest stays."""
        latest = ServerClock((*self.samples[1 - limits.CLOCK_SAMPLES :], bounds))
        agreed = latest.bounds
        return latest if agreed is not None and agreed.low <= agreed.high else ServerClock((bounds,))

    def server_time(self, wall: WallMs) -> ServerMs:
        """Return the server's time at a wall time."""
        return ServerMs(wall + self.offset)
