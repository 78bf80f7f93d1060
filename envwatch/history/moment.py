"""The state of a profile right after a poll."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, timezone
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.alerting.acknowledgements import NO_OWN_ACKS
from envwatch.fleet.alerting.losses import key_of
from envwatch.fleet.alerting.matcher import Matcher
from envwatch.fleet.alerting.recurring_hours import clock_time
from envwatch.fleet.uptime import rounded
from envwatch.model.text import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.fleet.alerting.acknowledgements import OwnAcks
    from envwatch.fleet.alerting.alert_policy import Decision
    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.fleet.alerting.losses import Loss
    from envwatch.fleet.alerting.silences import Silence, Silences
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.fleet.uptime import Uptime
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.model.text import SafeText


class RecordedAlerts(NamedTuple):
    """Whose losses need a person, and the losses, as the monitor knew them."""

    decisions: Mapping[SafeText, Decision]
    """By row id, of every row."""
    uptimes: Mapping[SafeText, Uptime]
    """By row id, `rounded`; without rows whose uptime is unknown."""
    silences: tuple[Silence, ...]
    """The silences of the profile's rows, with the ids of these rows in `environments`, under no server.

    A matcher keeps only the query. The zone of a recurring silence is the offset from UTC at the moment.
    """
    waiting: tuple[Loss, ...]
    """Losses without `Event.then`, like the losses of `open`."""
    open: tuple[Incident, ...]

    @property
    def once(self) -> Silences:
        """The silences that do not recur, by id."""
        return {silence.id: silence for silence in self.silences if silence.hours is None}

    @property
    def recurring(self) -> tuple[Silence, ...]:
        """The silences that recur."""
        return tuple(silence for silence in self.silences if silence.hours is not None)


NO_ALERTS: Final = RecordedAlerts({}, {}, (), (), ())


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a profile right after a poll."""

    now: Clocks
    profile_state: ProfileState
    acks: OwnAcks = field(default_factory=lambda: NO_OWN_ACKS)
    alerts: RecordedAlerts | None = None
    """None in a moment that an envwatch before 2.0 recorded."""

    @classmethod
    def of(cls, monitor: Monitor, profile: SafeText, now: Clocks) -> Moment:
        """Return a profile's moment; visits every row."""
        profile_state = monitor.fleet.by_profile[profile]
        at, rows = profile_state.clock.server_time(now.wall), profile_state.environments
        uptimes = {id_: rounded(row.uptime) for id_, row in rows.items() if row.uptime is not None}
        alerts = RecordedAlerts(
            decisions={id_: monitor.decision_of(row, at) for id_, row in rows.items()},
            uptimes=uptimes,
            silences=_recorded_silences(monitor, profile_state, at),
            waiting=tuple(
                loss._replace(event=replace(loss.event, then=None))
                for loss in monitor.incidents.waiting
                if loss.event.profile == profile
            ),
            open=tuple(_recorded(each) for each in monitor.incidents.open if each.profile == profile),
        )
        return cls(now, profile_state, monitor.own_acks(profile), alerts)


def _recorded(incident: Incident) -> Incident:
    losses = tuple(replace(loss, then=None) for loss in incident.losses)
    return incident._replace(losses=losses, remaining=incident.remaining.intersection(map(key_of, losses)))


def _recorded_silences(monitor: Monitor, profile_state: ProfileState, at: ServerMs) -> tuple[Silence, ...]:
    rows = profile_state.environments.values()
    recurring = monitor.policy_of(profile_state.profile).silences
    found = [
        _recorded_silence(silence, covered, at)
        for silence in (*monitor.silences.values(), *recurring)
        if (covered := [row for row in rows if silence.covers(row, profile_state.server, at)])
    ]
    keys = {silence.recurrence for silence in found if silence.hours is not None}
    return (*found, *(silence for silence in monitor.silences.values() if silence.ends and silence.ends in keys))


def _recorded_silence(silence: Silence, covered: Iterable[TrackedEnvironment], at: ServerMs) -> Silence:
    recorded = silence._replace(environments=frozenset((EMPTY, row.environment.id) for row in covered))
    if silence.matcher is not None:
        recorded = recorded._replace(matcher=query_only(silence.matcher.query))
    if silence.hours is None:
        return recorded
    offset = clock_time(at, silence.zone) - clock_time(at, UTC)
    return recorded._replace(hours=replace(silence.hours, filter=""), zone=timezone(offset))


def query_only(query: SafeText) -> Matcher:
    """Return a matcher that keeps a query and matches nothing."""
    return Matcher(query, lambda _tracked, _now: False)
