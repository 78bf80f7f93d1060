"""The report on a profile's recorded period, and the causes of gaps."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, pairwise, takewhile
from typing import TYPE_CHECKING, Final

from envwatch.fleet.alerting.acknowledgements import Acks, own_acks
from envwatch.fleet.events import ENDS, Event, Kind, blind_after, flatten
from envwatch.fleet.presence import UNTIMED, Presence
from envwatch.fleet.watched_time import Span, WatchedTime
from envwatch.history.past import HistoryError, LeftOut, Past, RecordedStep, events_of, left_out_of
from envwatch.model import limits
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import MS, span
from envwatch.views.events.matching import tracked_then
from envwatch.views.report import findings
from envwatch.views.report.values import NOT_RUNNING, FleetSummary, Gap, ProfileReport, Subject, Watch
from envwatch.views.state_style import clock_warning
from envwatch.views.table.table_view import ambiguous_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import Matcher, TrackedEnvironment
    from envwatch.history.past import Moment
    from envwatch.model.clock import ServerClock

LEAD: Final = timedelta(minutes=30)
"""How long before a period to read polls: the longest time between two polls without a gap."""
_SLEPT, _BLIND, _LEFT_OUT, _NO_POLLS = "this machine slept", "blind", "records left out", "no polls"
_CAUSES: Final[Mapping[Kind, str]] = {
    Kind.SLEPT: _SLEPT,
    Kind.KEY_REFUSED: "key refused",
    Kind.FAILING: "polls failed",
    Kind.HELD: "not believed",
    Kind.STALLED: "heartbeats stalled",
    Kind.BLIND: _BLIND,
}
"""Causes by the event that begins a period. A gap gets the first cause that applies."""
_ORDER: Final = (*_CAUSES.values(), _LEFT_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A profile's recorded period."""

    profile: SafeText
    host: SafeText
    since: WallMs
    until: WallMs
    polls: Sequence[RecordedPoll]
    """The polls from `LEAD` before the period on, in the order of recording; at least one."""
    events: Sequence[Event]
    first: Moment
    """The state at the begin of the period, or at the first listing."""
    last: Moment
    left_out: Sequence[LeftOut] = ()
    """The records that cannot be read, oldest first; also the polls after `last`."""


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
    """Return a recorded period, or None if nothing was recorded. Reads only the first and the last readable moment.

    `acks` are the acknowledgements at the end; None uses the last poll's. `server` is empty for a recording.

    Raises:
        HistoryError: if the history cannot be read.
    """
    polls = past.polls(WallMs(since - LEAD / MS), until)
    before = [poll for poll in polls if poll.at < since]
    within = [poll for poll in polls if poll.at >= since]
    if not within:
        return None
    first = _first_moment(past, before[-1:], within)
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
        left_out=left_out_of(_without_lost(step, lost) for step in steps),
    )


def _first_moment(past: Past, before: Sequence[RecordedPoll], within: Sequence[RecordedPoll]) -> Moment:
    with suppress(HistoryError):
        for poll in before:
            if (moment := past.moment(poll)).profile_state.listed is not None:
                return moment
    listed = [poll for poll in within if poll.result is PollResult.LISTED]
    return _first_readable(past, [*listed, *within])[0]


def _first_readable(past: Past, polls: Sequence[RecordedPoll]) -> tuple[Moment, Mapping[RecordedPoll, SafeText]]:
    """Return the first readable moment, and the polls before with the reasons of their errors.

    Raises:
        HistoryError: if no moment is readable.
    """
    reasons: dict[RecordedPoll, SafeText] = {}
    for poll in polls:
        try:
            return past.moment(poll), reasons
        except HistoryError as error:
            reasons[poll] = clean(str(error))
    raise HistoryError(reasons[polls[0]])


def _without_lost(step: RecordedStep, lost: Mapping[RecordedPoll, SafeText]) -> RecordedStep:
    reason = None if step.poll is None else lost.get(step.poll)
    return step if reason is None else step.without_poll(reason)


