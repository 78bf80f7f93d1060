"""A profile's recorded period, and the causes of unwatched time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from envwatch.alerts.acknowledgements import Acks, own_acks
from envwatch.fleet.events import ENDS, NOT_RUNNING, Event, Kind, blind_after, flatten
from envwatch.fleet.watched_time import Span, WatchedTime
from envwatch.history.past import HistoryError, LeftOut, Past, events_of, left_out_of
from envwatch.model import limits
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted
from envwatch.model.times import MS
from envwatch.views.events.matching import tracked_then

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from envwatch.fleet.tracking import Matcher, TrackedEnvironment
    from envwatch.history.past import Moment

LEAD: Final = timedelta(minutes=30)
"""How long before a period to read polls: the longest time between polls without a gap."""
_SLEPT, _BLIND, _NO_POLLS = map(clean, ("this machine slept", "blind", "no polls"))
_CAUSES: Final[Mapping[Kind, SafeText]] = {
    Kind.SLEPT: _SLEPT,
    Kind.KEY_REFUSED: clean("key refused"),
    Kind.FAILING: clean("polls failed"),
    Kind.HELD: clean("not believed"),
    Kind.STALLED: clean("heartbeats stalled"),
    Kind.CLOCK_WRONG: clean("a clock was wrong"),
    Kind.BLIND: _BLIND,
}
"""Causes by the event that begins a period; a gap gets the first that applies."""
_ORDER: Final = {cause: place for place, cause in enumerate(_CAUSES.values())}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A profile's recorded period."""

    profile: SafeText
    host: SafeText
    query: SafeText = EMPTY
    since: WallMs
    until: WallMs
    polls: Sequence[RecordedPoll]
    """One or more polls as recorded, from `LEAD` before the period on."""
    events: Sequence[Event]
    first: Moment
    """The state at the begin of the period, or at the first listing."""
    last: Moment
    left_out: Sequence[LeftOut] = ()
    """The unreadable records, oldest first, and the polls after `last`."""

    @cached_property
    def span(self) -> Span:
        """The period by the server's clock."""
        clock = self.last.profile_state.clock
        return Span(clock.server_time(self.since), clock.server_time(self.until))

    @cached_property
    def watched(self) -> WatchedTime:
        """The watched time. The newest listing counts until the data would be blind."""
        profile_state, period = self.last.profile_state, self.span
        watched = WatchedTime.recorded(self.polls, self.events, profile_state.clock)
        if watched.until is not None and period.until - watched.until <= blind_after(profile_state.interval) / MS:
            watched = watched.seen_until(period.until)
        return watched.between(*period)

    @cached_property
    def run_ends(self) -> list[ServerMs]:
        """The last poll of each run of envwatch, except of the last run."""
        clock = self.last.profile_state.clock
        return [clock.server_time(earlier.at) for earlier, poll in pairwise(self.polls) if poll.run != earlier.run]

    @cached_property
    def names(self) -> dict[SafeText, SafeText]:
        """The newest name of each environment, by id."""
        names = {event.id: event.name for event in flatten(self.events) if event.id and event.name is not None}
        for moment in (self.first, self.last):
            names |= {id_: tracked.environment.label for id_, tracked in moment.profile_state.environments.items()}
        return names


def first_after(moments: Sequence[ServerMs], at: ServerMs, otherwise: ServerMs) -> ServerMs:
    """Return the first of the sorted moments after `at`."""
    place = bisect_right(moments, at)
    return moments[place] if place < len(moments) else otherwise


