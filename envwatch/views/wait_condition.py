"""What `wait` waits for: that so many environments match a query, or that none does. Pure.

Only a complete listing that is believed proves anything, and only of rows that can be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.events import NO_PROFILE
from envwatch.query.field_types import MatchContext
from envwatch.views.table.columns import COLUMNS
from envwatch.views.table.table_view import in_default_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText
    from envwatch.query.language import Query


class Progress(NamedTuple):
    """How far a condition is met."""

    matching: Sequence[TrackedEnvironment]
    """Problems first."""
    is_met: bool
    is_proven: bool
    """Whether every profile is visible: not blind, quarantined or stalled, and listed at least once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitCondition:
    """What is waited for."""

    queries: Sequence[Query]
    """An environment matches if it matches all of them."""
    count: int = 1
    """How many must match."""
    is_absence: bool = False
    """Whether none must match instead."""
    profile_name: SafeText = NO_PROFILE
    """The profile's name where only one is watched."""

    def progress(self, monitor: Monitor, now: Clocks) -> Progress:
        """Return how far the condition is met after a listing.

        What is gone or missing matches only a query for states, as it is listed no more. An environment that cannot be
        judged does not count as matching, and is no proof that none matches.
        """
        fleet = monitor.fleet
        matching = in_default_order(
            tracked for profile_state in fleet for tracked in self._matching(profile_state, monitor)
        )
        known = [tracked for tracked in matching if not fleet.for_environment(tracked).is_unknown(tracked, now)]
        is_proven = all(
            monitor.sees(profile, now)
            and profile_state.listed is not None
            and not profile_state.stall_detector.is_stalled
            for profile, profile_state in fleet.by_profile.items()
        )
        is_met = not matching if self.is_absence else len(known) >= self.count
        return Progress(matching if self.is_absence else known, is_met and is_proven, is_proven)

    def _matching(self, profile_state: ProfileState, monitor: Monitor) -> Iterator[TrackedEnvironment]:
        if profile_state.listed is None:
            return
        context = MatchContext(
            profile_state.clock.server_time(profile_state.listed.wall), monitor.is_acked, self.profile_name
        )
        tests = [query.test(context, tuple(COLUMNS.values())) for query in self.queries]
        has_states = any(query.demands("status") for query in self.queries)
        for tracked in profile_state.environments.values():
            if (has_states or not tracked.presence.is_absent) and all(test(tracked) for test in tests):
                yield tracked
