"""A monitor over scripted rows, with the incidents and events of each step.

`Night` polls every few seconds, `Hooked` also has a hook, and `SilencedNight` silences its laptops every night.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.builders import NOW, environment, failed, key_of, listed, reading, slept
from support.memory_history import MemoryHistory
from support.policies import soon

from envwatch.alerts.alert_state import alert_state, alert_state_content, unreadable_in
from envwatch.alerts.hook_rules import HookRule, HookState, following
from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.alerts.silences import recurring_silences, silence_of_environments
from envwatch.deliver.message import build_message
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.tracking import Matcher
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.alerts.silences import Silence, Silences
    from envwatch.deliver.message import Context, Message
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText

LIMITS: Final = {NO_PROFILE: Limits()}


def row(name: str, at: float, *, is_up: bool = True, **changes: Any) -> Environment:
    """Return a row with a sign of life a second before a moment, or before `NOW` if the connection is closed."""
    link = {"lastHeartbeat": at - 1_000} if is_up else {"connectionId": None, "lastHeartbeat": None, "podId": None}
    signs = {"lastSeenAt": at - 1_000 if is_up else NOW - 1_000, "connectionName": name}
    return environment(name, **(signs | link | changes))


def beating(name: str, beat_at: float) -> Environment:
    """Return a connected row, as the platform lists a machine after a power loss."""
    return environment(name, lastSeenAt=beat_at, connectionName=name, lastHeartbeat=beat_at)


def new_monitor(**settings: Any) -> Monitor:
    return Monitor.create(LIMITS, **({"policies": soon()} | settings))


@dataclass
class Watch:
    """A monitor over rows with names that are ids too."""

    names: Sequence[str]
    monitor: Monitor = field(default_factory=new_monitor)
    at: float = NOW
    opened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def clocks(self) -> Clocks:
        return reading(self.at)

    def take(self, outcome: Outcome) -> Self:
        return self.step(*self.monitor.apply(NO_PROFILE, outcome, self.clocks))

    def show(self, rows: Sequence[Environment]) -> Self:
        """Take a listing of rows at the present moment."""
        return self.take(listed(rows, self.at))

    def step(self, monitor: Monitor, changes: MonitorChanges) -> Self:
        self.monitor = monitor
        self.opened += changes.opened
        self.resolved += changes.resolved
        self.events += changes.events
        return self

    def row(self, name: str) -> TrackedEnvironment:
        return self.monitor.fleet.by_profile[NO_PROFILE].environments[clean(name)]

    def silence(self, *names: str, lasts: timedelta = timedelta(hours=1)) -> Self:
        """Silence rows from now on."""
        silence = silence_of_environments(map(key_of, names), WallMs(self.at), lasts, clean("disks"), clean("ada"))
        self.monitor = self.monitor.with_silences({silence.id: silence})
        return self

    def ack(self, *names: str, lasts: float | None = None, by: str = "") -> Self:
        """Acknowledge rows, for `lasts` seconds or until the rows are back."""
        until = None if lasts is None else self.at + lasts * 1000
        return self.decide({key_of(name): Ack(self.at, clean("on it"), by=clean(by), until=until) for name in names})

    def end_ack(self, *names: str) -> Self:
        return self.decide({key_of(name): replace(self.monitor.acks[key_of(name)], until=self.at) for name in names})

    def decide(self, acks: Mapping[ServerKey, Ack | None]) -> Self:
        monitor, events = self.monitor.with_decided_acks(acks, self.clocks)
        return self.step(monitor, MonitorChanges(self.clocks, events=events))

    def stored(self) -> dict[str, Any]:
        """Return the content of the alert state's file."""
        content: dict[str, Any] = json.loads(
            json.dumps(alert_state_content(self.monitor.alert_state(NO_PROFILE, self.clocks), self.clocks))
        )
        return content

    def restarted(
        self, seconds: float = 0.0, content: Mapping[str, Any] | None = None, silences: Silences | None = None
    ) -> Self:
        """Return the watch of a process that begins later with the files; `content` replaces the alert state's file."""
        content = self.stored() if content is None else content
        later = replace(self, at=self.at + seconds * 1000, opened=[], resolved=[], events=[])
        state = alert_state(content, NO_PROFILE, later.clocks)
        assert state is not None
        assert not unreadable_in(content)
        silences = self.monitor.silences if silences is None else silences
        later.monitor = Monitor.create(LIMITS, self.monitor.policies).with_silences(silences)
        later.monitor = later.monitor.with_alert_state(NO_PROFILE, state)
        return later

    def lost(self) -> list[set[str]]:
        """Return the names of each incident that opened."""
        return [{str(loss.name) for loss in incident.losses} for incident in self.opened]

    @property
    def sizes(self) -> tuple[list[int], list[int]]:
        """The number of losses of each opened and each resolved incident."""
        return [len(each.losses) for each in self.opened], [len(each.losses) for each in self.resolved]

    def ids(self, kind: Kind) -> set[str | None]:
        """Return the incidents of the events of a kind."""
        return {event.incident for event in flatten(self.events) if event.kind is kind}


