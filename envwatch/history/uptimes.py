"""The uptime record, rebuilt from a recorded history."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from envwatch.fleet.events import leaves
from envwatch.fleet.outages import UptimeState, states
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.uptime_record import UptimeRecord, is_server
from envwatch.fleet.watched_time import WatchedTime
from envwatch.history.past import HistoryError, events_of
from envwatch.model.clock import WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.outages import Interval
    from envwatch.history.moment import Moment
    from envwatch.history.past import Past
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText

_FIRST, _LAST = WallMs(-inf), WallMs(inf)
_STATES = {
    UptimeState.UP: True,
    UptimeState.FLAPPING: True,
    UptimeState.DOWN: False,
    UptimeState.ABSENT: None,
    UptimeState.UNKNOWN: None,
}


def recorded_uptimes(past: Past) -> UptimeRecord:
    """Return the uptime record of a profile's history; an empty record if the history cannot be read."""
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
    """Return a function that returns the watched time up to a moment since the begin (server's clock), in ms."""
    begins = [each.since for each in watched.spans]
    sums = [0.0, *accumulate(each.until - each.since for each in watched.spans)]

    def watched_by(at: float) -> float:
        place = bisect_right(begins, at) - 1
        span = watched.spans[place]
        return sums[place] + min(at, span.until) - span.since

    return watched_by


def _uptime(intervals: Iterable[Interval], watched_by: Callable[[float], float], now: Uptime) -> Uptime:
    """Return the uptime after the intervals; `now` has the state that the newest listing found."""
    uptime = None
    for each in intervals:
        is_up, at = _STATES[each.state], watched_by(each.since)
        if uptime is not None:
            uptime = uptime.after(at, is_up=is_up)
        elif is_up is not None:
            uptime = now._replace(at=at, is_up=is_up)
    return now if uptime is None else uptime.after(now.at, is_up=now.is_up)
