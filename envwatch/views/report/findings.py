"""Findings about environments in a period: losses, outages, flapping and changes.

The findings come from the events (oldest first, without groups) and from the environments at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.alerting.losses import LOSSES, is_loss
from envwatch.fleet.alerting.silences import counted_from, silenced_time
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import UNTIMED
from envwatch.fleet.problems import is_old
from envwatch.fleet.watched_time import Interval, Outage, Span, UptimeState, WatchedTime, outages, states
from envwatch.history.hours import Availability
from envwatch.history.past import NO_ALERTS
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.environment import UNRESTRICTED, mode_of
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS, span
from envwatch.model.versions import is_behind
from envwatch.views.report import values
from envwatch.views.state_style import silenced_until_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.fleet.alerting.silences import Silenced
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.past import Moment


_ONE_LISTING_MS = 1_000.0
"""Each listing estimates the server's clock anew: instants may differ by this."""


class Facts(NamedTuple):
    """The recorded events and environments of a period."""

    groups: Sequence[Event]
    """Oldest first."""
    events: Sequence[Event]
    """Without groups."""
    before: Mapping[SafeText, TrackedEnvironment]
    """The environments at the begin, or in the first listing."""
    after: Mapping[SafeText, TrackedEnvironment]
    subject: Callable[[SafeText], values.Subject]
    watched: WatchedTime
    run_ends: Sequence[ServerMs]
    period: Span


class StateHistory(NamedTuple):
    """The states of an environment in the period."""

    subject: values.Subject
    before: TrackedEnvironment | None
    events: Sequence[Event]
    intervals: Sequence[Interval]
    outages: Sequence[Outage]
    period: Span

    @property
    def losses(self) -> Iterator[Event]:
        """The events that began an outage, and the ends of silences within an outage."""
        return (event for event in self.events if is_loss(event) or event.kind is Kind.NOT_BACK)

    def downtimes(self, incident_of: Mapping[tuple[SafeText, float], int]) -> Iterator[values.Downtime]:
        """Yield the outages, oldest first; `incident_of` is the result of `places_of`."""
        for outage in self.outages:
            began_at = self._began_at(outage)
            # A replaced environment is back under another name.
            ends = (each for each in self.intervals if each.state.is_up or each.state is UptimeState.ABSENT)
            back = next((each for each in ends if each.since >= outage.until), None)
            since = outage.since if began_at is None else began_at
            until = self.period.until if back is None else back.since
            losses = reversed([*self._losses_of(outage)])  # the end of a silence counts, not the loss within
            places = (incident_of.get((self.subject.id, loss.at)) for loss in losses)
            yield values.Downtime(
                subject=self.subject,
                began_at=began_at,
                ended_at=None if back is None else back.since,
                lasted=span(until - since),
                seen=outage.down,
                reason=self._reason(outage),
                incident=next((place for place in places if place is not None), None),
            )

    def loud_time(self, outage: Outage, silenced_at: Callable[[float], Silenced | None]) -> timedelta:
        """Return the time of an outage after the silence that held at the loss, if any."""
        began_at = self._began_at(outage)
        silenced = silenced_at(outage.since if began_at is None else began_at)
        if silenced is None:
            return outage.down
        within = (each for each in self.intervals if outage.since <= each.since < outage.until)
        down = (each for each in within if each.state is UptimeState.DOWN)
        return sum((span(max(each.until - max(each.since, silenced.until), 0.0)) for each in down), timedelta())

    def _began_at(self, outage: Outage) -> ServerMs | None:
        up_until, latest = self._up_until(outage), outage.since + _ONE_LISTING_MS
        begins = (event for event in self.events if is_loss(event) or event.kind is Kind.APPEARED)
        if (begin := next((event for event in begins if up_until <= event.at <= latest), None)) is not None:
            return min(begin.at, outage.since)
        if self.before is None or self.before.verdict.is_up or outage is not self.outages[0]:
            return None
        return lost_at(self.before)

    def _up_until(self, outage: Outage) -> float:
        """Return the last time up before an outage, because the loss may lie in the gap after that time."""
        ups = (each.until for each in reversed(self.intervals) if each.state.is_up)
        return next((until for until in ups if until <= outage.since), -inf)

    def _losses_of(self, outage: Outage) -> Iterator[Event]:
        up_until = self._up_until(outage)
        return (loss for loss in self.losses if up_until <= loss.at <= outage.until)

    def _reason(self, outage: Outage) -> SafeText | None:
        reasons = [loss.reason for loss in self._losses_of(outage)]
        if not reasons and self.before is not None and not self.before.verdict.is_up:
            reasons = [clean(self.before.verdict.reason)]
        return next((reason for reason in reasons if reason is not None), outage.reason)


