"""A profile's watched time, and an environment's states and outages.

Times are by the server's clock in ms, because this machine's clock may be set; past polls are converted with the
present offset. During a gap the state is unknown, because a later change has no known moment. Late counts as up.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Event, Kind, blind_after, is_never_seen
from envwatch.fleet.presence import UNTIMED, Presence, Reason
from envwatch.fleet.profile_state import ProfileState, blind_since
from envwatch.fleet.replacement import is_replacement
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from envwatch.fleet.tracking import TrackedEnvironment


SPANS_KEPT: Final = 1_000
_UNSEEN: Final = frozenset({Kind.VISIBLE, Kind.SLEPT, Kind.WHILE_BLIND})
"""Events about an unwatched time, from `since` to `at`."""


class Span(NamedTuple):
    """A span of time."""

    since: ServerMs
    until: ServerMs


@dataclass(frozen=True, slots=True)
class WatchedTime:
    """The spans between believed listings."""

    spans: tuple[Span, ...] = ()
    """Spans are in order and do not overlap. A single listing is a span of no length."""

    @classmethod
    def recorded(cls, polls: Iterable[RecordedPoll], events: Iterable[Event], clock: ServerClock) -> WatchedTime:
        """Return the watched time of recorded polls, given in order.

        A span ends with a sleep, with the run, or without a listing within `blind_after`. `events` of the same
        time tell the believed listings.
        """
        spans: list[list[float]] = []  # by this machine's clock
        run: int | None = None
        interval_s = 0.0
        for _, at, result, poll_run, poll_interval_s in polls:
            longest_s, interval_s = max(interval_s, poll_interval_s), poll_interval_s
            if result is PollResult.FAILED:
                continue
            if result is PollResult.SLEPT:
                run = None
            elif run == poll_run and 0 <= at - spans[-1][1] <= _patience_ms(longest_s):
                spans[-1][1] = at
            else:
                spans.append([at, at])
                run = poll_run
        offset = clock.offset
        watched = cls(_united(Span(ServerMs(since + offset), ServerMs(until + offset)) for since, until in spans))
        for event in events:
            if event.kind in _UNSEEN and event.since is not None:
                watched = watched.without(event.since, event.at)
            if event.id is not None or event.members:
                watched = watched.begun_by(event.at)
        return watched

    def begun_by(self, asked_at: ServerMs) -> WatchedTime:
        """Return the watched time, extended to the request of a span's first listing."""
        place = bisect_right(self.spans, asked_at, key=attrgetter("since"))
        is_within = place > 0 and asked_at <= self.spans[place - 1].until
        # The longest time from a listing's request to the recorded poll.
        if is_within or place == len(self.spans) or self.spans[place].since - asked_at > limits.BLIND_AT_LEAST / MS:
            return self
        return WatchedTime(_united((*self.spans, Span(asked_at, self.spans[place].since))))

    def apply(self, before: ProfileState, profile_state: ProfileState) -> WatchedTime:
        """Return the watched time after an outcome."""
        if profile_state.listings == before.listings or profile_state.listed is None:
            return self
        at = profile_state.clock.server_time(profile_state.listed.wall)
        is_seen = (
            before.listed is not None
            and blind_since(before.with_interval(profile_state.interval), profile_state.listed) is None
        )
        if self.spans and (is_seen or at <= self.spans[-1].until):
            return self.seen_until(at)
        return WatchedTime((*self.spans[1 - SPANS_KEPT :], Span(at, at)))

    def seen_until(self, at: ServerMs) -> WatchedTime:
        """Return the watched time with the newest span extended."""
        if not self.spans or at <= self.spans[-1].until:
            return self
        return WatchedTime((*self.spans[:-1], Span(self.spans[-1].since, at)))

    def united(self, other: WatchedTime) -> WatchedTime:
        """Return the union of both watched times."""
        return WatchedTime(_united((*self.spans, *other.spans)))

    def without(self, since: ServerMs, until: ServerMs) -> WatchedTime:
        """Return the watched time without a span."""
        rest: list[Span] = []
        for each in self.spans:
            if since < each.until and each.since < until:
                rest += [Span(each.since, since)] if each.since <= since else []
                rest += [Span(until, each.until)] if until <= each.until else []
            else:
                rest.append(each)
        return WatchedTime(tuple(rest))

    def between(self, since: ServerMs, until: ServerMs) -> WatchedTime:
        """Return the watched time within a span."""
        return WatchedTime(
            tuple(
                Span(max(each.since, since), min(each.until, until))
                for each in self.spans
                if each.since <= until and since <= each.until
            )
        )

    def span_at(self, at: float) -> Span | None:
        """Return the span at a moment, the later of two adjacent spans."""
        place = bisect_right(self.spans, at, key=attrgetter("since")) - 1
        return self.spans[place] if place >= 0 and at <= self.spans[place].until else None

    @property
    def began_at(self) -> ServerMs | None:
        """The first span's begin."""
        return self.spans[0].since if self.spans else None

    @property
    def until(self) -> ServerMs | None:
        """The newest span's end."""
        return self.spans[-1].until if self.spans else None

    @property
    def shape(self) -> tuple[object, ...]:
        """A value that stays equal while only the newest span grows."""
        if not self.spans:
            return ()
        *earlier, newest = self.spans
        return (*earlier, newest.since, newest.since < newest.until)