def recorded_in(  # noqa: PLR0913  the parts of what was recorded
    past: Past,
    since: WallMs,
    until: WallMs,
    *,
    profile: SafeText,
    host: SafeText,
    acks: Acks | None = None,
    server: SafeText = EMPTY,
) -> Recorded | None:
    """Return a recorded period, or None if nothing was recorded.

    `acks` are the acknowledgements at the end, by default the last poll's. `server` is empty for a recording.

    Raises:
        HistoryError: if the history cannot be read.
    """
    polls = past.polls(WallMs(since - LEAD / MS), until)
    within = [poll for poll in polls if poll.at >= since]
    if not within:
        return None
    listed = [poll for poll in polls if poll.result is PollResult.LISTED]
    before = [poll for poll in listed if poll.at < since]
    first, _ = _first_readable(past, [*before[-1:], *listed[len(before) :], *within])
    last, lost = _first_readable(past, within[::-1])
    steps = list(past.steps(since, until))
    if acks is not None:
        last = replace(last, acks=own_acks(acks, server, last.profile_state.environments))
    if server:
        last = replace(last, profile_state=replace(last.profile_state, server=server))
    return Recorded(
        profile=profile,
        host=host,
        since=since,
        until=until,
        polls=[poll for poll in polls if poll not in lost],
        events=events_of(takewhile(lambda step: step.poll not in lost, steps)),
        first=first,
        last=last,
        left_out=left_out_of(step.without_poll(lost[step.poll]) if step.poll in lost else step for step in steps),
    )


def _first_readable(past: Past, polls: Sequence[RecordedPoll]) -> tuple[Moment, Mapping[RecordedPoll | None, SafeText]]:
    reasons: dict[RecordedPoll | None, SafeText] = {}
    for poll in polls:
        try:
            return past.moment(poll), reasons
        except HistoryError as error:
            reasons[poll] = clean(str(error))
    raise HistoryError(reasons[polls[0]])


def matching(recorded: Recorded, matcher: Matcher) -> Recorded:
    """Return the period narrowed to environments that match at the begin, the end or an event.

    Events about the fleet and the newest version stay.
    """
    ids = {row.environment.id for row, at in _states_of(recorded) if matcher.matches(row, at)}
    first, last = (_narrowed(moment, ids) for moment in (recorded.first, recorded.last))
    events = tuple(kept for event in recorded.events if (kept := _of_those(event, ids)) is not None)
    return replace(recorded, query=matcher.query, first=first, last=last, events=events)


def _narrowed(moment: Moment, ids: Collection[SafeText]) -> Moment:
    environments = {id_: tracked for id_, tracked in moment.profile_state.environments.items() if id_ in ids}
    return replace(moment, profile_state=replace(moment.profile_state, environments=environments))


def _of_those(event: Event, ids: Collection[SafeText]) -> Event | None:
    if event.members:
        members = tuple(kept for member in event.members if (kept := _of_those(member, ids)) is not None)
        return replace(event, members=members) if members else None
    return event if event.id is None or event.id in ids else None


def rows_of(recorded: Recorded) -> dict[SafeText, TrackedEnvironment]:
    """Return the newest recorded state of each environment, by id."""
    return {row.environment.id: row for row, _ in _states_of(recorded)}


def _states_of(recorded: Recorded) -> Iterator[tuple[TrackedEnvironment, ServerMs]]:
    yield from _rows_at(recorded.first)
    for event in flatten(recorded.events):
        if (tracked := tracked_then(event)) is not None:
            yield tracked, event.at
    yield from _rows_at(recorded.last)


def _rows_at(moment: Moment) -> Iterator[tuple[TrackedEnvironment, ServerMs]]:
    at = moment.profile_state.clock.server_time(moment.now.wall)
    return ((row, at) for row in moment.profile_state.environments.values())


class Gap(NamedTuple):
    """A time without sight of some rows or of the fleet, or a time in doubt."""

    since: ServerMs
    until: ServerMs
    cause: SafeText
    reason: SafeText | None = None
    is_open: bool = False
    """Whether the time lasts at the end of the period."""
    kind: Literal["gap", "doubt", "left-out"] = "gap"

    def touches(self, other: Gap) -> bool:
        """Whether both times overlap."""
        return self.since < other.until and other.since < self.until