def lost_at(tracked: TrackedEnvironment) -> ServerMs | None:
    """Return when a down environment went down; None for an impossible instant."""
    return ServerMs(tracked.lost_at) if tracked.lost_at >= limits.EARLIEST_MS else None


def courses_of(facts: Facts) -> tuple[StateHistory, ...]:
    """Return the histories of environments that have events or are present at the end."""
    own_events: dict[SafeText, list[Event]] = {id_: [] for id_ in facts.after}
    for event in facts.events:
        if event.id is not None:
            own_events.setdefault(event.id, []).append(event)
    courses = []
    for id_, its_events in own_events.items():
        intervals = states(facts.after.get(id_), its_events, facts.watched, *facts.period)
        before, subject = facts.before.get(id_), facts.subject(id_)
        courses.append(StateHistory(subject, before, its_events, intervals, outages(intervals), facts.period))
    return tuple(courses)


def downtimes_of(
    courses: Iterable[StateHistory], incident_of: Mapping[tuple[SafeText, float], int]
) -> tuple[values.Downtime, ...]:
    """Return all outages, the longest first."""
    found = [downtime for course in courses for downtime in course.downtimes(incident_of)]
    return tuple(sorted(found, key=lambda downtime: -downtime.lasted))


def losses_together(events: Iterable[Event]) -> list[tuple[list[Event], list[Event]]]:
    """Return losses and their groups, for each incident or group of two or more environments, oldest first.

    The losses of an incident come before other losses of the same group, which need nobody.
    """
    losses: dict[object, list[Event]] = defaultdict(list)
    groups: dict[object, list[Event]] = defaultdict(list)
    for event in events:
        found = [loss for loss in flatten([event]) if is_loss(loss) or loss.kind is Kind.NOT_BACK]
        of_group = {loss.incident for loss in found if loss.incident is not None}
        for loss in sorted(found, key=lambda loss: loss.incident is None):
            key = loss.incident or (next(iter(of_group)) if len(of_group) == 1 else id(event))
            losses[key].append(loss)
            if event.members and not any(event is group for group in groups[key]):
                groups[key].append(event)
    several = (key for key, lost in losses.items() if len({loss.id for loss in lost}) > 1)
    return [(losses[key], groups[key]) for key in several]


def places_of(together: Iterable[tuple[Sequence[Event], object]]) -> dict[tuple[SafeText, float], int]:
    """Return the incident's index by the environment's id and the loss's instant."""
    return {
        (loss.id, loss.at): place
        for place, (losses, _) in enumerate(together)
        for loss in losses
        if loss.id is not None
    }


def incidents_of(
    facts: Facts, together: Iterable[tuple[Sequence[Event], Sequence[Event]]], downtimes: Iterable[values.Downtime]
) -> tuple[values.ReportedIncident, ...]:
    """Return incidents in the order of `losses_together`."""
    by_place: dict[int, list[values.Downtime]] = defaultdict(list)
    for downtime in downtimes:
        if downtime.incident is not None:
            by_place[downtime.incident].append(downtime)
    incidents = []
    for place, (losses, groups) in enumerate(together):
        ids = dict.fromkeys(loss.id for loss in losses if loss.id is not None)
        still = {downtime.subject.id for downtime in by_place[place] if downtime.ended_at is None}
        ends = [downtime.ended_at for downtime in by_place[place] if downtime.ended_at is not None]
        reasons = {group.reason for group in groups if group.kind is Kind.TOGETHER and group.of in LOSSES}
        pods = Counter({loss.id: loss.then.environment.pod_id for loss in losses if loss.then is not None}.values())
        needless = {loss.id for loss in losses if loss.incident is None}
        incidents.append(
            values.ReportedIncident(
                began_at=min(loss.at for loss in losses),
                needless=len(needless) if len(needless) < len(ids) else 0,
                kind=Counter(loss.kind for loss in losses).most_common(1)[0][0],
                environments=tuple(map(facts.subject, ids)),
                shared=reasons.pop() if len(reasons) == 1 else None,
                pods={pod: count for pod, count in pods.most_common() if pod is not None},
                found_after_gap=any(group.kind is Kind.WHILE_BLIND for group in groups),
                still_down=tuple(facts.subject(id_) for id_ in ids if id_ in still),
                back_at=max(ends, default=None),
            )
        )
    return tuple(incidents)


