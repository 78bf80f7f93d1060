"""The loop over outcomes and seconds, the only place where a monitor changes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from envwatch.alerts.acknowledgements import with_changes
from envwatch.alerts.monitor import MonitorChanges
from envwatch.fleet.events import EventLog
from envwatch.letta.poller import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.alerts.alert_policy import Word, Words
    from envwatch.alerts.alert_state import AlertState
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.ledger import Ledger
    from envwatch.alerts.monitor import Monitor
    from envwatch.alerts.silences import Silence, Silences
    from envwatch.alerts.uptime_record import UptimeRecord
    from envwatch.fleet.events import Event
    from envwatch.letta.poller import PolledProfile, Session
    from envwatch.model.acks import Ack
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText

_TICK_S = 1.0
_OUTCOMES_KEPT = 60
"""Outcomes of a profile kept until the records of earlier runs are read; later, nothing is compared with those."""


class MonitorUpdate(NamedTuple):
    """A change of the monitor by an outcome or a second."""

    before: Monitor
    monitor: Monitor
    changes: MonitorChanges

    @property
    def has_new_listing(self) -> bool:
        """Whether a complete listing was accepted; missing rows may be in quarantine."""
        profile = self.changes.profile
        if profile is None:
            return False
        before, after = (monitor.fleet.by_profile[profile] for monitor in (self.before, self.monitor))
        return after.listings > before.listings


class Decisions(NamedTuple):
    """People's decisions about environments; None takes a decision back."""

    acks: Mapping[ServerKey, Ack | None] = MappingProxyType({})
    silences: Mapping[SafeText, Silence | None] = MappingProxyType({})
    words: Mapping[ServerKey, Word | None] = MappingProxyType({})


class News(NamedTuple):
    """Changes of the state files; None for an unchanged file."""

    acks: Acks | None = None
    silences: Silences | None = None
    words: Words | None = None
    uptimes: Mapping[SafeText, UptimeRecord] = MappingProxyType({})
    taken_over: Mapping[SafeText, AlertState | None] = MappingProxyType({})
    """Profiles whose hooks this process runs from now on, with stored states."""
    failing_hooks: Mapping[SafeText, WallMs] = MappingProxyType({})
    """Times of the first failures by failing hook, in all processes."""


NO_NEWS = News()

Observer: TypeAlias = "Callable[[MonitorUpdate], None]"
"""Gets updates and decisions' events before anybody else; never waits."""

Deadline: TypeAlias = "Callable[[Clocks], float]"
"""Returns the seconds left; 0 or less after the deadline."""


Seeding: TypeAlias = "Callable[[Monitor, Sequence[Outcome]], tuple[Monitor, Sequence[Event]]]"
"""Takes a monitor and all outcomes of a profile so far.

Returns the monitor that knows earlier runs, and the changes since the last run.
"""


def deadline_after(began: Clocks, lasts: timedelta | None = None, until: datetime | None = None) -> Deadline:
    """Return the deadline after `lasts` or at `until`, whichever is first."""
    ends_s = math.inf if lasts is None else began.monotonic + lasts.total_seconds()
    ends_ms = math.inf if until is None else until.timestamp() * 1000
    return lambda now: min(ends_s - now.monotonic, (ends_ms - now.wall) / 1000)


def never(_now: Clocks) -> float:
    """Return infinity, for no deadline."""
    return math.inf


def ignore(*_: object, **__: object) -> None:
    """Do nothing."""