NOT_WATCHED: Final = WatchedTime()


@lru_cache(64)
def _patience_ms(interval_s: float) -> float:
    return blind_after(span(interval_s * 1000)) / MS


def _united(spans: Iterable[Span]) -> tuple[Span, ...]:
    united: list[Span] = []
    for each in sorted(spans):
        if united and each.since <= united[-1].until:
            united[-1] = Span(united[-1].since, max(united[-1].until, each.until))
        else:
            united.append(each)
    return tuple(united)


class UptimeState(StrEnum):
    """An environment's state, worst first."""

    DOWN = "down"
    FLAPPING = "flapping"
    UP = "up"
    ABSENT = "absent"
    """Before the first appearance, or after a replacement."""
    UNKNOWN = "unknown"

    @property
    def is_up(self) -> bool:
        """Whether up or flapping."""
        return self in (UptimeState.UP, UptimeState.FLAPPING)


UNWATCHED: Final = clean("not watched")


class Interval(NamedTuple):
    """A time in a single state."""

    state: UptimeState
    since: ServerMs
    until: ServerMs
    reason: SafeText | None = None
    """Reason of the loss or unknown state."""

    @property
    def lasted(self) -> timedelta:
        """The duration."""
        return span(self.until - self.since)


def states(
    tracked: TrackedEnvironment | None,
    own_events: Sequence[Event],
    watched: WatchedTime,
    since: ServerMs,
    until: ServerMs,
) -> tuple[Interval, ...]:
    """Return an environment's states between two moments, without holes or equal neighbours.

    `tracked` is the environment after all events; None if untracked. `own_events` are oldest first, without groups, and
    complete from `since`.
    """
    states = _ValueHistory.from_changes(
        _presences(own_events), None if tracked is None else _presence_of(tracked), watched
    )
    is_flapping = tracked is not None and tracked.is_flapping
    if flaps := _flapping(own_events, watched, is_flapping=is_flapping):
        states = states.where_up(_ValueHistory.from_changes(flaps, _FLAPS if is_flapping else _UP, watched))
    intervals: list[Interval] = []
    end = since
    for each in watched.between(since, until).spans:
        _add(intervals, _GAP, end, each.since)
        states.add_to(intervals, *each)
        end = each.until
    _add(intervals, _GAP, end, until)
    return tuple(intervals)


def _add(intervals: list[Interval], what: _What, since: ServerMs, until: ServerMs) -> None:
    if since >= until:
        return
    state, reason = what
    if intervals and intervals[-1].state is state:
        last = intervals.pop()
        since, reason = last.since, last.reason or reason
    intervals.append(Interval(state, since, until, reason))


def uptime_state(tracked: TrackedEnvironment) -> UptimeState:
    """Return an environment's present state, even if not watched now."""
    if tracked.verdict.is_up:
        return UptimeState.FLAPPING if tracked.is_flapping else UptimeState.UP
    return _presence_of(tracked).state


class Outage(NamedTuple):
    """The time from a loss until the environment is seen up."""

    since: ServerMs
    """The loss, or the begin of the first interval."""
    until: ServerMs
    """When the environment was seen up again, or last seen down."""
    down: timedelta
    reason: SafeText | None
    is_over: bool = False
    began_before: bool = False
    """Whether no earlier state is known, so that the loss lies before `since`."""

    @property
    def unseen(self) -> timedelta:
        """The unwatched time within the outage."""
        return span(self.until - self.since) - self.down


def outages(intervals: Iterable[Interval]) -> tuple[Outage, ...]:
    """Return the outages, oldest first; a gap does not split an outage."""
    found: list[Outage] = []
    is_first = True
    for each in intervals:
        last = found[-1] if found and not found[-1].is_over else None
        if each.state is UptimeState.DOWN and last is None:
            found.append(Outage(each.since, each.until, each.lasted, each.reason, began_before=is_first))
        elif each.state is UptimeState.DOWN and last is not None:
            found[-1] = last._replace(until=each.until, down=last.down + each.lasted, reason=last.reason or each.reason)
        elif each.state is not UptimeState.UNKNOWN and last is not None:
            found[-1] = last._replace(is_over=True)
        is_first = is_first and each.state is UptimeState.UNKNOWN
    return tuple(found)


class _What(NamedTuple):
    state: UptimeState
    reason: SafeText | None = None


class _Change(NamedTuple):
    at: ServerMs
    before: _What | None
    after: _What


_UP: Final = _What(UptimeState.UP)
_FLAPS: Final = _What(UptimeState.FLAPPING)
_ABSENT: Final = _What(UptimeState.ABSENT)
_GAP: Final = _What(UptimeState.UNKNOWN, UNWATCHED)
_DOWN: Final = {reason: _What(UptimeState.DOWN, clean(reason)) for reason in Reason}

