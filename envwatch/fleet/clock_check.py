"""A second opinion on a heartbeat's age: for how long listings have held it, whatever a server's `Date` says.

Pure. A heartbeat is at least as old as the first listing that holds it. If it was seen to advance, it is younger than
the last listing that held the one before. The first is measured by the monotonic clock, which may stand still while
this machine sleeps; the second in *elapsed* milliseconds, each gap between two listings by whichever clock says more.
So both hold after a sleep as well.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import MonotonicS
from envwatch.model.times import MS

if TYPE_CHECKING:
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText

_TOLERANCE_MS = limits.SKEW_TOLERANCE / MS


class LastHeartbeat(NamedTuple):
    """The newest heartbeat of an environment."""

    connection_id: SafeText
    """The connection that it came over."""
    at: ServerMs
    elapsed_ms: float
    """When a listing last held it: milliseconds elapsed since the first listing."""


class SkewCheck(NamedTuple):
    """When listings began to hold a heartbeat, and which times of the server's clock that rules out."""

    listed_at: MonotonicS = MonotonicS(0.0)
    """When the first listing that holds it was asked for."""
    previous_elapsed_ms: float | None = None
    """`LastHeartbeat.elapsed_ms` of the heartbeat before; None if it was never seen to advance."""
    lowest_ms: float = -inf
    """Server's clock minus monotonic clock: if less, the heartbeat would be younger than the time it was listed for."""
    highest_ms: float = inf
    """Server's clock minus elapsed time: if more, the heartbeat would be older than the one before."""

    @classmethod
    def for_heartbeat(
        cls, beat_at: ServerMs, listed_at: MonotonicS, previous_elapsed_ms: float | None = None
    ) -> SkewCheck:
        """Return the check of a heartbeat; the arguments are as the fields describe them."""
        highest_ms = inf if previous_elapsed_ms is None else beat_at - previous_elapsed_ms + _TOLERANCE_MS
        return cls(listed_at, previous_elapsed_ms, beat_at - listed_at * 1000 - _TOLERANCE_MS, highest_ms)

    def least_age_ms(self, now: MonotonicS) -> float:
        """Return how old the heartbeat is at least."""
        return (now - self.listed_at) * 1000

    def contradicts(self, at: ServerMs, now: MonotonicS, elapsed_ms: float) -> bool:
        """Whether the server's clock makes the heartbeat younger or older than it can be."""
        return at - now * 1000 < self.lowest_ms or at - elapsed_ms > self.highest_ms