class Watch:
    """Joins poller, monitor, state files and recorder: an async iterator of updates until the deadline.

    The caller enters the session; without a session, only time passes. A thread calls `read` after each outcome,
    because the disk may be slow. `keep` saves decisions and never waits. `has_log` keeps the event log, which grows.
    `awaits_past` are profiles that `seed` will be called for.
    """

    def __init__(  # noqa: PLR0913  the parts that a watch joins
        self,
        monitor: Monitor,
        session: Session | None = None,
        *,
        read: Callable[[Clocks], News] | None = None,
        keep: Callable[[Decisions], None] = ignore,
        runtime: Runtime | None = None,
        deadline: Deadline = never,
        has_log: bool = False,
        awaits_past: Collection[SafeText] = (),
    ) -> None:
        self.monitor = monitor
        self.targets: Mapping[SafeText, PolledProfile] = {} if session is None else session.targets
        self.failing_hooks: Mapping[SafeText, WallMs] = {}
        self._session = session
        self._read = read
        self._keep = keep
        self.observers = list[Observer]()
        self._runtime = runtime or Runtime()
        self.clocks = self._runtime.clocks
        self._deadline = deadline
        self._has_log = has_log
        self._outcomes: dict[SafeText, list[Outcome]] = {profile: [] for profile in awaits_past}
        self._decided: list[Decisions] = []
        """Decisions since the last reading of the state files began."""
        self._pending: asyncio.Task[tuple[SafeText, Outcome, News]] | None = None
        self._has_come = asyncio.Event()
        self._tick_at: float | None = None

    def resume(self, states: Mapping[SafeText, AlertState | None]) -> None:
        """Take an earlier run's alerts and rows; call before the first poll."""
        for profile, state in states.items():
            if state is not None:
                self.monitor = self.monitor.with_alert_state(profile, state)
                rows = state.known_run.rows.values()
                self.targets[profile].remember(row.environment for row in rows if not row.verdict.is_absent)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MonitorUpdate:
        now = self.clocks()
        if self._tick_at is None:
            self._tick_at = now.monotonic + _TICK_S
        if self._pending is None:
            # The last task's callback may come after the last outcome was taken.
            has_come = self._has_come = asyncio.Event()
            self._pending = asyncio.ensure_future(self._next())
            self._pending.add_done_callback(lambda _: has_come.set())
        while (left := self._deadline(now)) > 0:
            await self._runtime.wait(self._has_come, max(min(self._tick_at - now.monotonic, left), 0.0))
            now = self.clocks()
            if self._pending.done():
                came, self._pending = self._pending.result(), None
                return self.take(*came)
            if now.monotonic >= self._tick_at:
                return self.tick()
        raise StopAsyncIteration

    async def came(self) -> AsyncIterator[MonitorUpdate]:
        """Yield updates of outcomes that need no waiting."""
        while self._session is not None and self._session.is_ready:
            yield self.take(*await self._next())

    async def _next(self) -> tuple[SafeText, Outcome, News]:
        if self._session is None:
            await asyncio.Event().wait()
            raise AssertionError
        profile, outcome = await anext(self._session)
        self._decided.clear()
        if self._read is None:
            return profile, outcome, NO_NEWS
        return profile, outcome, await asyncio.to_thread(self._read, self.clocks())

    def take(self, profile: SafeText, outcome: Outcome, news: News = NO_NEWS) -> MonitorUpdate:
        """Take news and an outcome; return the update."""
        now = self.clocks()
        if (outcomes := self._outcomes.get(profile)) is not None:
            outcomes.append(outcome)
            if len(outcomes) > _OUTCOMES_KEPT:
                del self._outcomes[profile]
        before, turned = self._with_news(news, now)
        monitor, changes = before.apply(profile, outcome, now)
        acks = {**changes.continued_acks, **dict.fromkeys(changes.ended_acks)}
        if acks or changes.inherited_words:
            self._save(Decisions(acks=acks, words=changes.inherited_words))
        self.failing_hooks = news.failing_hooks
        changes = changes._replace(events=(*turned, *changes.events))
        return self._updated(MonitorUpdate(before, monitor, changes))

    def tick(self) -> MonitorUpdate:
        """Return the update by time alone."""
        now = self.clocks()
        self._tick_at = now.monotonic + _TICK_S
        return self._updated(MonitorUpdate(self.monitor, *self.monitor.tick(now)))

    def decide(self, decisions: Decisions) -> None:
        """Take and save a person's decisions."""
        now, before = self.clocks(), self.monitor
        self._save(decisions)
        monitor, turned = before.with_words(with_changes(before.words, decisions.words), now)
        monitor, acked = monitor.with_decided_acks(decisions.acks, now)
        monitor = monitor.with_silences(decisions.silences)
        self._updated(MonitorUpdate(before, monitor, MonitorChanges(now, events=(*turned, *acked))))

    def note(self, text: SafeText) -> None:
        """Log a message about envwatch."""
        self.monitor = self.monitor.with_notice(text, self.clocks())

    def enter(self, ledger: Ledger) -> None:
        """Take a changed ledger."""
        self.monitor = replace(self.monitor, ledger=ledger)

    def due_alerts(self) -> tuple[Incident, ...]:
        """Return the incidents for a bell now, each once."""
        self.monitor, incidents = self.monitor.due_alerts(self.clocks())
        return incidents

    def read_intervals(self) -> None:
        """Take the pollers' intervals after a person's wish; further intervals come with outcomes."""
        intervals = {profile: target.poller.schedule.interval for profile, target in self.targets.items()}
        self.monitor = self.monitor.with_intervals(intervals)

    async def seed(self, profile: SafeText, seeded: Seeding) -> Sequence[Event]:
        """Add records of earlier runs, computed in a thread, and again if the monitor changes meanwhile; call once.

        Return the changes since the last run.
        """
        while True:
            before = self.monitor
            monitor, changes = await asyncio.to_thread(seeded, before, [*self._outcomes.get(profile, ())])
            if self.monitor is before:
                self.monitor = monitor
                self._outcomes.pop(profile, None)
                return changes

    async def aclose(self) -> None:
        """Stop waiting for an outcome."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)

    def _with_news(self, news: News, now: Clocks) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor after the news, and the resulting events.

        The files may lack decisions made during the reading.
        """
        monitor, acks, silences, words = self.monitor, news.acks, news.silences, news.words
        for each in self._decided:
            acks = None if acks is None else with_changes(acks, each.acks)
            silences = None if silences is None else with_changes(silences, each.silences)
            words = None if words is None else with_changes(words, each.words)
        for profile, record in news.uptimes.items():
            monitor = monitor.with_uptime_record(profile, record)
        monitor, turned = (monitor, ()) if words is None else monitor.with_words(words, now)
        monitor, acked = (monitor, ()) if acks is None else monitor.with_stored_acks(acks, now)
        if silences is not None:
            monitor = replace(monitor, silences=silences)
        for profile, state in news.taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
        if acks is not None or news.taken_over:
            monitor = monitor.with_missed_ends(now)
        return monitor, (*turned, *acked)

    def _save(self, decisions: Decisions) -> None:
        self._decided.append(decisions)
        self._keep(decisions)

    def _updated(self, update: MonitorUpdate) -> MonitorUpdate:
        self.monitor = update.monitor
        if not self._has_log and self.monitor.event_log:
            self.monitor = replace(self.monitor, event_log=EventLog())
            update = update._replace(monitor=self.monitor)
        for observe in self.observers:
            observe(update)
        return update