@dataclass
class Night(Watch):
    """Polls every few seconds; rows are up or down for one poll."""

    @property
    def now(self) -> float:
        """Seconds since `NOW`."""
        return (self.at - NOW) / 1000

    def later(self, seconds: float) -> Self:
        """Let time pass without any look."""
        self.at += seconds * 1000
        return self

    def poll(self, *down: str, without: tuple[str, ...] = (), after: float = 5.0, **changes: Any) -> Self:
        """Poll `after` seconds later; `changes` apply to every row that is up, by wire name."""
        self.later(after)
        names = [name for name in self.names if name not in without]
        return self.show(
            [row(name, self.at, is_up=name not in down, **({} if name in down else changes)) for name in names]
        )

    def fail(self, after: float = 5.0, times: int = 1) -> Self:
        for _ in range(times):
            self.later(after).take(failed(at=ServerMs(self.at)))
        return self

    def sleep(self, seconds: float) -> Self:
        asleep_at = self.at
        return self.later(seconds).take(slept(asleep_at, self.at))

    def wait(self, seconds: float) -> Self:
        self.later(seconds)
        return self.step(*self.monitor.tick(self.clocks))

    def hold(self, seconds: float, *down: str, without: tuple[str, ...] = ()) -> Self:
        for _ in range(round(seconds / 5)):
            self.poll(*down, without=without)
        return self


def night(*names: str, **settings: Any) -> Night:
    """Return a night after the first listing, with all rows up."""
    return Night([*names], new_monitor(**settings)).poll(after=0)


_WORDS: Final = {
    Progress.DUE: "opened",
    Progress.REMINDER_DUE: "reminded",
    Progress.ACK_DUE: "acknowledged",
    Progress.END_DUE: "resolved",
}


class Fired(NamedTuple):
    subject: Event | Incident
    progress: Progress = Progress.DUE

    @property
    def text(self) -> str:
        """The firing in words: `opened a+b`, `resolved a`, `offline a`."""
        subject = self.subject
        if isinstance(subject, Event):
            names = "+".join(str(member.name) for member in subject.members) or str(subject.name)
            return f"{(subject.of or subject.kind).value} {names}"
        count = len(subject.losses)
        names = "+".join(str(loss.name) for loss in subject.losses) if count < 10 else str(count)
        return f"{_WORDS[self.progress]} {names}"


@dataclass
class Hooked(Night):
    """A night with one hook whose messages are delivered at once."""

    state: HookState = field(default_factory=lambda: HookState(hook=clean("page"), rule=HookRule()))
    fired: list[tuple[float, Fired]] = field(default_factory=list)
    """With the second of firing."""
    held: frozenset[SafeText] = frozenset({NO_PROFILE})
    """The profiles whose hooks this process runs."""

    def step(self, monitor: Monitor, changes: MonitorChanges) -> Self:
        super().step(monitor, changes)
        self.state, fired = self.state.apply(changes, monitor, self.held)
        ledger, hook, at = monitor.ledger, self.state.hook, changes.now.monotonic
        for incident, progress in following(self.state, monitor, changes.now, self.held):
            ledger = ledger.next_due(incident.id, hook, progress, at)
        for incident, announcement in [*ledger.unsent(monitor.incidents.open, hook)]:
            self.fired.append((self.now, Fired(incident, announcement.progress)))
            ledger = ledger.told(incident.id, hook, announcement.progress, at)
        self.fired += ((self.now, Fired(each)) for each in fired)
        for each in fired:
            if isinstance(each, Incident):
                ledger = ledger.due(each.id, hook, NO_PROFILE, at).told(each.id, hook, Progress.DUE, at)
        self.monitor = replace(monitor, ledger=ledger)
        return self

    @property
    def told(self) -> list[str]:
        """The ids of the incidents whose end the hook must hear."""
        announced = self.monitor.ledger.announcements.items()
        channels = ((id_, channels.get(self.state.hook)) for id_, channels in announced)
        return [id_ for id_, each in channels if each is not None and each.progress is Progress.TOLD]

    def messages(self, context: Context) -> list[Message]:
        """Return the messages of the firings, in the monitor's present state."""
        hook = clean("pager")
        return [
            build_message(one.subject, hook, context, self.monitor, reading(NOW + at * 1000), progress=one.progress)
            for at, one in self.fired
        ]

    @property
    def said(self) -> list[str]:
        return [fired.text for _, fired in self.fired]