def matching(recorded: Recorded, matcher: Matcher) -> Recorded:
    """Return the period narrowed to environments that match at the begin, at the end or at an event.

    Events about the fleet and the fleet's newest version stay.
    """
    ids = {
        id_
        for moment in (recorded.first, recorded.last)
        for id_, tracked in moment.profile_state.environments.items()
        if matcher.matches(tracked, moment.profile_state.clock.server_time(moment.now.wall))
    }
    for event in flatten(recorded.events):
        if event.id is not None and (tracked := tracked_then(event)) is not None and matcher.matches(tracked, event.at):
            ids.add(event.id)
    first, last = (_narrowed(moment, ids) for moment in (recorded.first, recorded.last))
    events = tuple(kept for event in recorded.events if (kept := _of_those(event, ids)) is not None)
    return replace(recorded, first=first, last=last, events=events)


def rows_of(recorded: Recorded) -> dict[SafeText, TrackedEnvironment]:
    """Return the newest recorded state of each environment of the period, by id."""
    rows = dict(recorded.first.profile_state.environments)
    for event in flatten(recorded.events):
        if event.id is not None and (tracked := tracked_then(event)) is not None:
            rows[event.id] = tracked
    return rows | dict(recorded.last.profile_state.environments)


def _narrowed(moment: Moment, ids: Collection[SafeText]) -> Moment:
    environments = {id_: tracked for id_, tracked in moment.profile_state.environments.items() if id_ in ids}
    return replace(moment, profile_state=replace(moment.profile_state, environments=environments))


def _of_those(event: Event, ids: Collection[SafeText]) -> Event | None:
    if event.members:
        members = tuple(kept for member in event.members if (kept := _of_those(member, ids)) is not None)
        return replace(event, members=members) if members else None
    return event if event.id is None or event.id in ids else None


def report_of(recorded: Recorded, zone: tzinfo | None = None) -> ProfileReport:
    """Return the report on a profile, with the recorded silences; `zone` is the zone of their ends."""
    profile_state, polls = recorded.last.profile_state, recorded.polls
    clock, before, after = profile_state.clock, recorded.first.profile_state.environments, profile_state.environments
    period = Span(clock.server_time(recorded.since), clock.server_time(recorded.until))
    events = flatten(recorded.events)
    facts = findings.Facts(
        groups=recorded.events,
        events=events,
        before=before,
        after=after,
        subject=_namer(chain(before.values(), after.values()), events),
        watched=watched_in(recorded, period),
        run_ends=[clock.server_time(earlier.at) for earlier, poll in pairwise(polls) if poll.run != earlier.run],
        period=period,
    )
    courses = findings.courses_of(facts)
    together = findings.losses_together(recorded.events)
    downtimes = findings.downtimes_of(courses, findings.places_of(together))
    return ProfileReport(
        profile=recorded.profile,
        host=recorded.host,
        period=period,
        fleet=_fleet_summary(profile_state, recorded.until, facts.subject),
        watch=_watch(recorded, facts),
        left_out=_by_server(recorded.left_out, clock),
        down=findings.down_of(facts, courses, recorded.last, zone),
        incidents=findings.incidents_of(facts, together, downtimes),
        outages=downtimes,
        flapping=findings.flappers_of(facts, downtimes),
        mode_changes=findings.changes_of(facts, Kind.MODE),
        unrestricted=findings.unrestricted_of(facts),
        newest_version=profile_state.newest,
        up=sum(tracked.verdict.is_up for tracked in after.values()),
        behind=findings.behind_of(facts, profile_state.newest),
        version_changes=findings.changes_of(facts, Kind.VERSION),
        appeared=findings.arrivals_of(facts, (event for event in events if event.kind is Kind.APPEARED)),
        gone=findings.arrivals_of(facts, findings.gone_of(facts)),
        renamed=findings.changes_of(facts, Kind.RENAMED),
        availability=findings.available_of(courses, recorded.last),
        alerting=findings.turned_of(facts),
    )