_STATES: Final[Mapping[str, UptimeState]] = {
    Presence.ONLINE.value: UptimeState.UP,
    Presence.OFFLINE.value: UptimeState.DOWN,
    Presence.GONE.value: UptimeState.DOWN,
}
_OF_PRESENCE: Final = frozenset({Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED})


@dataclass(frozen=True, slots=True)
class _ValueHistory:
    begins: Sequence[float]
    """The first begin is minus infinity."""
    values: Sequence[_What]

    @classmethod
    def from_changes(cls, changes: Sequence[_Change], now: _What | None, watched: WatchedTime) -> _ValueHistory:
        """Return the history of changes, oldest first; `now` is the present value.

        Between contradictory changes, an unseen change happened: the earlier value ends with the watched span at the
        latest.
        """
        if not changes:
            return cls((-inf,), (now or _ABSENT,))
        first = changes[0]
        begins, values = [-inf], [first.before or first.after]
        # The estimate of the server's clock may step back.
        moments = [*accumulate((change.at for change in reversed(changes)), min)][::-1]
        next_ones = [(at, change.before) for at, change in zip(moments[1:], changes[1:], strict=True)]
        known_at = inf if watched.until is None else watched.until
        for at, change, (next_at, before) in zip(moments, changes, [*next_ones, (known_at, now)], strict=True):
            begins.append(at)
            values.append(change.after)
            if before is not None and before.state is not change.after.state:
                seen = watched.span_at(at)
                begins.append(at if seen is None or seen.until >= next_at else seen.until)
                values.append(before)
        return cls(begins, values)

    def value_at(self, at: float) -> _What:
        return self.values[bisect_right(self.begins, at) - 1]

    def where_up(self, other: _ValueHistory) -> _ValueHistory:
        """Return the history with values of `other` while up."""
        begins = sorted({*self.begins, *other.begins})
        values = [(self.value_at(begin), other.value_at(begin)) for begin in begins]
        return _ValueHistory(begins, [other if own.state is UptimeState.UP else own for own, other in values])

    def add_to(self, intervals: list[Interval], since: ServerMs, until: ServerMs) -> None:
        place, begin = bisect_right(self.begins, since) - 1, since
        while begin < until:
            following = self.begins[place + 1] if place + 1 < len(self.begins) else until
            end = min(ServerMs(following), until)
            _add(intervals, self.values[place], begin, end)
            place, begin = place + 1, end


def _presences(own_events: Iterable[Event]) -> list[_Change]:
    """Return the changes; a row that appears again was gone before."""
    changes: list[_Change] = []
    is_gone = is_replaced = False
    for event in own_events:
        if is_replacement(event):
            changes.append(_Change(event.at, None, _ABSENT))
            is_replaced = True
            continue
        if event.kind not in _OF_PRESENCE:
            continue
        before = None
        if event.before is not None:
            before = _What(_STATES.get(event.before, UptimeState.UNKNOWN))
        elif event.kind is Kind.APPEARED or is_never_seen(event):
            before = _What(UptimeState.DOWN if is_gone else UptimeState.ABSENT)
        if is_replaced:
            before = _ABSENT
        presence = event.after or event.kind
        is_replaced = is_replaced and presence == Presence.GONE.value
        if is_replaced:
            continue  # the server drops the old name's row
        changes.append(_Change(event.at, before, _What(_STATES.get(presence, UptimeState.UNKNOWN), event.reason)))
        is_gone = presence == Presence.GONE.value
    return changes


def _flapping(own_events: Iterable[Event], watched: WatchedTime, *, is_flapping: bool) -> list[_Change]:
    """Return the changes of flapping; a row that goes or appears does not flap.

    Flapping inherited from an earlier run begins with the watched span.
    """
    changes: list[_Change] = []

    def flap_until(at: ServerMs) -> None:
        if not changes or changes[-1].after is not _FLAPS:
            seen = watched.span_at(at)
            begin = at if seen is None else seen.since
            changes.append(_Change(max(begin, changes[-1].at) if changes else begin, _UP, _FLAPS))

    for event in own_events:
        if event.kind is Kind.FLAPPING:
            changes.append(_Change(event.at, _UP, _FLAPS))
        elif event.kind is Kind.STEADY:
            flap_until(event.at)
            changes.append(_Change(event.at, _FLAPS, _UP))
        elif event.kind in (Kind.APPEARED, Kind.GONE):
            changes.append(_Change(event.at, None, _UP))
    if is_flapping and watched.until is not None:
        flap_until(watched.until)
    return changes


def _presence_of(tracked: TrackedEnvironment) -> _What:
    if tracked.verdict == UNTIMED:
        return _What(UptimeState.UNKNOWN, clean(tracked.verdict.reason))
    if tracked.replaced_by is not None:
        return _ABSENT
    return _UP if tracked.verdict.is_up else _DOWN[tracked.verdict.reason]
