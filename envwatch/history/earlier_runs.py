"""Earlier runs' changes, gaps, memory and uptimes for a new run.

Call `EarlierRuns.read` and `recorded_uptimes` in a thread: they read a disk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.run_before import unproven_ids, with_memory_of_run, with_run_before
from envwatch.alerts.uptime_record import UptimeRecord, is_server
from envwatch.fleet.anomalies import in_groups
from envwatch.fleet.events import NOT_RUNNING, Event, Kind, blind_after, leaves
from envwatch.fleet.presence import GONE, UNTIMED
from envwatch.fleet.profile_state import ProfileState, are_of_one_account, blind_since
from envwatch.fleet.replacement import named_by_device, renamed_events
from envwatch.fleet.tracking import CLOCK_ERROR_MS, Environments, TrackedEnvironment, events_between, with_last_known
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.watched_time import UptimeState, WatchedTime, states
from envwatch.history.past import HistoryError, Past, events_of
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs, WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.model.times import DAY_MS, MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.watched_time import Interval
    from envwatch.history.past import Moment


_SEARCHED_DAYS: Final = 31


LACKED: Final = clean("not in the first poll")
"""Reason of a row missing in a single listing; the second settles the absence."""


def changes_between_runs(before: Moment, first: Moment) -> Sequence[Event]:
    """Return the changes between two runs, grouped by `in_groups`.

    The result is empty without listings of the same organizations (key) on both sides.
    """
    old, new = before.profile_state, first.profile_state
    if old.listed is None or new.listed is None or not are_of_one_account(old.rows, new.rows):
        return ()
    listed_at = at = new.clock.server_time(new.listed.wall)
    ended_at = old.clock.server_time(before.now.wall)
    if 0 <= ended_at - at < CLOCK_ERROR_MS:
        # Two estimates of the server's clock may differ by more than this gap.
        at = ServerMs(ended_at + 1)
    environments, events = _compared(old, with_memory_of_run(new, old, at), at)
    unseen = blind_since(old, new.listed)
    unseen_since = None if unseen is None else new.clock.server_time(unseen.wall)
    grouped = in_groups(events, old.environments, environments, listed_at, unseen_since)
    return [_as_not_running(event) if event.kind is Kind.WHILE_BLIND else event for event in grouped]


def _compared(before: ProfileState, first: ProfileState, at: ServerMs) -> tuple[Environments, list[Event]]:
    environments: dict[SafeText, TrackedEnvironment] = {}
    events: list[Event] = []
    for id_, tracked in first.environments.items():
        if tracked.verdict.is_absent:  # expected, and never listed
            continue
        environments[id_] = tracked
        events += events_between(before.environments.get(id_), _comparable(tracked, before), at)
    unproven = unproven_ids(first)
    for id_, tracked in before.environments.items():
        if id_ in environments:
            continue
        if tracked.verdict.is_absent or id_ in unproven:
            environments[id_] = tracked
            continue
        environments[id_] = replace(tracked, verdict=GONE)
        gone = events_between(tracked, environments[id_], at)
        events += (event if tracked.absent else replace(event, reason=LACKED) for event in gone)
    events = named_by_device(events, environments)
    return environments, [*renamed_events(before.environments, environments, at), *events]


def _comparable(tracked: TrackedEnvironment, before: ProfileState) -> TrackedEnvironment:
    """Take flapping, an untimed verdict, and values dropped for offline rows from the earlier run."""
    known = before.environments.get(tracked.environment.id)
    if known is None or known.verdict.is_absent:
        return tracked
    verdict = known.verdict if tracked.verdict == UNTIMED else tracked.verdict
    row = tracked.environment if verdict.is_up else with_last_known(known.environment, tracked.environment)
    return replace(tracked, environment=row, verdict=verdict, is_flapping=known.is_flapping)


def _as_not_running(group: Event) -> Event:
    """Remove durations, because nobody watched how long earlier states lasted."""
    return replace(group, reason=NOT_RUNNING, members=tuple(replace(each, lasted=None) for each in group.members))


class EarlierRuns(NamedTuple):
    """A profile's records before this run's first outcome, by any process."""

    profile: SafeText
    events: Sequence[Event] = ()
    """Events in recording order, like `polls`."""
    polls: Sequence[RecordedPoll] = ()
    last: Moment | None = None
    """Moment after the last listing, up to 31 days back; None if missing or damaged."""

    @classmethod
    def read(cls, past: Past, profile: SafeText, lasts: timedelta, began: WallMs) -> EarlierRuns:
        """Return the records of the time `lasts` before `began`; raise `HistoryError` if unreadable."""
        until = WallMs(began - 1)
        since = WallMs(began - lasts / MS)
        polls = past.polls(since, until)
        # Another process may record meanwhile, so the last poll ends the period.
        events = events_of(past.steps(since, polls[-1].at)) if polls else ()
        return cls(profile, events, polls, _last_moment(past, polls, until))

    def gaps(self, since: WallMs) -> list[Event]:
        """Return a `while blind` event without members for each unrecorded gap, also right after `since`."""
        found: list[Event] = []
        until, before, interval_s = since, None, 0.0
        for poll in self.polls:
            if poll.result is not PollResult.LISTED:
                continue
            interval = timedelta(seconds=max(interval_s, poll.interval_s))
            if (before is None or poll.run != before.run) and poll.at - until > blind_after(interval) / MS:
                found.append(self._gap(until, poll.at))
            until, before, interval_s = poll.at, poll, poll.interval_s
        recorded = [event for event in self.events if event.reason == NOT_RUNNING and event.since is not None]
        return [gap for gap in found if not any(_overlap(gap, event) for event in recorded)]

    def until_now(self, first: Moment, since: WallMs) -> Sequence[Event]:
        """Return the changes from the last run to the first listing, or a gap."""
        if first.profile_state.listed is None:
            return ()
        if self.last is not None and (changes := changes_between_runs(self.last, first)):
            return changes
        last = None if self.last is None else self.last.profile_state.listed
        until = since if last is None else max(since, last.wall)
        is_blind = self.last is None or blind_since(self.last.profile_state, first.profile_state.listed) is not None
        return [self._gap(until, first.profile_state.listed.wall)] if is_blind else ()

    def _gap(self, since: WallMs, until: WallMs) -> Event:
        clock = ServerClock() if self.last is None else self.last.profile_state.clock
        at = clock.server_time(until)
        return Event(
            kind=Kind.WHILE_BLIND, at=at, profile=self.profile, since=clock.server_time(since), reason=NOT_RUNNING
        )

    def unchanged_for(self, first: Moment) -> timedelta | None:
        """Return the last run's age; None below `RESTART_MEMORY` or for another account."""
        if self.last is None or not are_of_one_account(self.last.profile_state.rows, first.profile_state.rows):
            return None
        age = self.last.profile_state.age(first.now)
        return None if age is None or age < limits.RESTART_MEMORY else age

    def seeded(self, monitor: Monitor, changes: Sequence[Event]) -> Monitor:
        """Return the monitor with these records, without new incidents or alerts.

        Another account's records are ignored. `changes` lead to the first listing; `monitor` may be later.
        """
        fleet = monitor.fleet
        profile_state = fleet.by_profile[self.profile]
        if self.last is not None and not are_of_one_account(self.last.profile_state.rows, profile_state.rows):
            return monitor
        monitor = monitor.with_past(self.profile, [*self.events, *changes], self.polls)
        if self.last is None:
            return monitor
        by_profile = {**fleet.by_profile, self.profile: with_run_before(profile_state, self.last.profile_state)}
        return replace(monitor, fleet=replace(fleet, by_profile=MappingProxyType(by_profile)))