def _namer(environments: Iterable[TrackedEnvironment], events: Iterable[Event]) -> Callable[[SafeText], Subject]:
    names = {event.id: event.name for event in events if event.id is not None and event.name is not None}
    names |= {tracked.environment.id: tracked.environment.label for tracked in environments}
    ambiguous = ambiguous_names(Counter(names.values()))

    def subject(id_: SafeText) -> Subject:
        name = names.get(id_, id_)
        return Subject(id_, name, name in ambiguous)

    return subject


def watched_in(recorded: Recorded, period: Span) -> WatchedTime:
    """Return the watched time. The newest listing counts as watching until its data would be blind."""
    profile_state = recorded.last.profile_state
    watched = WatchedTime.recorded(recorded.polls, recorded.events, profile_state.clock)
    if watched.until is not None and period.until - watched.until <= blind_after(profile_state.interval) / MS:
        watched = watched.seen_until(period.until)
    return watched.between(*period)


def _fleet_summary(
    profile_state: ProfileState, until: WallMs, subject: Callable[[SafeText], Subject]
) -> FleetSummary | None:
    if profile_state.listed is None:
        return None
    tracked = profile_state.environments.values()
    unknown = [each for each in tracked if profile_state.is_unproven(each) or each.verdict == UNTIMED]
    ids = {each.environment.id for each in unknown}
    proven = [each for each in tracked if each.environment.id not in ids]
    counts = Counter(each.presence for each in proven)
    return FleetSummary(
        listed_at=profile_state.clock.server_time(profile_state.listed.wall),
        age=span(until - profile_state.listed.wall),
        total=len(tracked),
        up=sum(each.verdict.is_up for each in proven),
        late=counts[Presence.LATE],
        offline=counts[Presence.OFFLINE],
        gone=counts[Presence.GONE],
        missing=counts[Presence.MISSING],
        unknown=tuple(subject(each.environment.id) for each in unknown),
    )


def _by_server(left_out: Iterable[LeftOut], clock: ServerClock) -> tuple[LeftOut, ...]:
    """Return the records with times by the server's clock; a day stays a day of the machine that recorded."""

    def by_server(at: float) -> ServerMs:
        return clock.server_time(WallMs(at))

    return tuple(
        each if each.what == "history" else replace(each, since=by_server(each.since), until=by_server(each.until))
        for each in left_out
    )


def _watch(recorded: Recorded, facts: findings.Facts) -> Watch:
    profile_state, watched, period = recorded.last.profile_state, facts.watched, facts.period
    causes = (
        *periods_of(facts.events, profile_state.periods, facts.run_ends, period),
        *map(_lost_time, _by_server(recorded.left_out, profile_state.clock)),
    )
    run_starts = [_asked_at(poll, watched, profile_state) for poll in recorded.polls if poll.number == poll.run]
    gaps = with_causes(_holes(watched, period), causes, run_starts, period)
    length = span(period.until - period.since)
    seen = sum((span(until - since) for since, until in watched.spans), timedelta())
    return Watch(
        watched=seen,
        period=length,
        share=min(seen / length, 1.0) if length else 0.0,
        gaps=gaps,
        doubts=doubts_in(causes, gaps),
        clock=clock_warning(profile_state),
    )


def _lost_time(each: LeftOut) -> Gap:
    return Gap(
        began_at=ServerMs(each.since), ended_at=ServerMs(each.until), is_open=False, cause=_LEFT_OUT, reason=each.reason
    )


def _asked_at(poll: RecordedPoll, watched: WatchedTime, profile_state: ProfileState) -> ServerMs:
    """Return the request time of a run's first poll if its listing began a span; otherwise the recording time."""
    at = profile_state.clock.server_time(poll.at)
    if poll.result is not PollResult.LISTED:
        return at
    begins = (each.since for each in reversed(watched.spans) if each.since <= at)
    return next((since for since in begins if at - since <= limits.BLIND_AT_LEAST / MS), at)


