"""Listings too unlikely to be believed at once: the platform's own trouble, which must not read as ours.

Pure. A list that is suddenly empty, or in which many rows lose their heartbeat while keeping their connection, is
held until three listings in a row say the same. Heartbeats that stand still everywhere prove nothing of any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch.fleet.presence import Presence
from envwatch.model import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.text import Clean


_GRACE = limits.HEARTBEAT_EVERY * 1.5
"""A row may beat as late as one period after the platform recovers, and is not late before 45 s."""


class Anomaly(StrEnum):
    """What the platform's answer looks like."""

    EMPTIED = "the list came back empty"
    BEATS_LOST = "many rows lost their heartbeat"


@dataclass(frozen=True, slots=True)
class HeldListing:
    """An anomaly that is not believed yet."""

    anomaly: Anomaly
    listings: int = 1
    """Listings in a row that showed it."""


def anomaly_of(environments: Mapping[Clean, TrackedEnvironment], rows: Mapping[Clean, Environment]) -> Anomaly | None:
    """Return what is unlikely about the rows of a listing, given what was known before."""
    if not rows:
        known = sum(tracked.presence is not Presence.GONE for tracked in environments.values())
        return Anomaly.EMPTIED if known >= limits.ANOMALY_MIN else None
    lost = 0
    for id_, row in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (tracked := environments.get(id_)):
            before = tracked.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost >= limits.ANOMALY_MIN and lost > limits.LOST_BEATS_SHARE * len(rows):
        return Anomaly.BEATS_LOST
    return None


@dataclass(frozen=True, slots=True)
class StallDetector:
    """Whether the platform's heartbeats advance at all."""

    silent_for: float = 0.0
    """Seconds for which listings have come and none of them showed a heartbeat that had advanced."""
    is_stalled: bool = False
    resumed_at: float | None = None
    """When they moved again after standing still, monotonic seconds; None once every row has had time to beat."""

    @property
    def beats_count(self) -> bool:
        """Whether a row's silence proves anything."""
        return not self.is_stalled and self.resumed_at is None

    def after(self, monotonic: float, *, watched_for: float, online: int, has_advanced: bool) -> StallDetector:
        """Return the pulse after a listing.

        Args:
            monotonic: when the listing was asked for.
            watched_for: seconds since the listing before, as far as polls succeeded in between: what nobody watched
                proves no silence.
            online: how many rows were online.
            has_advanced: whether the heartbeat of any of those did.
        """
        if not has_advanced and online >= limits.STALL_ROWS:
            silent_for = self.silent_for + watched_for
            is_stalled = self.is_stalled or silent_for >= limits.STALL_AFTER.total_seconds()
            return replace(self, silent_for=silent_for, is_stalled=is_stalled)
        resumed_at = monotonic if self.is_stalled else self.resumed_at
        if resumed_at is not None and monotonic - resumed_at >= _GRACE.total_seconds():
            resumed_at = None
        return StallDetector(resumed_at=resumed_at)


def has_advanced(before: Environment, after: Environment) -> bool:
    """Whether a heartbeat came over one and the same connection: a new one brings a beat of its own, ping or no ping.

    Each row is compared with itself alone, so that neither a heartbeat from the future nor a wrong clock matters.
    """
    old, new = before.last_heartbeat_at, after.last_heartbeat_at
    return old is not None and new is not None and new > old and before.connection_id == after.connection_id
