"""A monitor over scripted rows with a poll every few seconds, and the incidents and events of each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.builders import NOW, environment, failed, listed, reading
from support.policies import soon

from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits

if TYPE_CHECKING:
    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.environment import Environment

LIMITS = {NO_PROFILE: Limits()}


def row(name: str, at: float, *, is_up: bool = True) -> Environment:
    link = {"lastHeartbeat": at - 1_000} if is_up else {"connectionId": None, "lastHeartbeat": None}
    return environment(name, lastSeenAt=at - 1_000 if is_up else NOW - 1_000, connectionName=name, **link)


@dataclass
class Night:
    names: list[str]
    monitor: Monitor = field(default_factory=lambda: Monitor.create(LIMITS, policies=soon()))
    now: float = 0.0
    """Seconds since `NOW`."""
    opened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def poll(self, *down: str, without: tuple[str, ...] = (), after: float = 5.0) -> Night:
        self.now += after
        at = NOW + self.now * 1000
        rows = [row(name, at, is_up=name not in down) for name in self.names if name not in without]
        self.monitor, changes = self.monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
        return self.note(changes)

    def fail(self, after: float = 5.0) -> Night:
        self.now += after
        at = NOW + self.now * 1000
        self.monitor, changes = self.monitor.apply(NO_PROFILE, failed(at=ServerMs(at)), reading(at))
        return self.note(changes)

    def wait(self, seconds: float) -> Night:
        self.now += seconds
        self.monitor, changes = self.monitor.tick(reading(NOW + self.now * 1000))
        return self.note(changes)

    def hold(self, seconds: float, *down: str) -> Night:
        for _ in range(round(seconds / 5)):
            self.poll(*down)
        return self

    def note(self, changes: MonitorChanges) -> Night:
        self.opened += changes.opened
        self.resolved += changes.resolved
        self.events += changes.events
        return self

    @property
    def sizes(self) -> tuple[list[int], list[int]]:
        return [len(each.losses) for each in self.opened], [len(each.losses) for each in self.resolved]

    def ids(self, kind: Kind) -> set[str | None]:
        return {event.incident for event in flatten(self.events) if event.kind is kind}


def night(*names: str, **settings: Any) -> Night:
    return Night(list(names), Monitor.create(LIMITS, **({"policies": soon()} | settings))).poll(after=0)


def beating(name: str, beat_at: float) -> Environment:
    """Return a connected row, as the platform lists a machine after a power loss."""
    return environment(name, lastSeenAt=beat_at, connectionName=name, lastHeartbeat=beat_at)