def down_of(
    facts: Facts, courses: Iterable[StateHistory], moment: Moment, zone: tzinfo | None
) -> tuple[values.Down, ...]:
    """Return the environments that are down at the end, by the newest believed listing.

    Unacknowledged environments come first, then acknowledged, silenced and old; within each part, the newest loss comes
    first.
    """
    profile_state, acks, alerts = moment.profile_state, moment.acks, moment.alerts or NO_ALERTS
    once, recurring = alerts.once, alerts.recurring
    at = profile_state.clock.server_time(moment.now.wall)
    losses: dict[SafeText, Event] = {}
    for course in courses:
        ups = [each.since for each in course.intervals if each.state.is_up]
        last_up_at = max(ups, default=course.period.since)
        losses.update((course.subject.id, loss) for loss in course.losses if loss.at >= last_up_at)
    found_late = {
        (member.id, member.at) for member in flatten(event for event in facts.groups if event.kind is Kind.WHILE_BLIND)
    }
    down = []
    for id_, tracked in profile_state.environments.items():
        if tracked.verdict.is_up or tracked.verdict == UNTIMED or profile_state.is_unproven(tracked):
            continue
        if tracked.replaced_by is not None:
            continue
        loss = losses.get(id_)
        ack = acks.get(id_)
        since = lost_at(tracked) if loss is None or tracked.since_at is not None else loss.at
        pod = None if loss is None or loss.then is None else loss.then.environment.pod_id
        silenced = silenced_time(tracked, profile_state, once, recurring, moment.now.wall)
        end = counted_from(silenced, tracked)
        text = None
        if silenced is not None and silenced.until > at:
            text = silenced_until_text(silenced.until, at, zone)
        is_late = since is not None and at - (end or since) >= limits.OLD_AFTER / MS
        down.append(
            values.Down(
                subject=facts.subject(id_),
                state=tracked.presence,
                since=since,
                lasted=None if since is None else span(at - since),
                found_after_gap=loss is not None and (id_, loss.at) in found_late,
                reason=clean(tracked.verdict.reason) if loss is None or loss.reason is None else loss.reason,
                pod=tracked.pod_id or pod,
                acknowledged=None if ack is None else ack.note,
                silenced=text,
                is_old=is_old(tracked, at, end) or is_late,
            )
        )

    def order(each: values.Down) -> tuple[bool, bool, bool, float]:
        return each.is_old, each.silenced is not None, each.acknowledged is not None, -(each.since or -inf)

    return tuple(sorted(down, key=order))


def available_of(courses: Iterable[StateHistory], moment: Moment) -> tuple[values.Available, ...]:
    """Return availabilities of present environments, the least available first.

    Silenced time that is down counts neither as up nor as down.
    """
    profile_state, wall, alerts = moment.profile_state, moment.now.wall, moment.alerts or NO_ALERTS
    once, recurring = alerts.once, alerts.recurring
    found = []
    for course in courses:
        if (tracked := profile_state.environments.get(course.subject.id)) is None:
            continue
        silenced_at = partial(silenced_time, tracked, profile_state, once, recurring, wall)
        up, known = Availability.from_intervals(course.intervals)
        loud = [course.loud_time(outage, silenced_at) for outage in course.outages]
        known -= sum((outage.down for outage in course.outages), timedelta()) - sum(loud, timedelta())
        if known:
            count = sum(map(bool, loud))
            found.append(values.Available(subject=course.subject, share=up / known, down=known - up, outages=count))
    return tuple(sorted(found, key=lambda each: (each.share, -each.down)))


_ABSENCES = frozenset({Kind.GONE, Kind.MISSING})
_ARRIVALS = frozenset({Kind.APPEARED, Kind.RETURNED})


def unrestricted_of(facts: Facts) -> tuple[values.Unrestricted, ...]:
    """Return the environments in unrestricted mode, unless absent.

    Offline environments count, because they come back in the same mode.
    """
    latest = {event.id: event for event in facts.events if event.kind is Kind.MODE}
    unrestricted = []
    for tracked in facts.after.values():
        if mode_of(tracked.environment.mode) != UNRESTRICTED or tracked.presence.is_absent:
            continue
        change = latest.get(tracked.environment.id)
        since = change.at if change is not None and change.after == UNRESTRICTED else None
        unrestricted.append(
            values.Unrestricted(subject=facts.subject(tracked.environment.id), since=since, is_up=tracked.verdict.is_up)
        )
    return tuple(sorted(unrestricted, key=lambda each: (not each.is_up, -(each.since or -inf))))


