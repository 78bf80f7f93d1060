"""The server's clock, read from its answers, and whether this machine's own clocks can be trusted.

Pure: every reading is an argument. Instants are milliseconds since the epoch, monotonic readings are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from envwatch.model import limits


@dataclass(frozen=True, slots=True)
class Reading:
    """This machine's two clocks at one moment."""

    wall: float
    """Milliseconds since the epoch."""
    monotonic: float
    """Seconds since some start; never set, and it may stand still while the machine sleeps."""

    def slept_since(self, earlier: Reading) -> bool:
        """Whether the clocks drifted apart in between: the machine slept, or its wall clock was set."""
        return abs(self.drift_since(earlier)) > limits.SLEPT_FROM.total_seconds()

    def drift_since(self, earlier: Reading) -> float:
        """Return by how many seconds the wall clock ran ahead of the monotonic one in between."""
        return (self.wall - earlier.wall) / 1000 - (self.monotonic - earlier.monotonic)


@dataclass(frozen=True, slots=True)
class OffsetBounds:
    """Server's clock minus ours, in milliseconds: somewhere from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def of_answer(cls, date: float, asked: float, answered: float) -> OffsetBounds:
        """Bound the offset by one answer.

        The server read `date` (cut to the second) at some moment between question and answer.

        Args:
            date: the `Date` header, milliseconds since the epoch.
            asked: our wall clock before the request.
            answered: our wall clock when the answer's head had come.
        """
        return cls(date - answered, date + 1000 - asked)


@dataclass(frozen=True, slots=True)
class ServerClock:
    """An estimate of the server's clock, from up to 12 answers."""

    samples: tuple[OffsetBounds, ...] = ()

    @property
    def bounds(self) -> OffsetBounds | None:
        """Where the offset can be, or None when no answer has told."""
        if not self.samples:
            return None
        return OffsetBounds(max(s.low for s in self.samples), min(s.high for s in self.samples))

    @property
    def offset(self) -> float:
        """The middle of the bounds in milliseconds; 0, so the local clock, when no answer has told."""
        bounds = self.bounds
        return (bounds.low + bounds.high) / 2 if bounds else 0.0

    @property
    def is_known(self) -> bool:
        """Whether any answer has told."""
        return bool(self.samples)

    @property
    def is_far_off(self) -> bool:
        """Whether the local clock is so wrong that a person should know."""
        return abs(self.offset) >= limits.CLOCK_WARN_FROM / timedelta(milliseconds=1)

    def after(self, bounds: OffsetBounds) -> ServerClock:
        """Return the clock after one more answer; it starts over when the answers contradict each other."""
        latest = ServerClock((*self.samples[1 - limits.CLOCK_SAMPLES :], bounds))
        agreed = latest.bounds
        if agreed is not None and agreed.low <= agreed.high:
            return latest
        return ServerClock((bounds,))

    def at(self, wall: float) -> float:
        """Return the server's time when our wall clock shows `wall`, both in milliseconds since the epoch."""
        return wall + self.offset
