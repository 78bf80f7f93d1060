"""Monitoring without a screen: a loop over a session's outcomes and seconds."""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import (
    History,
    history_for,
    note_targets,
    policies_for,
    poll_log_for,
    state_file,
    targets_for,
)
from envwatch.cli.streams import print_error
from envwatch.cli.uptime_files import UptimeFiles
from envwatch.fleet.events import EventLog
from envwatch.fleet.monitor import Monitor, MonitorChanges
from envwatch.model.outcome import Failed, Listed, Outcome
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Runtime, Session, Target, read_clocks
from envwatch.storage.state_file import (
    ACKNOWLEDGEMENTS,
    WORDS,
    ChangedFile,
    StateFile,
    acknowledged,
    silences_in,
    words_in,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
    from datetime import datetime, timedelta

    from envwatch.cli.alert_files import AlertFiles
    from envwatch.cli.bootstrap import Profiles
    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.fleet.alerting.alert_policy import Words
    from envwatch.fleet.alerting.alert_state import AlertState
    from envwatch.fleet.alerting.silences import Silences
    from envwatch.fleet.events import Event
    from envwatch.fleet.uptime_record import UptimeRecord
    from envwatch.history.past import Past
    from envwatch.model.clock import Clocks
    from envwatch.storage.log import PollLog

_TICK_S = 1.0
_SLOW_LISTINGS = 2
"""Listings in a row with slow polls before a line says so: one may be slow by chance."""
_REFUSALS = 2
"""After so many refusals in a row the refusal counts as final; the poller tries again after 30 s."""


class MonitorUpdate(NamedTuple):
    """An outcome, or a second without an outcome."""

    before: Monitor
    monitor: Monitor
    changes: MonitorChanges
    taken_over: Mapping[SafeText, AlertState | None] = MappingProxyType({})
    """Profiles whose hooks this process runs from now on, with an earlier run's state."""

    @property
    def has_new_listing(self) -> bool:
        """Whether a complete listing was accepted. Missing rows may still be in quarantine."""
        profile = self.changes.profile
        if profile is None:
            return False
        before, after = (monitor.fleet.by_profile[profile] for monitor in (self.before, self.monitor))
        return after.listings > before.listings


Deadline: TypeAlias = "Callable[[Clocks], float]"
"""Returns the seconds left at a moment; 0 or less after the deadline."""


def deadline_after(began: Clocks, lasts: timedelta | None = None, until: datetime | None = None) -> Deadline:
    """Return the deadline after a time or at a moment, whichever is first; never without both."""
    ends_s = math.inf if lasts is None else began.monotonic + lasts.total_seconds()
    ends_ms = math.inf if until is None else until.timestamp() * 1000
    return lambda now: min(ends_s - now.monotonic, (ends_ms - now.wall) / 1000)


def _never(_now: Clocks) -> float:
    return math.inf


class _Newest(NamedTuple):
    acks: Acks | None
    silences: Silences | None
    words: Words | None
    uptimes: Mapping[SafeText, UptimeRecord]
    taken_over: Mapping[SafeText, AlertState | None]


class StateFiles:
    """Acknowledgements, silences and alerts on disk, which any process may change."""

    def __init__(self, profiles: Profiles, warn: Callable[[str], None], alerts: AlertFiles | None = None) -> None:
        path = state_file("acknowledged")
        self._warn = warn
        self._file = StateFile(ACKNOWLEDGEMENTS, path, warn)
        self._acks = ChangedFile(path, acknowledged)
        silences = partial(silences_in, matcher_of=profiles.silence_matcher)
        self._silences = ChangedFile(state_file("silences"), silences)
        words_path = state_file("alerts-by-hand")
        self._words_file = StateFile(WORDS, words_path, warn)
        self._words = ChangedFile(words_path, words_in)
        self._uptimes = UptimeFiles(profiles, warn)
        self._alerts = alerts
        self._taken_over: Mapping[SafeText, AlertState | None] = {}

    async def resumed(self, monitor: Monitor, targets: Mapping[SafeText, Target], now: Clocks) -> Monitor:
        """Return the monitor before the first poll, with the alerts taken over from an earlier run."""
        if self._alerts is not None:
            self._taken_over = await asyncio.to_thread(self._alerts.take_over, now, self._warn)
        for profile, state in self._taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
                known = monitor.fleet.by_profile[profile].earlier
                rows = () if known is None else known.rows.values()
                targets[profile].remember(row.environment for row in rows if not row.presence.is_absent)
        return monitor

    async def newest(
        self, monitor: Monitor, now: Clocks
    ) -> tuple[Monitor, tuple[Event, ...], Mapping[SafeText, AlertState | None]]:
        """Return a monitor with the latest changes on disk, the events that follow, and the alerts taken over."""
        acks, silences, words, uptimes, taken_over = await asyncio.to_thread(self._read, now)  # the disk may be slow
        events: tuple[Event, ...] = ()
        for profile, record in uptimes.items():
            monitor = monitor.with_uptime_record(profile, record)
        if words is not None:
            monitor, events = monitor.with_words(words, now)
        if acks is not None:
            monitor = replace(monitor, acks=acks)
        if silences is not None:
            monitor = replace(monitor, silences=silences)
        for profile, state in taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
        taken_over, self._taken_over = {**self._taken_over, **taken_over}, {}
        return monitor, events, taken_over

    def _read(self, now: Clocks) -> _Newest:
        taken_over = {} if self._alerts is None else self._alerts.take_over(now, self._warn)
        uptimes = self._uptimes.newest(now)
        return _Newest(self._acks.changed(), self._silences.changed(), self._words.changed(), uptimes, taken_over)

    def keep(self, monitor: Monitor, changes: MonitorChanges) -> None:
        """Save ended acknowledgements, inherited words, and now and then the uptimes."""
        if changes.ended_acks:
            self._file.keep(dict.fromkeys(changes.ended_acks))
        if changes.inherited_words:
            self._words_file.keep(changes.inherited_words)
        self._uptimes.keep(monitor, changes.now)

    def close(self) -> None:
        """Write pending changes."""
        self._file.close()
        self._words_file.close()
        self._uptimes.close()


class Monitoring(NamedTuple):
    """The polled targets and the monitor's updates."""

    targets: Mapping[SafeText, Target]
    updates: AsyncGenerator[MonitorUpdate, None]
    pasts: Mapping[SafeText, Past]
    poll_log: PollLog
    warn: Callable[[str], None]
    """Reports a problem outside the polls on standard error and in the log, from any thread."""

    @property
    def polled(self) -> str:
        """The polled servers and intervals, as text for people."""
        parts = [
            f"{target.host} every {target.poller.interval.total_seconds():g} s (profile {target.profile})"
            for target in self.targets.values()
        ]
        return ", ".join(parts)


@asynccontextmanager
async def monitoring(
    profiles: Profiles,
    options: Options,
    deadline: Deadline = _never,
    alerts: AlertFiles | None = None,
    *,
    is_recorded: bool = True,
) -> AsyncIterator[Monitoring]:
    """Poll and record profiles; `alerts` are the alert states of an earlier run."""
    policies, targets = policies_for(profiles), targets_for(profiles)
    profile_name = clean(profiles.first.profile)
    monitor = Monitor.create(profiles.limits, policies=policies, profile_name=profile_name, servers=profiles.servers)
    poll_log = poll_log_for(options, _warn)
    note_targets(poll_log, targets.values())

    def warn(line: str) -> None:
        poll_log.note(line)
        _warn(line)

    saved = StateFiles(profiles, warn, alerts)
    history = history_for(profiles, options, warn) if is_recorded else History(None, {})
    try:
        monitor = await saved.resumed(monitor, targets, read_clocks())
        async with (
            Session(targets, poll_log.observe, gc_tuning.start_after_first_outcome()) as session,
            aclosing(updates(session, monitor, deadline, saved)) as fresh,
            aclosing(_recorded(fresh, history, targets, warn)) as recorded,
        ):
            with closing(history):
                yield Monitoring(targets, recorded, history.pasts, poll_log, warn)
    finally:
        saved.close()
        poll_log.close()


def _warn(line: str) -> None:
    print_error(f"envwatch: {clean(line)}")


async def updates(
    session: Session,
    monitor: Monitor,
    deadline: Deadline = _never,
    saved: StateFiles | None = None,
    runtime: Runtime | None = None,
) -> AsyncGenerator[MonitorUpdate, None]:
    """Yield an update for each outcome and each second, until the deadline.

    The caller enters the session. The monitor keeps no event log, which would grow unread.
    """
    runtime = runtime or Runtime()
    ready = asyncio.Event()

    def waiting() -> asyncio.Task[tuple[SafeText, Outcome]]:
        ready.clear()
        task = asyncio.ensure_future(anext(session))
        task.add_done_callback(lambda _: ready.set())
        return task

    now = runtime.clocks()
    tick_at = now.monotonic + _TICK_S
    pending = waiting()
    try:
        while (left := deadline(now)) > 0:
            await runtime.wait(ready, max(min(tick_at - now.monotonic, left), 0.0))
            now = runtime.clocks()
            intervals = {profile: target.poller.schedule.interval for profile, target in session.targets.items()}
            before = monitor.with_intervals(intervals)  # the intervals decide blindness
            if pending.done():
                profile, outcome = pending.result()
                taken_over: Mapping[SafeText, AlertState | None] = {}
                turned: tuple[Event, ...] = ()
                if saved is not None:
                    before, turned, taken_over = await saved.newest(before, now)
                monitor, changes = before.apply(profile, outcome, now)
                changes = changes._replace(events=(*turned, *changes.events))
                if saved is not None:
                    saved.keep(monitor, changes)
                monitor = replace(monitor, event_log=EventLog())
                yield MonitorUpdate(before, monitor, changes, taken_over)
                pending = waiting()
            elif now.monotonic >= tick_at:
                monitor, changes = before.tick(now)
                tick_at = now.monotonic + _TICK_S
                yield MonitorUpdate(before, monitor, changes)
            now = runtime.clocks()
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


async def _recorded(
    fresh: AsyncGenerator[MonitorUpdate, None],
    history: History,
    targets: Mapping[SafeText, Target],
    warn: Callable[[str], None],
) -> AsyncGenerator[MonitorUpdate, None]:
    """Record updates, and warn once of a profile's slow polls."""
    slow: Counter[SafeText] = Counter()
    async for update in fresh:
        if history.recorder is not None:
            history.recorder.record(update.monitor, update.changes)
        profile = update.changes.profile
        if profile is not None and isinstance(update.changes.outcome, Listed) and slow[profile] < _SLOW_LISTINGS:
            poller = targets[profile].poller
            slow[profile] = slow[profile] + 1 if poller.schedule.is_slow else 0
            if slow[profile] == _SLOW_LISTINGS:
                from envwatch.views.pace import pace_advice

                if (advice := pace_advice(poller.limits, poller.cost)) is not None:
                    warn(f"{profile}: {advice}" if profile else advice)
        yield update


@dataclass(slots=True)
class Refusals:
    """Counts refusals (401 or 403) of each profile's key since the last listing."""

    targets: Mapping[SafeText, Target]
    _counts: dict[SafeText, int] = field(default_factory=dict)

    def check(self, update: MonitorUpdate) -> None:
        """Count an outcome.

        Raises:
            StopError: if all profiles' keys stay refused.
        """
        profile = update.changes.profile
        if profile is None:
            return
        match update.changes.outcome:
            case Listed():
                self._counts[profile] = 0
            case Failed(cause=cause, message=message) if cause.is_refusal:
                self._counts[profile] = self._counts.get(profile, 0) + 1
                if all(self._counts.get(profile, 0) >= _REFUSALS for profile in self.targets):
                    raise StopError(Exit.AUTHENTICATION, f"refused again: {message}")


def narrate(update: MonitorUpdate) -> None:
    """Write the events of whole profiles, such as blindness, to standard error."""
    from envwatch.views.events.event_text import event_text

    for event in update.changes.events:
        if event.id is None and not event.members:
            profile = f"{event.profile}: " if event.profile else ""
            print_error(f"envwatch: {profile}{event_text(event)}")


def run_until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Return a coroutine's exit code. SIGINT, SIGTERM and SIGHUP cancel the coroutine, with separate codes.

    An ignored SIGHUP stays ignored, as under nohup.
    """
    return asyncio.run(_until_signalled(main))


async def _until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    loop, codes = asyncio.get_running_loop(), list[int]()
    task = asyncio.ensure_future(main())

    def end(code: Exit) -> None:
        codes.append(code)
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, end, Exit.INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, Exit.TERMINATED)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, end, Exit.HUNG_UP)
    try:
        return await task
    except asyncio.CancelledError:
        if not codes:
            raise
        return codes[0]
