"""A fleet whose laptops (`mac-…`) are silenced every night, and whose servers are not, at times of a zone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from support.builders import environment, failed, key_of, listed, reading
from support.memory_history import MemoryHistory
from support.policies import soon

from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.alerting.silences import recurring_silences, silence_of_environments
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.tracking import Matcher
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.fleet.alerting.silences import Silence
    from envwatch.fleet.events import Event
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment

LAPTOPS: Final = Matcher(clean("name:mac-*"), lambda tracked, _: tracked.environment.label.startswith("mac-"))
NIGHTS: Final = RecurringHours(begin=17 * 60, end=10 * 60)


def recurring_policies(*hours: RecurringHours, **settings: object) -> dict:  # type: ignore[type-arg]
    """Return a policy that silences the laptops at the hours."""
    zone: Any = settings.get("zone", UTC)
    return soon(
        silences=recurring_silences([(LAPTOPS, each) for each in hours or (NIGHTS,)], zone), **settings | {"zone": zone}
    )


@dataclass
class SilencedNight:
    """A monitor over laptops and servers; times are `HH:MM` or `HH:MM:SS` of a day from 9 October 2025, a Thursday."""

    names: tuple[str, ...] = ("mac-1", "mac-2", "mac-3", "web-1", "web-2")
    monitor: Monitor = field(
        default_factory=lambda: Monitor.create({NO_PROFILE: Limits()}, policies=recurring_policies())
    )
    day: int = 9
    at: float = 0.0
    off_at: dict[str, float] = field(default_factory=dict)
    opened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    history: MemoryHistory = field(default_factory=MemoryHistory)

    def instant(self, time: str) -> float:
        when = datetime.fromisoformat(f"2025-10-{self.day:02}T{time}").replace(tzinfo=UTC)
        return when.timestamp() * 1000

    def poll(self, time: str, *off: str) -> SilencedNight:
        """Poll at a time, with rows whose connection is closed since this poll or before."""
        self.at = self.instant(time)
        self.off_at = {name: self.off_at.get(name, self.at) for name in off}
        rows = [self._row(name) for name in self.names]
        self.monitor, changes = self.monitor.apply(NO_PROFILE, listed(rows, self.at), reading(self.at))
        return self._note(changes)

    def poll_until(self, time: str, *off: str) -> SilencedNight:
        """Poll each five seconds until a time."""
        until = self.instant(time)
        while self.at < until:
            following = datetime.fromtimestamp(self.at / 1000, UTC) + timedelta(seconds=5)
            self.day = following.day
            self.poll(f"{following:%H:%M:%S}", *off)
        return self

    def fail(self, time: str) -> SilencedNight:
        self.at = self.instant(time)
        self.monitor, changes = self.monitor.apply(NO_PROFILE, failed(at=ServerMs(self.at)), reading(self.at))
        return self._note(changes)

    def tick(self, time: str) -> SilencedNight:
        self.at = self.instant(time)
        self.monitor, changes = self.monitor.tick(reading(self.at))
        return self._note(changes)

    def row(self, name: str) -> TrackedEnvironment:
        return self.monitor.fleet.by_profile[NO_PROFILE].environments[clean(name)]

    def silence(self, *names: str, lasts: timedelta = timedelta(hours=1)) -> Silence:
        """Silence rows from the newest poll on."""
        silence = silence_of_environments(map(key_of, names), WallMs(self.at), lasts, clean("disks"), clean("ada"))
        self.monitor = self.monitor.with_silences({silence.id: silence})
        return silence

    def end(self, name: str) -> SilencedNight:
        """End the silence in force of a row."""
        silenced = self.monitor.silenced(self.row(name), reading(self.at))
        assert silenced is not None
        ended = silenced.silence.ended(WallMs(self.at), clean("ada"))
        self.monitor = self.monitor.with_silences({ended.id: ended})
        return self

    def silenced(self) -> set[str]:
        """Return the names of the silenced rows."""
        now = reading(self.at)
        rows: Iterable[TrackedEnvironment] = self.monitor.fleet.environments
        return {each.environment.label for each in rows if self.monitor.silenced(each, now) is not None}

    def alerting(self) -> set[str]:
        now = reading(self.at)
        rows: Iterable[TrackedEnvironment] = self.monitor.fleet.environments
        return {each.environment.label for each in rows if self.monitor.is_alerting(each, now)}

    def lost(self) -> list[set[str]]:
        """Return the names of each incident that opened."""
        return [{str(loss.name) for loss in incident.losses} for incident in self.opened]

    def _row(self, name: str) -> Environment:
        if name in self.off_at:
            seen = self.off_at[name] - 1_000
            link = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": seen}
        else:
            link = {"lastHeartbeat": self.at - 1_000, "lastSeenAt": self.at - 1_000}
        return environment(name, connectionName=name, **link)

    def _note(self, changes: MonitorChanges) -> SilencedNight:
        self.history.record(self.monitor, changes)
        self.opened += changes.opened
        self.resolved += changes.resolved
        self.events += changes.events
        return self
