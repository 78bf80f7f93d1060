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
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.uptime_record import UptimeRecord, is_server
from envwatch.fleet.events import NOT_RUNNING, Event, Kind, blind_after, flatten, is_never_seen, leaves
from envwatch.fleet.profile_state import ProfileState, are_of_one_account, blind_since
from envwatch.fleet.tracking import CLOCK_ERROR_MS
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.watched_time import UptimeState, WatchedTime, states
from envwatch.history.past import HistoryError, Past, events_of
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs, WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.times import DAY_MS, MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.watched_time import Interval
    from envwatch.history.past import Moment
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


_SEARCHED_DAYS: Final = 31


_OF_LISTINGS: Final = frozenset(
    {
        Kind.APPEARED,
        Kind.ONLINE,
        Kind.OFFLINE,
        Kind.RECONNECTED,
        Kind.RESTARTED,
        Kind.GONE,
        Kind.RETURNED,
        Kind.MODE,
        Kind.VERSION,
        Kind.BRANCH,
        Kind.RENAMED,
        Kind.CHANGED,
        Kind.FLAPPING,
        Kind.STEADY,
        Kind.TOGETHER,
        Kind.WHILE_BLIND,
    }
)
"""Kinds of events found by comparing two listings."""


class Seam(NamedTuple):
    """The first listings after a recorded moment, seen as by one run that was blind meanwhile.

    The recording may have ended with another run, or paused while the disk was slow.
    """

    state: ProfileState
    """The state that knows the recorded moment."""
    ended_at: ServerMs
    """The recorded moment."""

    @classmethod
    def after(cls, before: Moment, profile_state: ProfileState) -> Seam | None:
        """Return the seam between a recorded moment and a run; None if the moment knows no listing.

        `profile_state` is any state of the run.
        """
        if before.profile_state.listed is None:
            return None
        begin = ProfileState(
            limits=profile_state.limits,
            profile=profile_state.profile,
            profile_name=profile_state.profile_name,
            server=profile_state.server,
            expect=profile_state.expect,
        )
        return cls(
            begin.resuming(before.profile_state.as_last_run), before.profile_state.clock.server_time(before.now.wall)
        )

    @property
    def is_over(self) -> bool:
        """Whether the run knows all that the recorded moment knew."""
        return self.state.listed is not None and not self.state.last_run.rows

    def after_outcome(
        self, outcome: Outcome, own: Sequence[Event] = (), kept: Collection[SafeText] = frozenset()
    ) -> tuple[Seam, Sequence[Event]]:
        """Return the seam after a poll, and the events of the poll; `own` are the run's events, `kept` as in `apply`.

        The run itself begins with a silent baseline, so its first listing has other events, and later it does not know
        the rows that no listing has had yet.
        """
        before = self.state
        state, found = before.apply(outcome, kept)
        if before.listed is None:
            changes = [event for event in found if _is_of_listings(event)]
            others = [event for event in own if not _is_of_listings(event)]
        else:
            known = {(event.kind, event.id) for event in flatten(own)}
            unknown = (event for event in flatten(found) if (event.kind, event.id) not in known)
            changes = [event for event in unknown if event.id in before.last_run.rows]
            others = [*own]
        return self._replace(state=state), (*map(self._dated, changes), *others)

    def _dated(self, event: Event) -> Event:
        # Two estimates of the server's clock may differ by more than a short pause.
        if not 0 <= self.ended_at - event.at < CLOCK_ERROR_MS:
            return event
        return replace(event, at=ServerMs(self.ended_at + 1), members=tuple(map(self._dated, event.members)))


def _is_of_listings(event: Event) -> bool:
    """Whether an event says how rows changed; an expected row that no listing ever had is no change of a row."""
    return event.kind in _OF_LISTINGS and not is_never_seen(event)


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

    def seam(self, profile_state: ProfileState) -> Seam | None:
        """Return the seam between the last recorded moment, if any, and a run in any of its states."""
        return None if self.last is None else Seam.after(self.last, profile_state)

    def until_now(self, events: Sequence[Event], first: ProfileState, since: WallMs) -> Sequence[Event]:
        """Return the events of the first listing, after a gap if nobody looked for long and nothing changed."""
        if first.listed is None or any(event.reason == NOT_RUNNING for event in events):
            return events
        last = None if self.last is None else self.last.profile_state.listed
        until = since if last is None else max(since, last.wall)
        is_blind = self.last is None or blind_since(self.last.profile_state, first.listed) is not None
        return (self._gap(until, first.listed.wall), *events) if is_blind else events

    def _gap(self, since: WallMs, until: WallMs) -> Event:
        clock = ServerClock() if self.last is None else self.last.profile_state.clock
        at = clock.server_time(until)
        return Event(
            kind=Kind.WHILE_BLIND, at=at, profile=self.profile, since=clock.server_time(since), reason=NOT_RUNNING
        )

    def unchanged_for(self, first: ProfileState, now: Clocks) -> timedelta | None:
        """Return the last run's age; None below `RESTART_MEMORY` or for another account."""
        if self.last is None or not are_of_one_account(self.last.profile_state.rows, first.rows):
            return None
        age = self.last.profile_state.age(now)
        return None if age is None or age < limits.RESTART_MEMORY else age

    def seeded(self, monitor: Monitor, outcomes: Sequence[Outcome]) -> tuple[Monitor, Sequence[Event]]:
        """Return the monitor with these records, and the changes since the last run, without new incidents or alerts.

        `outcomes` are all of this run so far. Another account's records are ignored.
        """
        fleet = monitor.fleet
        profile_state = fleet.by_profile[self.profile]
        if self.last is None:
            return monitor.with_past(self.profile, self.events, self.polls), ()
        if not are_of_one_account(self.last.profile_state.rows, profile_state.rows):
            return monitor, ()
        kept = monitor.incidents.lost_of(self.profile)
        seam, changes = self.seam(profile_state), list[Event]()
        for outcome in outcomes:
            if seam is not None:
                seam, found = seam.after_outcome(outcome, kept=kept)
                changes += found
        monitor = monitor.with_past(self.profile, [*self.events, *changes], self.polls)
        if seam is None or seam.state.listed is None:
            return monitor, changes
        resumed = replace(
            profile_state,
            environments=seam.state.environments,
            last_run=seam.state.last_run,
            has_moved_identity=seam.state.has_moved_identity,
        )
        monitor = replace(monitor, fleet=fleet.with_profile_state(self.profile, resumed))
        record = monitor.uptime_records.get(self.profile)
        return (monitor if record is None else monitor.with_uptime_record(self.profile, record)), changes


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
