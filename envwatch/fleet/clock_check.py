"""The second witness: how old a heartbeat is by when the listings began to hold it, whatever a server's `Date` says.

Pure. A heartbeat is at least as old as the first listing that holds it. Where it was seen to advance, it is younger
than the last listing that still held the one before. The first is measured by the monotonic clock, which may stand
still while this machine sleeps, the second by whichever clock says more: so that both are true after a sleep as well.
"""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model import limits

if TYPE_CHECKING:
    from envwatch.model.text import Clean

_TOLERATED_MS = limits.SKEW_TOLERANCE / timedelta(milliseconds=1)


class LastHeartbeat(NamedTuple):
    """The newest heartbeat known of an environment."""

    connection_id: Clean
    """Over which connection it came."""
    at: float
    """By the server's clock, in ms."""
    listed_at: float
    """When a listing last held it: ms since the first listing, by whichever clock said more."""


class SkewCheck(NamedTuple):
    """When the listings began to hold a heartbeat, and which server's clocks that rules out."""

    since: float = 0.0
    """When the first listing that holds it was asked for, monotonic ms."""
    after: float | None = None
    """When a listing last held the one before, as `LastHeartbeat.listed_at`; None if it was never seen to advance."""
    lowest: float = -inf
    """The server's clock less the monotonic one cannot be less, or the heartbeat would be too young; in ms."""
    highest: float = inf
    """The server's clock less the time since the first listing cannot be more, or it would be too old; in ms."""

    @classmethod
    def of(cls, beat: float, since: float, after: float | None = None) -> SkewCheck:
        """Return the witness of a heartbeat, by the server's clock in ms; the rest as the fields have it."""
        highest = inf if after is None else beat - after + _TOLERATED_MS
        return cls(since, after, beat - since - _TOLERATED_MS, highest)

    def least(self, monotonic: float) -> float:
        """Return how old the heartbeat is at least at a moment of the monotonic clock, all in ms."""
        return monotonic - self.since

    def contradicts(self, at: float, monotonic: float, elapsed: float) -> bool:
        """Whether the server's clock makes the heartbeat younger or older than it can be.

        Args:
            at: now by the server's clock, in ms.
            monotonic: now by the monotonic clock, in ms.
            elapsed: since the first listing by whichever clock said more, in ms.
        """
        return at - monotonic < self.lowest or at - elapsed > self.highest