def _holes(watched: WatchedTime, period: Span) -> Iterator[Span]:
    at = period.since
    for since, until in watched.spans:
        if since > at:
            yield Span(at, since)
        at = until
    if at < period.until:
        yield Span(at, period.until)


def periods_of(
    events: Sequence[Event], open_at_end: Iterable[Kind], run_ends: Sequence[ServerMs], period: Span
) -> tuple[Gap, ...]:
    """Return the times that events explain within a period, oldest first; times may overlap.

    The events are without groups. A time ends at the latest with its run of envwatch (`run_ends`: each run's last
    poll); times of the kinds in `open_at_end` last until the end.
    """
    found: list[Gap] = []
    begun: dict[Kind, Event] = {}
    still_open = frozenset(open_at_end)

    def add(begin: Event | None, kind: Kind, since: ServerMs, until: ServerMs, *, is_open: bool = False) -> None:
        began_at, ended_at = max(since, period.since), min(until, period.until)
        if began_at < ended_at:
            reason = None if begin is None else begin.reason
            found.append(Gap(began_at=began_at, ended_at=ended_at, is_open=is_open, cause=_CAUSES[kind], reason=reason))

    def cut(kind: Kind, begin: Event, *, is_open: bool = False) -> None:
        until = period.until if is_open else findings.first_after(run_ends, begin.at, period.until)
        add(begin, kind, _since(begin), until, is_open=is_open)

    kind_of_end = {end: begin for begin, end in ENDS.items()}
    for event in events:
        if event.kind in ENDS:
            if (earlier := begun.pop(event.kind, None)) is not None:
                cut(event.kind, earlier)
            begun[event.kind] = event
        elif (kind := kind_of_end.get(event.kind)) is not None:
            begin = begun.pop(kind, None)
            add(begin, kind, _since(event if begin is None else begin), event.at)
        elif event.kind is Kind.SLEPT:
            add(None, Kind.SLEPT, _since(event), event.at)
    for kind, begin in begun.items():
        cut(kind, begin, is_open=kind in still_open)
    return tuple(sorted(found, key=lambda gap: gap.began_at))


def with_causes(
    unwatched: Iterable[Span], causes: Sequence[Gap], run_starts: Sequence[ServerMs], period: Span
) -> tuple[Gap, ...]:
    """Return the unwatched times with causes, oldest first.

    `run_starts` are the first polls of runs.
    """
    gaps = []
    for began_at, ended_at in unwatched:
        is_open = ended_at >= period.until
        within = [cause for cause in causes if cause.began_at < ended_at and cause.ended_at > began_at]
        named = min(within, key=lambda cause: _ORDER.index(cause.cause), default=None)
        cause, reason = (_NO_POLLS, None) if named is None else (named.cause, named.reason)
        has_start = any(began_at < start <= ended_at for start in run_starts)
        if (has_start and cause != _LEFT_OUT) or (named is None and is_open):
            cause, reason = NOT_RUNNING, None
        gaps.append(Gap(began_at=began_at, ended_at=ended_at, is_open=is_open, cause=cause, reason=reason))
    return tuple(gaps)


def doubts_in(causes: Iterable[Gap], gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Return the doubtful times outside gaps. Blind times and sleeps count as gaps; left-out records are no time."""

    def is_in_a_gap(doubt: Gap) -> bool:
        return any(gap.began_at < doubt.ended_at and doubt.began_at < gap.ended_at for gap in gaps)

    return tuple(doubt for doubt in causes if doubt.cause not in {_SLEPT, _BLIND, _LEFT_OUT} and not is_in_a_gap(doubt))


def _since(event: Event) -> ServerMs:
    return event.at if event.since is None else event.since
