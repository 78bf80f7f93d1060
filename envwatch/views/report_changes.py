"""What changed about the environments of a period: modes, versions, names, and which came, left or flapped.

Pure: from the events of the period, without groups and oldest first, and the environments at its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.watched_time import Span
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.versions import is_behind
from envwatch.views.report_values import Arrival, Behind, Flapper, ReportedChange, Unrestricted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText
    from envwatch.views.report_values import Downtime, Subject

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
