"""Availability, and the worst state in each of the last 24 hours as cells.

Unwatched time, and time before an environment appeared, count neither as up nor as down. Cells move together, on the
hour of the user's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, tzinfo
from math import ceil, floor
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.watched_time import Interval, UptimeState, states, uptime_state
from envwatch.model.clock import Clocks, ServerMs
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS, long_age, moment, span

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.fleet.watched_time import WatchedTime


HOURS: Final = 24
HOUR_MS: Final = 3_600_000.0
_BY_SEVERITY: Final = tuple(reversed(UptimeState))
_SEVERITY: Final = {state: severity for severity, state in enumerate(_BY_SEVERITY)}


def first_hour(now: ServerMs, zone: tzinfo | None) -> ServerMs:
    """Return the start of the 24 hours up to the present hour (server's clock, ms).

    On the hour, the ended hour is present, because the new hour has no state.
    """
    when = moment(now, zone)
    offset = when.utcoffset() if when is not None else None
    offset_ms = 0.0 if offset is None else offset / MS
    return ServerMs((ceil((now + offset_ms) / HOUR_MS) - HOURS) * HOUR_MS - offset_ms)


def worst_states(intervals: Iterable[Interval], since: ServerMs, cell_ms: float, count: int) -> tuple[UptimeState, ...]:
    """Return the worst state in each cell; unknown if nothing is known."""
    cells = [0] * count
    for each in intervals:
        severity = _SEVERITY[each.state]
        first, end = floor((each.since - since) / cell_ms), ceil((each.until - since) / cell_ms)
        for place in range(max(first, 0), min(end, count)):
            if cells[place] < severity:  # noqa: PLR1730  twice as fast as `max`, for every cell of every row
                cells[place] = severity
    return tuple([_BY_SEVERITY[severity] for severity in cells])


class LastDays:
    """The last 24 hours of all environments at a moment.

    A row's results hold until its next event or state, the hour's end, or a gap.
    """

    def __init__(
        self,
        monitor: Monitor,
        now: Clocks,
        zone: tzinfo | None = None,
        earlier: Mapping[SafeText, _Profile] = MappingProxyType({}),
    ) -> None:
        self._monitor, self._now, self._zone = monitor, now, zone
        self._earlier = earlier
        self._profiles: dict[SafeText, _Profile] = {}
        self._has_hour: bool | None = None

    def as_of(self, monitor: Monitor, now: Clocks, zone: tzinfo | None) -> LastDays:
        """Return the hour cells at another moment, or `self` if no argument differs."""
        if self._monitor is monitor and self._now == now and self._zone == zone:
            return self
        return LastDays(monitor, now, zone, {**self._earlier, **self._profiles})

    def cells(self, tracked: TrackedEnvironment) -> tuple[UptimeState, ...]:
        """Return an environment's state in each hour, oldest first."""
        return self._profile(tracked.profile).cells(tracked, self._monitor.event_log.for_environment(tracked.key))

    def share(self, tracked: TrackedEnvironment) -> float | None:
        """See `Availability.share`."""
        return self._profile(tracked.profile).share(tracked, self._monitor.event_log.for_environment(tracked.key))

    @property
    def has_hour(self) -> bool:
        """Whether any profile was watched for an hour of the last day."""
        if self._has_hour is None:
            self._has_hour = any(self._profile(profile).watched_ms >= HOUR_MS for profile in self._monitor.watched)
        return self._has_hour

    def _profile(self, profile: SafeText) -> _Profile:
        found = self._profiles.get(profile)
        if found is None:
            at = self._monitor.fleet.by_profile[profile].clock.server_time(self._now.wall)
            since, watched = first_hour(at, self._zone), self._monitor.watched_at(profile, self._now)
            found = self._profiles[profile] = _Profile(since, at, watched, self._earlier.get(profile))
        return found


@dataclass(slots=True)
class _Entry:
    own_events: Sequence[Event]
    state: UptimeState
    intervals: Sequence[Interval]
    until: float
    up_s: float
    known_s: float
    cells: tuple[UptimeState, ...] | None = None


class _Profile:
    def __init__(self, since: ServerMs, now: ServerMs, watched: WatchedTime, earlier: _Profile | None) -> None:
        self._since, self._now, self._watched = since, now, watched
        self._until = since if watched.until is None else watched.until
        self.holds_for = (since, watched.shape, ceil((self._until - since) / HOUR_MS))
        are_valid = earlier is not None and earlier.holds_for == self.holds_for
        self.entries: dict[Hashable, _Entry] = earlier.entries if earlier is not None and are_valid else {}
        self._shares: dict[UptimeState, float | None] = {}

    @property
    def watched_ms(self) -> float:
        return sum(each.until - each.since for each in self._watched.between(self._since, self._now).spans)

    def cells(self, tracked: TrackedEnvironment, own_events: Sequence[Event]) -> tuple[UptimeState, ...]:
        entry = self._entry(tracked, own_events, uptime_state(tracked))
        if entry.cells is None:
            entry.cells = worst_states(entry.intervals, self._since, HOUR_MS, HOURS)
        return entry.cells

    def share(self, tracked: TrackedEnvironment, own_events: Sequence[Event]) -> float | None:
        state = uptime_state(tracked)
        if own_events:
            return self._share(self._entry(tracked, own_events, state))
        if state not in self._shares:
            self._shares[state] = self._share(self._entry(tracked, own_events, state))
        return self._shares[state]

    def _share(self, entry: _Entry) -> float | None:
        longer = 0.0 if entry.state is UptimeState.UNKNOWN else (self._until - entry.until) / 1000
        known = entry.known_s + longer
        return (entry.up_s + longer * entry.state.is_up) / known if known > 0 else None

    def _entry(self, tracked: TrackedEnvironment, own_events: Sequence[Event], state: UptimeState) -> _Entry:
        key: Hashable = tracked.environment.id if own_events else (state,)
        found = self.entries.get(key)
        if found is None or found.state is not state or (own_events and found.own_events is not own_events):
            intervals = states(tracked, own_events, self._watched, self._since, self._now)
            up, known = Availability.from_intervals(intervals)
            up_s, known_s = up.total_seconds(), known.total_seconds()
            found = self.entries[key] = _Entry(own_events, state, intervals, self._until, up_s, known_s)
        return found


DAY: Final = timedelta(days=1)
_AT_LEAST: Final = timedelta(minutes=1)
"""Least known time for a share; a day lacking less counts as whole."""


class Availability(NamedTuple):
    """An environment's time up, and time with a known state."""

    up: timedelta
    known: timedelta

    @classmethod
    def from_intervals(cls, intervals: Iterable[Interval]) -> Availability:
        """Return the availability in a sequence of states."""
        up_ms = down_ms = 0.0
        for state, since, until, _ in intervals:
            if state.is_up:
                up_ms += until - since
            elif state is UptimeState.DOWN:
                down_ms += until - since
        return cls(span(up_ms), span(up_ms + down_ms))

    @property
    def share(self) -> float | None:
        """Share from 0 to 1; None if less than a minute is known."""
        return None if self.known < _AT_LEAST else self.up / self.known


def availability_text(availability: Availability) -> SafeText | None:
    """Return the last day's availability in words; None without a share."""
    share, known = availability.share, availability.known
    if share is None:
        return None
    of = "24h" if known > DAY - _AT_LEAST else f"the {long_age(known)} watched in 24h"
    return clean(f"up {percent_text(share)} of {of}")


def percent_text(share: float) -> SafeText:
    """Return a percentage: 100 % only without a gap, 0 % only for no time at all."""
    permille = max(floor(share * 1000), 1 if share > 0 else 0)
    return clean(f"{permille // 10} %" if permille in (0, 1000) else f"{permille / 10:.1f} %")