def behind_of(facts: Facts, newest: SafeText | None) -> tuple[values.Behind, ...]:
    """Return the environments that are up with a version older than the newest."""
    behind: dict[SafeText, list[values.Subject]] = defaultdict(list)
    for tracked in facts.after.values():
        version = tracked.environment.version
        if tracked.verdict.is_up and version is not None and is_behind(version, newest):
            behind[version].append(facts.subject(tracked.environment.id))
    rows = sorted(behind.items(), key=lambda item: -len(item[1]))
    return tuple(values.Behind(version=version, environments=tuple(subjects)) for version, subjects in rows)


def gone_of(facts: Facts) -> list[Event]:
    """Return the last events of environments that left the list.

    Events are needed, because the fleet forgets an environment gone for over an hour.
    """
    last = {event.id: event for event in facts.events if event.kind in _ABSENCES | _ARRIVALS}
    return [
        event
        for id_, event in last.items()
        if id_ is not None
        and event.kind in _ABSENCES
        and event.before is not None
        and (id_ not in facts.after or facts.after[id_].presence.is_absent)
    ]


def flappers_of(facts: Facts, outages: Iterable[values.Downtime]) -> tuple[values.Flapper, ...]:
    """Return the environments that flapped within the period, the most outages first."""
    of_each: dict[SafeText, list[values.Downtime]] = defaultdict(list)
    for outage in outages:
        of_each[outage.subject.id].append(outage)
    flappers = [
        values.Flapper(
            subject=facts.subject(id_),
            times=tuple(its_spans),
            is_flapping=id_ in facts.after and facts.after[id_].is_flapping,
            outages=len(of_each[id_]),
            down=sum((outage.seen for outage in of_each[id_]), timedelta()),
        )
        for id_, its_spans in _flapping(facts).items()
    ]
    return tuple(sorted(flappers, key=lambda each: (-each.outages, -each.down)))


def _flapping(facts: Facts) -> dict[SafeText, list[Span]]:
    """Flapping also ends when an environment is gone or envwatch starts anew."""
    spans: dict[SafeText, list[Span]] = defaultdict(list)
    began_at: dict[SafeText, ServerMs] = {}
    for event in facts.events:
        if event.id is None:
            continue
        if event.kind is Kind.FLAPPING:
            began_at.setdefault(event.id, event.at)
        elif event.kind is Kind.STEADY or (event.kind in _ABSENCES and event.id in began_at):
            began = began_at.pop(event.id, facts.period.since)
            spans[event.id].append(Span(began, max(event.at, began)))
    still = {id_ for id_, tracked in facts.after.items() if tracked.is_flapping}
    for id_ in {**began_at, **dict.fromkeys(still)}:
        began = began_at.get(id_, facts.period.since)
        until = facts.period.until if id_ in still else first_after(facts.run_ends, began, facts.period.until)
        spans[id_].append(Span(began, max(until, began)))
    return spans


def first_after(moments: Sequence[ServerMs], at: ServerMs, otherwise: ServerMs) -> ServerMs:
    """Return the first of the sorted moments that is later than `at`."""
    place = bisect_right(moments, at)
    return moments[place] if place < len(moments) else otherwise


def changes_of(facts: Facts, kind: Kind) -> tuple[values.ReportedChange, ...]:
    """Return the changes of a kind."""
    return tuple(
        values.ReportedChange(subject=facts.subject(event.id), at=event.at, before=event.before, after=event.after)
        for event in facts.events
        if event.kind is kind and event.id is not None
    )


def turned_of(facts: Facts) -> tuple[values.Turned, ...]:
    """Return the environments that began or stopped to alert."""
    return tuple(
        values.Turned(
            subject=facts.subject(event.id), at=event.at, counts=event.kind is Kind.ALERTING, reason=event.reason
        )
        for event in facts.events
        if event.kind in {Kind.ALERTING, Kind.NOT_ALERTING} and event.id is not None
    )


def arrivals_of(facts: Facts, events: Iterable[Event]) -> tuple[values.Arrival, ...]:
    """Return arrivals or departures from events."""
    return tuple(
        values.Arrival(subject=facts.subject(event.id), at=event.at, state=event.after, reason=event.reason)
        for event in events
        if event.id is not None
    )