def gaps_in(recorded: Recorded) -> list[Gap]:
    """Return the unwatched times, the watched times in doubt, and the times of left-out records."""
    profile_state, watched, period = recorded.last.profile_state, recorded.watched, recorded.span
    server_time = profile_state.clock.server_time
    left_out = [
        Gap(server_time(WallMs(each.since)), server_time(WallMs(each.until)), _what(each), each.reason, kind="left-out")
        for each in recorded.left_out
    ]
    causes = causes_in(flatten(recorded.events), profile_state.periods, recorded.run_ends, period)
    starts = [_asked_at(poll, server_time(poll.at), watched) for poll in recorded.polls if poll.number == poll.run]
    gaps = with_causes(_holes(watched, period), [*causes, *left_out], starts, period)
    return [*gaps, *doubts_in(causes, gaps), *left_out]


def _what(each: LeftOut) -> SafeText:
    return composed(f"{'history' if each.count is None else counted(each.count, each.what)} left out")


def _asked_at(poll: RecordedPoll, at: ServerMs, watched: WatchedTime) -> ServerMs:
    """Return the request time of a run's first poll if its listing began a span, otherwise the recording time."""
    if poll.result is not PollResult.LISTED:
        return at
    begins = (each.since for each in reversed(watched.spans) if each.since <= at)
    return next((since for since in begins if at - since <= limits.BLIND_AT_LEAST / MS), at)


def _holes(watched: WatchedTime, period: Span) -> Iterator[Span]:
    at = period.since
    for since, until in (*watched.spans, Span(period.until, period.until)):
        if since > at:
            yield Span(at, since)
        at = until


def causes_in(
    events: Iterable[Event], open_at_end: Collection[Kind], run_ends: Sequence[ServerMs], period: Span
) -> list[Gap]:
    """Return the times that events explain within a period, oldest first; times may overlap.

    The events are without groups. A time ends with the run at the latest (`run_ends`), or with the period for kinds in
    `open_at_end`.
    """
    found: list[Gap] = []
    begun: dict[Kind, Event] = {}
    kind_of_end = {end: begin for begin, end in ENDS.items()}

    def add(kind: Kind, begin: Event, until: ServerMs, reason: SafeText | None, *, is_open: bool = False) -> None:
        since = max(begin.at if begin.since is None else begin.since, period.since)
        if since < min(until, period.until):
            found.append(Gap(since, min(until, period.until), _CAUSES[kind], reason, is_open))

    for event in events:
        kind = kind_of_end.get(event.kind, event.kind)
        begin = begun.pop(kind, None)
        if event.kind in ENDS:
            if begin is not None:
                add(kind, begin, first_after(run_ends, begin.at, period.until), begin.reason)
            begun[kind] = event
        elif begin is not None:
            add(kind, begin, event.at, begin.reason)
        elif kind in _CAUSES:
            add(kind, event, event.at, None)
    for kind, begin in begun.items():
        is_open = kind in open_at_end
        until = period.until if is_open else first_after(run_ends, begin.at, period.until)
        add(kind, begin, until, begin.reason, is_open=is_open)
    return sorted(found, key=lambda gap: gap.since)


def with_causes(
    unwatched: Iterable[Span], causes: Sequence[Gap], run_starts: Sequence[ServerMs], period: Span
) -> list[Gap]:
    """Return the unwatched times with causes; `run_starts` are the first polls of runs."""
    gaps = []
    for since, until in unwatched:
        is_open = until >= period.until
        gap = Gap(since, until, NOT_RUNNING if is_open else _NO_POLLS, is_open=is_open)
        within = [cause for cause in causes if cause.touches(gap)]
        named = min(within, key=lambda cause: _ORDER.get(cause.cause, len(_ORDER)), default=gap)
        if named.kind != "left-out" and any(since < start <= until for start in run_starts):
            gaps.append(gap._replace(cause=NOT_RUNNING))
        else:
            gaps.append(gap._replace(cause=named.cause, reason=named.reason))
    return gaps


def doubts_in(causes: Iterable[Gap], gaps: Sequence[Gap]) -> list[Gap]:
    """Return the doubtful times outside gaps. Blind times and sleeps count as gaps."""
    return [
        doubt._replace(kind="doubt")
        for doubt in causes
        if doubt.cause not in {_SLEPT, _BLIND} and not any(map(doubt.touches, gaps))
    ]
