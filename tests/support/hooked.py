"""A monitor with one hook over scripted environments, with the time of each firing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from support.builders import NOW, environment, failed, key_of, listed, reading, slept
from support.policies import soon

from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.ledger import Progress
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor, MonitorChanges
from envwatch.hooks.decision import HookRule, HookState, following
from envwatch.hooks.message import message_of
from envwatch.model.acks import Ack
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.fleet.alerting.acknowledgements import ServerKey
    from envwatch.hooks.message import Context, Message
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


def row(name: str, at: float, *, is_up: bool = True, **changes: Any) -> Environment:
    link = {"lastHeartbeat": at - 1_000} if is_up else {"connectionId": None, "lastHeartbeat": None, "podId": None}
    signs = {"lastSeenAt": at - 1_000 if is_up else NOW - 1_000, "connectionName": name}
    return environment(name, **(signs | link | changes))


_WORDS = {
    Progress.DUE: "opened",
    Progress.REMINDER_DUE: "reminded",
    Progress.ACK_DUE: "acknowledged",
    Progress.END_DUE: "resolved",
}


class Fired(NamedTuple):
    subject: Event | Incident
    progress: Progress = Progress.DUE


@dataclass
class Hooked:
    names: list[str]
    state: HookState
    monitor: Monitor
    now: float = 0.0
    """Seconds since `NOW`."""
    fired: list[tuple[float, Fired]] = field(default_factory=list)
    """With the second of firing."""
    held: frozenset[SafeText] = frozenset({NO_PROFILE})
    """The profiles whose hooks this process runs."""

    def poll(self, *down: str, after: float = 5.0, **changes: Any) -> Hooked:
        """Poll `after` seconds later; `changes` apply to every row that is up, by wire name."""
        self.now += after
        at = NOW + self.now * 1000
        rows = [row(name, at, is_up=name not in down, **({} if name in down else changes)) for name in self.names]
        return self.take(listed(rows, at))

    def take(self, outcome: Outcome) -> Hooked:
        return self._step(*self.monitor.apply(NO_PROFILE, outcome, self._reading()))

    def fail(self, after: float = 5.0) -> Hooked:
        self.now += after
        return self.take(failed(at=NOW + self.now * 1000))

    def sleep(self, seconds: float) -> Hooked:
        asleep_at = NOW + self.now * 1000
        self.now += seconds
        return self.take(slept(asleep_at, NOW + self.now * 1000))

    def wait(self, seconds: float) -> Hooked:
        self.now += seconds
        return self._step(*self.monitor.tick(self._reading()))

    def hold(self, seconds: float, *down: str) -> Hooked:
        for _ in range(round(seconds / 5)):
            self.poll(*down)
        return self

    def ack(self, *names: str, lasts: float | None = None, by: str = "") -> Hooked:
        """Acknowledge rows, for `lasts` seconds or until the rows are back."""
        at = NOW + self.now * 1000
        until = None if lasts is None else at + lasts * 1000
        return self.decide({key_of(name): Ack(at, clean("on it"), by=clean(by), until=until) for name in names})

    def end_ack(self, *names: str) -> Hooked:
        at = NOW + self.now * 1000
        return self.decide({key_of(name): replace(self.monitor.acks[key_of(name)], until=at) for name in names})

    def decide(self, acks: Mapping[ServerKey, Ack | None]) -> Hooked:
        monitor, events = self.monitor.with_decided_acks(acks, self._reading())
        return self._step(monitor, MonitorChanges(self._reading(), events=events))

    def _reading(self) -> Any:
        return reading(NOW + self.now * 1000)

    def _step(self, monitor: Monitor, changes: MonitorChanges) -> Hooked:
        """Deliver what fires at once."""
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
            message_of(one.subject, hook, context, self.monitor, reading(NOW + at * 1000), progress=one.progress)
            for at, one in self.fired
        ]

    @property
    def said(self) -> list[str]:
        """The firings in words: `opened a+b`, `resolved a`, `offline a`."""
        return [text_of(fired) for _, fired in self.fired]


def text_of(fired: Fired) -> str:
    subject = fired.subject
    if isinstance(subject, Event):
        names = "+".join(str(member.name) for member in subject.members) or str(subject.name)
        return f"{(subject.of or subject.kind).value} {names}"
    count = len(subject.losses)
    names = "+".join(str(loss.name) for loss in subject.losses) if count < 10 else str(count)
    return f"{_WORDS[fired.progress]} {names}"


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
    monitor = Monitor.create({NO_PROFILE: Limits()}, settings.get("policies", soon()))
    monitor = monitor.with_silences(settings.get("silences", {}))
    return Hooked(list(names), HookState(hook=clean("page"), rule=HookRule(**rule)), monitor).poll(after=0)
