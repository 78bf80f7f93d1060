"""Watchers of a script: envwatch without settings, off at night and with settings, and two naive watchers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Protocol

from support.month.playing import Step, steps
from support.month.scoring import Message
from support.month.script import DAY, EXPIRY, WATCHED_HOURS, Fault, Trouble

from envwatch.config.settings import all_settings_of
from envwatch.fleet import uptime_record
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.alert_state import alert_state, content_of
from envwatch.fleet.events import NO_PROFILE, EventLog, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.uptime_record import UptimeRecord, record_of
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed
from envwatch.watch.profiles import policy_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from support.month.script import Script

    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.clock import Clocks


class Watcher(Protocol):
    messages: list[Message]

    def take(self, step: Step) -> None:
        """Look at the world once."""

    def script(self, script: Script) -> Script:
        """Return the script with the times in which this watcher does not look."""
        return script


class Naive(Watcher):
    """The official rule by this machine's clock: a message for each row that is not online for `polls` consecutive
    polls.
    """

    def __init__(self, polls: int) -> None:
        self._polls = polls
        self._armed: set[str] = set()
        self._missing: dict[str, int] = {}
        self.messages: list[Message] = []

    def take(self, step: Step) -> None:
        outcome = step.outcome
        if outcome is None:
            self._armed, self._missing = set(), {}
        if not isinstance(outcome, Listed):
            return
        oldest = outcome.started.wall - EXPIRY
        online = {
            env.id
            for env in outcome.snapshot.pages[0].environments
            if env.connection_id and env.last_heartbeat_at is not None and env.last_heartbeat_at > oldest
        }
        lost = self._armed - online
        if lost or self._missing:
            self._missing = {id_: self._missing.get(id_, 0) + 1 for id_ in lost}
        told = {id_ for id_, count in self._missing.items() if count >= self._polls}
        self.messages += [Message(step.at, frozenset({id_})) for id_ in sorted(told)]
        self._armed = (self._armed | online) - told
        for id_ in told:
            del self._missing[id_]


def restarted(monitor: Monitor, now: Clocks) -> Monitor:
    """Return the monitor after a restart, with the alert state and the uptime record as files keep them."""
    content = json.loads(json.dumps(content_of(monitor.alert_state(NO_PROFILE, now), now)))
    following = new_monitor(monitor.policies[NO_PROFILE])
    state = alert_state(content, NO_PROFILE, now)
    following = following if state is None else following.with_alert_state(NO_PROFILE, state)
    if not (record := monitor.uptime_records[NO_PROFILE]).has_begun:
        return following
    kept = record_of(json.loads(json.dumps(uptime_record.content_of(record))))
    return following if kept is None else following.with_uptime_record(NO_PROFILE, kept)


def new_monitor(policy: AlertPolicy) -> Monitor:
    """Return a monitor that records the uptime of all rows."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})
    return monitor.with_uptime_record(NO_PROFILE, UptimeRecord())


class Envwatch(Watcher):
    def __init__(self, policy: AlertPolicy) -> None:
        self.messages: list[Message] = []
        self.monitor = new_monitor(policy)

    def take(self, step: Step) -> None:
        if step.outcome is None:
            self.monitor = restarted(self.monitor, step.now)
            return
        self.monitor, changes = self.monitor.apply(NO_PROFILE, step.outcome, step.now)
        if changes.opened:
            self._note(step.at, changes)
        if len(self.monitor.event_log) > _EVENTS_KEPT:
            self.monitor = replace(self.monitor, event_log=EventLog(), watched={})

    def _note(self, at: int, changes: MonitorChanges) -> None:
        for incident in changes.opened:
            ids = frozenset(str(loss.id) for loss in incident.losses if loss.id)
            # A message about envwatch names no row.
            if ids or incident.losses[0].kind is Kind.STALLED:
                self.messages.append(Message(at, ids))


_EVENTS_KEPT: Final = 200


class EnvwatchAtDay(Envwatch):
    """A monitor that is off at night."""

    def __init__(self, policy: AlertPolicy) -> None:
        super().__init__(policy)
        self._was_off = False

    def take(self, step: Step) -> None:
        begin, end = WATCHED_HOURS
        is_off = not begin <= step.at % DAY < end
        if not is_off:
            if self._was_off:
                super().take(Step(step.at, step.now, None))
            super().take(step)
        self._was_off = is_off

    def script(self, script: Script) -> Script:
        begin, end = WATCHED_HOURS
        nights = [(0, begin), *((at + end, at + DAY + begin) for at in range(0, script.length, DAY))]
        return script.with_troubles(Trouble(since, until, Fault.STOPPED) for since, until in nights)


def policy_with_settings(servers: Iterable[str]) -> AlertPolicy:
    """Return the alert policy of `SETTINGS`; `servers` are device ids."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.with_name("inventory").write_text("\n".join(servers))
        path.write_text(SETTINGS)
        (settings,) = all_settings_of({"config": str(path)}, {})
        return policy_for(settings)


SETTINGS: Final = """\
timezone = "UTC"
expect_file = "inventory"
alert = "!os:darwin,win32 !name:laptop-*,ci-*,vm-*"

[[quiet]]
filter = "name:desk-*"
hours = "19:30-07:30"
"""
"""The inventory has the device ids of all servers."""


def watchers(servers: Iterable[str]) -> Mapping[str, Watcher]:
    """Return the watchers by name, the most important one first; `servers` are device ids."""
    return {
        DEFAULT: Envwatch(AlertPolicy()),
        "envwatch, off at night": EnvwatchAtDay(AlertPolicy()),
        "envwatch, with settings": Envwatch(policy_with_settings(servers)),
        "naive, each poll": Naive(1),
        "naive, twice in a row": Naive(2),
    }


DEFAULT: Final = "envwatch, default without settings"


def watched(script: Script, by: Iterable[Watcher], polls: Sequence[int] | None = None) -> None:
    by = tuple(by)
    for step in steps(script, polls):
        for watcher in by:
            watcher.take(step)