def hooked(
    *names: str, on: Iterable[Kind] = (), after: float = 0, cooldown: float = 0, rule: Any = None, **settings: Any
) -> Hooked:
    """Return a hook after the first listing, with all rows up; without kinds, the hook is about incidents."""
    rule = {
        "kinds": frozenset(on),
        "has_incidents": not on,
        "after": timedelta(seconds=after),
        "cooldown": timedelta(seconds=cooldown),
    } | (rule or {})
    monitor = new_monitor(policies=settings.get("policies", soon())).with_silences(settings.get("silences", {}))
    return Hooked([*names], monitor, state=HookState(hook=clean("page"), rule=HookRule(**rule))).poll(after=0)


LAPTOPS: Final = Matcher(clean("name:mac-*"), lambda tracked, _: tracked.environment.label.startswith("mac-"))
NIGHTS: Final = RecurringHours(begin=17 * 60, end=10 * 60)


def recurring_policies(*hours: RecurringHours, **settings: object) -> dict:  # type: ignore[type-arg]
    """Return a policy that silences the laptops at the hours."""
    zone: Any = settings.get("zone", UTC)
    return soon(
        recurring=recurring_silences([(LAPTOPS, each) for each in hours or (NIGHTS,)], zone),
        **settings | {"zone": zone},
    )


@dataclass
class SilencedNight(Watch):
    """Laptops (`mac-…`) that are silenced every night, and servers that are not.

    Times are `HH:MM` or `HH:MM:SS` of a day from 9 October 2025, a Thursday.
    """

    names: Sequence[str] = ("mac-1", "mac-2", "mac-3", "web-1", "web-2")
    monitor: Monitor = field(default_factory=lambda: new_monitor(policies=recurring_policies()))
    day: int = 9
    off_at: dict[str, float] = field(default_factory=dict)
    history: MemoryHistory = field(default_factory=MemoryHistory)

    def instant(self, time: str) -> float:
        when = datetime.fromisoformat(f"2025-10-{self.day:02}T{time}").replace(tzinfo=UTC)
        return when.timestamp() * 1000

    def poll(self, time: str, *off: str) -> SilencedNight:
        """Poll at a time, with rows whose connection is closed since this poll or before."""
        self.at = self.instant(time)
        self.off_at = {name: self.off_at.get(name, self.at) for name in off}
        return self.show([self._row(name) for name in self.names])

    def poll_until(self, time: str, *off: str, every: float = 5) -> SilencedNight:
        """Poll every few seconds until a time."""
        until = self.instant(time)
        while self.at < until:
            following = datetime.fromtimestamp(self.at / 1000, UTC) + timedelta(seconds=every)
            self.day = following.day
            self.poll(f"{following:%H:%M:%S}", *off)
        return self

    def next_day(self, time: str, *off: str) -> SilencedNight:
        self.day += 1
        return self.poll(time, *off)

    def fail(self, time: str) -> SilencedNight:
        self.at = self.instant(time)
        return self.take(failed(at=ServerMs(self.at)))

    def tick(self, time: str) -> SilencedNight:
        self.at = self.instant(time)
        return self.step(*self.monitor.tick(self.clocks))

    def step(self, monitor: Monitor, changes: MonitorChanges) -> Self:
        self.history.record(monitor, changes)
        return super().step(monitor, changes)

    def end(self, name: str) -> SilencedNight:
        """End the silence in force of a row."""
        silenced = self.monitor.judge(self.clocks).silenced(self.row(name))
        assert silenced is not None
        ended: Silence = silenced.silence.ended(WallMs(self.at), clean("ada"))
        self.monitor = self.monitor.with_silences({ended.id: ended})
        return self

    def silenced(self) -> set[str]:
        """Return the names of the silenced rows."""
        rows = self.monitor.fleet.environments
        return {each.environment.label for each in rows if self.monitor.judge(self.clocks).silenced(each) is not None}

    def alerting(self) -> set[str]:
        rows = self.monitor.fleet.environments
        return {each.environment.label for each in rows if self.monitor.judge(self.clocks).is_alerting(each)}

    def _row(self, name: str) -> Environment:
        if name in self.off_at:
            seen = self.off_at[name] - 1_000
            return row(name, self.at, is_up=False, lastSeenAt=seen, podId="pod-1")
        return row(name, self.at)
