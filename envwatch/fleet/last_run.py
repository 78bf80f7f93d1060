"""The state at a profile's last look, by an earlier run of envwatch.

A new run takes this state before its first listing, so that the first listing is compared by the rules of any listing
after a blind time: nothing is lost between two runs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.model.clock import WallMs

if TYPE_CHECKING:
    from envwatch.fleet.tracking import Environments, TrackedEnvironment
    from envwatch.model.text import SafeText


class LastRun(NamedTuple):
    """The last look of the run before, and its rows that no listing of this run has settled yet.

    A listing settles a row if it has the row, or proves the row gone.
    """

    looked_at: WallMs = WallMs(-inf)
    """Request of the newest believed listing."""
    rows: Environments = MappingProxyType({})
    is_whole: bool = False
    """Whether `rows` are all rows of that listing, so that any further row is new."""
    is_stalled: bool = False
    """Whether the heartbeats stood still, and prove nothing until a heartbeat advances."""
    has_moved_identity: bool = False
    """See `ProfileState.has_moved_identity`."""
    interval: timedelta = timedelta()
    """The longest poll interval before the end of the run."""

    @property
    def ids_up(self) -> frozenset[SafeText]:
        """The ids of the rows that were up at the last look."""
        return frozenset(id_ for id_, tracked in self.rows.items() if tracked.verdict.is_up)


NO_RUN: Final = LastRun()


def without_clocks(tracked: TrackedEnvironment, profile: SafeText) -> TrackedEnvironment:
    """Return a row without what only the earlier run's clocks can measure.

    A heartbeat that no listing of this run has was listed at an unknown moment before this run's clocks began.
    """
    row, heartbeat = tracked.environment, tracked.last_known_heartbeat
    if heartbeat is None and row.connection_id and row.last_heartbeat_at is not None:
        heartbeat = LastHeartbeat(row.connection_id, row.last_heartbeat_at, -inf)
    return replace(
        tracked,
        profile=profile,
        skew_check=SkewCheck(),
        clock_suspect=False,
        has_impossible_time=False,
        last_known_heartbeat=None if heartbeat is None else heartbeat._replace(elapsed_ms=-inf),
    )
