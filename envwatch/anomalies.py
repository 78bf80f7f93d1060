"""Listings too unlikely to be believed at once: the platform's own trouble, which must not read as ours.

Pure. A list that is suddenly empty, or in which many rows lose their heartbeat while keeping their connection, is
held until three listings in a row say the same. Heartbeats that stand still everywhere prove nothing of any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch import rules
from envwatch.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.models import Environment
    from envwatch.text import Clean
    from envwatch.watch import Watch


class Anomaly(StrEnum):
    """What the platform's answer looks like."""

    EMPTIED = "the list came back empty"
    BEATS_LOST = "many rows lost their heartbeat"


@dataclass(frozen=True, slots=True)
class Hold:
    """An anomaly that is not believed yet."""

    anomaly: Anomaly
    listings: int = 1
    """Listings in a row that showed it."""


def anomaly_of(watches: Mapping[Clean, Watch], rows: Mapping[Clean, Environment]) -> Anomaly | None:
    """Return what is unlikely about the rows of a listing, given what was known before."""
    if not rows:
        known = sum(watch.presence is not Presence.GONE for watch in watches.values())
        return Anomaly.EMPTIED if known >= rules.ANOMALY_MIN else None
    lost = 0
    for id_, row in rows.items():
        if row.last_heartbeat_at is None and row.connection_id and (watch := watches.get(id_)):
            before = watch.environment
            lost += before.last_heartbeat_at is not None and before.connection_id == row.connection_id
    if lost >= rules.ANOMALY_MIN and lost > rules.LOST_BEATS_SHARE * len(rows):
        return Anomaly.BEATS_LOST
    return None


@dataclass(frozen=True, slots=True)
class Pulse:
    """Whether the platform's heartbeats advance at all."""

    newest_at: float = 0.0
    """The newest heartbeat of any online row, server's clock in ms."""
    advanced_at: float = 0.0
    """When a listing last brought a newer one, monotonic seconds."""
    is_stalled: bool = False
    resumed_at: float | None = None
    """When they moved again after standing still, monotonic seconds; None once every row has had time to beat."""

    @property
    def beats_count(self) -> bool:
        """Whether a row's silence proves anything."""
        return not self.is_stalled and self.resumed_at is None

    def after(self, newest_at: float, online: int, monotonic: float) -> Pulse:
        """Return the pulse after a listing.

        Args:
            newest_at: the newest heartbeat of the rows that were online; 0 for none.
            online: how many rows were online.
            monotonic: when the listing was asked for.
        """
        if newest_at > self.newest_at or online < rules.STALL_ROWS:
            resumed_at = monotonic if self.is_stalled else self.resumed_at
            # A row may beat as late as one period after the platform recovers, and is not late before 45 s.
            grace = (rules.HEARTBEAT_EVERY * 1.5).total_seconds()
            if resumed_at is not None and monotonic - resumed_at >= grace:
                resumed_at = None
            return Pulse(max(newest_at, self.newest_at), monotonic, resumed_at=resumed_at)
        is_stalled = monotonic - self.advanced_at >= rules.STALL_AFTER.total_seconds()
        return Pulse(self.newest_at, self.advanced_at, self.is_stalled or is_stalled, self.resumed_at)
