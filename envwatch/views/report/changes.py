"""The changes and the gaps of a period: modes, versions, names, rows that came, left or flapped, and unseen times.

Pure: from the polls and events of the period, without groups and oldest first, and from the environments at its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import ENDS, Event, Kind
from envwatch.fleet.watched_time import Span
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.versions import is_behind
from envwatch.views.report.values import Arrival, Behind, Flapper, Gap, GapCause, ReportedChange, Unrestricted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText
    from envwatch.views.report.values import Downtime, Subject


_ABSENCES = frozenset({Kind.GONE, Kind.MISSING})
_ARRIVALS = frozenset({Kind.APPEARED, Kind.RETURNED})


def unrestricted_of(
    events: Iterable[Event], environments: Iterable[TrackedEnvironment], subject: Callable[[SafeText], Subject]
) -> tuple[Unrestricted, ...]:
    """Return the environments that are unrestricted at the end.

    One that is offline is among them: it comes back in its mode. One that left the list is not.
    """
    latest = {event.id: event for event in events if event.kind is Kind.MODE}
    unrestricted = []
    for tracked in environments:
        if mode_of(tracked.environment.mode) != UNRESTRICTED or tracked.presence.is_absent:
            continue
        change = latest.get(tracked.environment.id)
        since = change.at if change is not None and change.after == UNRESTRICTED else None
        unrestricted.append(
            Unrestricted(subject=subject(tracked.environment.id), since=since, is_up=tracked.verdict.is_up)
        )
    return tuple(sorted(unrestricted, key=lambda each: (not each.is_up, -(each.since or 0.0))))


def behind_of(profile_state: ProfileState, subject: Callable[[SafeText], Subject]) -> tuple[Behind, ...]:
    """Return the environments that are up with a version before the newest."""
    behind: dict[SafeText, list[Subject]] = defaultdict(list)
    for tracked in profile_state.environments.values():
        version = tracked.environment.version
        if tracked.verdict.is_up and version is not None and is_behind(version, profile_state.newest):
            behind[version].append(subject(tracked.environment.id))
    rows = sorted(behind.items(), key=lambda item: -len(item[1]))
    return tuple(Behind(version=version, environments=tuple(subjects)) for version, subjects in rows)


def gone_of(events: Iterable[Event], environments: Mapping[SafeText, TrackedEnvironment]) -> list[Event]:
    """Return the last events of the environments that left the list and are not back.

    One that is gone for over an hour is no environment of the fleet any more, so that its last event says that it left.
    """
    last = {event.id: event for event in events if event.kind in _ABSENCES | _ARRIVALS}
    return [
        event
        for id_, event in last.items()
        if id_ is not None
        and event.kind in _ABSENCES
        and event.before is not None  # one that was never listed has not left
        and (id_ not in environments or environments[id_].presence.is_absent)
    ]


def flappers_of(  # noqa: PLR0913  what it is made of, by keyword
    events: Sequence[Event],
    environments: Mapping[SafeText, TrackedEnvironment],
    outages: Iterable[Downtime],
    subject: Callable[[SafeText], Subject],
    *,
    run_ends: Sequence[ServerMs],
    period: Span,
) -> tuple[Flapper, ...]:
    """Return the environments that flapped within the period, those that were lost most often first."""
    spans = _flapping(events, environments, run_ends, period)
    of_each: dict[SafeText, list[Downtime]] = defaultdict(list)
    for outage in outages:
        of_each[outage.subject.id].append(outage)
    flappers = [
        Flapper(
            subject=subject(id_),
            times=tuple(its_spans),
            is_flapping=id_ in environments and environments[id_].is_flapping,
            outages=len(of_each[id_]),
            down=sum((outage.seen for outage in of_each[id_]), timedelta()),
        )
        for id_, its_spans in spans.items()
    ]
    return tuple(sorted(flappers, key=lambda each: (-each.outages, -each.down)))


def _flapping(
    events: Iterable[Event],
    environments: Mapping[SafeText, TrackedEnvironment],
    run_ends: Sequence[ServerMs],
    period: Span,
) -> dict[SafeText, list[Span]]:
    """Return when each environment flapped: from `flapping`, or the beginning, to `steady` or what ends it silently.

    One that is gone flaps no longer, and a run of envwatch begins without what flapped in the one before.
    """
    spans: dict[SafeText, list[Span]] = defaultdict(list)
    began_at: dict[SafeText, ServerMs] = {}
    for event in events:
        if event.id is None:
            continue
        if event.kind is Kind.FLAPPING:
            began_at.setdefault(event.id, event.at)
        elif event.kind is Kind.STEADY or (event.kind in _ABSENCES and event.id in began_at):
            began = began_at.pop(event.id, period.since)
            spans[event.id].append(Span(began, max(event.at, began)))
    still = {id_ for id_, tracked in environments.items() if tracked.is_flapping}
    for id_ in {**began_at, **dict.fromkeys(still)}:
        began = began_at.get(id_, period.since)
        until = period.until if id_ in still else first_after(run_ends, began, period.until)
        spans[id_].append(Span(began, max(until, began)))
    return spans


def first_after(moments: Sequence[ServerMs], at: ServerMs, otherwise: ServerMs) -> ServerMs:
    """Return the first of some moments, in order, that is later than one."""
    place = bisect_right(moments, at)
    return moments[place] if place < len(moments) else otherwise


def changes_of(
    events: Iterable[Event], kind: Kind, subject: Callable[[SafeText], Subject]
) -> tuple[ReportedChange, ...]:
    """Return the changes of one kind."""
    return tuple(
        ReportedChange(subject=subject(event.id), at=event.at, before=event.before, after=event.after)
        for event in events
        if event.kind is kind and event.id is not None
    )


def arrivals_of(events: Iterable[Event], subject: Callable[[SafeText], Subject]) -> tuple[Arrival, ...]:
    """Return what events say of environments that appeared, or left the list."""
    return tuple(
        Arrival(subject=subject(event.id), at=event.at, state=event.after, reason=event.reason)
        for event in events
        if event.id is not None
    )


_CAUSES: Final[Mapping[Kind, GapCause]] = {
    Kind.SLEPT: GapCause.SLEPT,
    Kind.KEY_REFUSED: GapCause.KEY_REFUSED,
    Kind.FAILING: GapCause.FAILING,
    Kind.HELD: GapCause.QUARANTINED,
    Kind.STALLED: GapCause.STALLED,
    Kind.BLIND: GapCause.BLIND,
}
"""By the kind of event that begins the time; the first one that applies is named for a gap."""
_ORDER: Final = tuple(_CAUSES.values())


def periods_of(
    events: Sequence[Event], open_at_end: Iterable[Kind], run_ends: Sequence[ServerMs], period: Span
) -> tuple[Gap, ...]:
    """Return the times within a period for which events give a cause, oldest first; they may overlap.

    The events are without groups, oldest first. A period ends with its run of envwatch at the latest, whose last polls
    are `run_ends`, oldest first; those of the kinds `open_at_end` last until the end.
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
        until = period.until if is_open else first_after(run_ends, begin.at, period.until)
        add(begin, kind, _since(begin), until, is_open=is_open)

    kind_of_end = {end: begin for begin, end in ENDS.items()}
    for event in events:
        if event.kind in ENDS:
            if (earlier := begun.pop(event.kind, None)) is not None:
                cut(event.kind, earlier)  # its run ended first
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
    """Return the times of a period without watching, oldest first, each with why nothing was seen.

    `run_starts` are the first polls of runs of envwatch, oldest first.
    """
    gaps = []
    for began_at, ended_at in unwatched:
        is_open = ended_at >= period.until
        within = [cause for cause in causes if cause.began_at < ended_at and cause.ended_at > began_at]
        named = min(within, key=lambda cause: _ORDER.index(cause.cause), default=None)
        cause, reason = (GapCause.NO_POLLS, None) if named is None else (named.cause, named.reason)
        has_start = any(began_at < start <= ended_at for start in run_starts)
        if has_start or (named is None and is_open):
            cause, reason = GapCause.NOT_RUNNING, None
        gaps.append(Gap(began_at=began_at, ended_at=ended_at, is_open=is_open, cause=cause, reason=reason))
    return tuple(gaps)


def doubts_in(causes: Iterable[Gap], gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Return the times that are in doubt and no gap names: blind ones and sleeps are gaps as far as they count."""

    def is_in_a_gap(doubt: Gap) -> bool:
        return any(gap.began_at < doubt.ended_at and doubt.began_at < gap.ended_at for gap in gaps)

    return tuple(
        doubt for doubt in causes if doubt.cause not in {GapCause.SLEPT, GapCause.BLIND} and not is_in_a_gap(doubt)
    )


def _since(event: Event) -> ServerMs:
    return event.at if event.since is None else event.since