def _overlap(gap: Event, other: Event) -> bool:
    return gap.since is not None and other.since is not None and gap.since < other.at and other.since < gap.at


def _last_moment(past: Past, polls: Sequence[RecordedPoll], until: WallMs) -> Moment | None:
    for _ in range(_SEARCHED_DAYS + 1):
        if listed := next((poll for poll in reversed(polls) if poll.result is PollResult.LISTED), None):
            try:
                return past.moment(listed)
            except HistoryError:  # the events may still be readable
                return None
        polls, until = past.polls(WallMs(until - DAY_MS), until), WallMs(until - DAY_MS)
    return None


_FIRST, _LAST = WallMs(-inf), WallMs(inf)
_UNCOUNTED: Final = {UptimeState.ABSENT, UptimeState.UNKNOWN}


def recorded_uptimes(past: Past) -> UptimeRecord:
    """Return a profile's uptime record; empty if the history is unreadable."""
    try:
        polls = past.polls(_FIRST, _LAST)
        listed = [poll for poll in polls if poll.result is PollResult.LISTED]
        if not listed:
            return UptimeRecord()
        first, last = past.moment(listed[0]), past.moment(listed[-1])
        events = events_of(past.steps(polls[0].at, polls[-1].at))
    except HistoryError:
        return UptimeRecord()
    return _record(polls, events, first, last)


def _record(polls: Sequence[RecordedPoll], events: Iterable[Event], first: Moment, last: Moment) -> UptimeRecord:
    profile_state = last.profile_state
    watched = WatchedTime.recorded(polls, events, profile_state.clock)
    if not watched.spans:
        return UptimeRecord()
    since, until = watched.spans[0].since, watched.spans[-1].until
    by_row: dict[SafeText, list[Event]] = defaultdict(list)
    for event, _ in leaves(events):
        if event.id is not None:
            by_row[event.id].append(event)
    watched_by = _watched_by(watched)
    began, at = first.profile_state.environments, first.profile_state.listed_at
    rows: dict[SafeText, Uptime] = {}
    for id_, tracked in profile_state.environments.items():
        first_row = began.get(id_)
        newest = Uptime(
            at=watched_by(until),
            is_up=tracked.verdict.is_up,
            is_first=first_row is not None and at is not None and is_server(first_row, at),
        )
        rows[id_] = _uptime(states(tracked, by_row[id_], watched, since, until), watched_by, newest)
    return UptimeRecord(watched_by(until), rows, has_begun=True)


def _watched_by(watched: WatchedTime) -> Callable[[float], float]:
    begins = [each.since for each in watched.spans]
    sums = [0.0, *accumulate(each.until - each.since for each in watched.spans)]

    def watched_by(at: float) -> float:
        place = bisect_right(begins, at) - 1
        span = watched.spans[place]
        return sums[place] + min(at, span.until) - span.since

    return watched_by


def _uptime(intervals: Iterable[Interval], watched_by: Callable[[float], float], now: Uptime) -> Uptime:
    uptime = None
    for each in intervals:
        is_up, at = None if each.state in _UNCOUNTED else each.state.is_up, watched_by(each.since)
        if uptime is not None:
            uptime = uptime.after(at, is_up=is_up)
        elif is_up is not None:
            uptime = now._replace(at=at, is_up=is_up)
    return now if uptime is None else uptime.after(now.at, is_up=now.is_up)
