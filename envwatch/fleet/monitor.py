"""The state of everything that is polled, and how one outcome changes it.

The dashboard, `list` and every other command drive this one state machine: fleets, then acknowledgements, then
alerts, then the event log. Pure: the moment is an argument. Must not know where outcomes come from or who draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.acknowledgements import NO_ACKS, losses_of, recovered
from envwatch.fleet.alerts import Alerts
from envwatch.fleet.event_log import EventLog
from envwatch.fleet.fleet import Fleet, Freshness
from envwatch.fleet.fleets import Fleets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from envwatch.fleet.acknowledgements import Ack, Acks
    from envwatch.fleet.events import Event
    from envwatch.model.clock import Reading
    from envwatch.model.limits import Limits
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean


class Update(NamedTuple):
    """What one outcome changed."""

    events: tuple[Event, ...]
    """Oldest first; a mass change is one event."""
    ended_acks: frozenset[Clean]
    """Ids of environments whose acknowledgement ended: they recovered, or have another problem now."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """The whole state."""

    fleets: Fleets = field(default_factory=Fleets)
    acks: Acks = field(default_factory=lambda: NO_ACKS)
    """Problems that are acknowledged, until they recover."""
    event_log: EventLog = field(default_factory=EventLog)
    """Events since the start."""
    alerts: Alerts = field(default_factory=Alerts)

    @classmethod
    def of(cls, limits: Mapping[Clean, Limits], acks: Acks = NO_ACKS) -> Monitor:
        """Return a monitor before its first outcome.

        Args:
            limits: of each profile, by its name; `NO_PROFILE` where there is only one.
            acks: from an earlier run.
        """
        fleets = {profile: Fleet(limits=each, profile=profile) for profile, each in limits.items()}
        return cls(Fleets(MappingProxyType(fleets)), acks)

    def after(self, profile: Clean, outcome: Outcome, now: Reading) -> tuple[Monitor, Update]:
        """Return the monitor after one poll under a profile, and what that changed.

        Args:
            profile: whose outcome it is.
            outcome: what the poll gave; a failure is one as well.
            now: this machine's clocks.
        """
        fleets, events = self.fleets.after(profile, outcome)
        ended = recovered(self.acks, fleets.environments)
        acks, alerts = self.acks, self.alerts
        if ended:
            acks = {id_: ack for id_, ack in acks.items() if id_ not in ended}
            # The first listing of a profile is a silent baseline.
            compared = (tracked for fleet in fleets if fleet.listings > 1 for tracked in fleet.environments.values())
            alerts = alerts.with_events(losses_of(ended, compared), now.monotonic)
        alerts = alerts.with_events(events, now.monotonic)
        event_log = self.event_log.after(events) if events else self.event_log
        return Monitor(fleets, acks, event_log, alerts), Update(events, ended)

    def with_acks(self, changes: Mapping[Clean, Ack | None]) -> Monitor:
        """Return the monitor with acknowledgements changed, by the environment's id; None withdraws one."""
        acks = {**self.acks, **changes}
        return replace(self, acks={id_: ack for id_, ack in acks.items() if ack is not None})

    def with_intervals(self, intervals: Mapping[Clean, timedelta]) -> Monitor:
        """Return the monitor with other poll intervals in force, by profile; itself if nothing changes."""
        fleets = self.fleets.with_interval(intervals)
        return self if fleets is self.fleets else replace(self, fleets=fleets)

    def due_alerts(self, now: Reading) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor, and the losses to announce now, as they have held for long enough."""

        def still_holds(loss: Event) -> bool | None:
            if self.fleets.by_profile[loss.profile].freshness(now) is Freshness.BLIND:
                return None
            tracked = self.fleets.tracked((loss.profile, loss.id)) if loss.id is not None else None
            return tracked is not None and not tracked.verdict.is_up and tracked.environment.id not in self.acks

        alerts, losses = self.alerts.due(now.monotonic, still_holds)
        return (self if alerts == self.alerts else replace(self, alerts=alerts)), losses
