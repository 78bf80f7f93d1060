"""Watching without a screen: one loop over the outcomes of a session and the seconds in between.

Commands consume its updates. Owns the monitor's order of time, what is recorded of it, the deadline, and the ends by a
signal. Must not know what else is done with an update.
"""

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
from envwatch.fleet.event_log import EventLog
from envwatch.fleet.monitor import Monitor
from envwatch.model.outcome import Failed, Listed
from envwatch.model.text import clean
from envwatch.sources.poller import Runtime
from envwatch.sources.session import Session
from envwatch.storage.remembered import ACKNOWLEDGEMENTS, acknowledged, silences_in
from envwatch.storage.state_file import ChangedFile, StateFile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping
    from datetime import datetime, timedelta

    from envwatch.cli.alert_files import AlertFiles
    from envwatch.cli.bootstrap import Profiles
    from envwatch.fleet.alerting.acknowledgements import Acks, ServerKey
    from envwatch.fleet.alerting.alert_state import AlertState
    from envwatch.fleet.alerting.silences import Silences
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.past.history import Past
    from envwatch.sources.session import Target
    from envwatch.storage.log import PollLog

_TICK_S = 1.0
_SLOW_LISTINGS = 2
"""Listings in a row with slow polls before a line says so: one may be slow by chance."""
_REFUSALS = 2
"""Attempts without a listing in between from which a refused key stays refused: the poller tries again after 30 s."""


class MonitorUpdate(NamedTuple):
    """One outcome, or one second without any."""

    before: Monitor
    monitor: Monitor
    changes: MonitorChanges
    taken_over: Mapping[SafeText, AlertState | None] = MappingProxyType({})
    """The profiles whose hooks this process runs from now on, with the state that an earlier run left."""

    @property
    def has_new_listing(self) -> bool:
        """Whether it brought a complete listing that is believed, though maybe not in all that it lacks."""
        profile = self.changes.profile
        if profile is None:
            return False
        before, after = (monitor.fleet.by_profile[profile] for monitor in (self.before, self.monitor))
        return after.listings > before.listings


Deadline: TypeAlias = "Callable[[Clocks], float]"
"""Returns the seconds that are left at a moment, not above 0 if none are."""


def deadline_after(began: Clocks, lasts: timedelta | None = None, until: datetime | None = None) -> Deadline:
    """Return the deadline after a time or at a moment, whichever clock is first; without both there is no end."""
    ends_s = math.inf if lasts is None else began.monotonic + lasts.total_seconds()
    ends_ms = math.inf if until is None else until.timestamp() * 1000
    return lambda now: min(ends_s - now.monotonic, (ends_ms - now.wall) / 1000)


def _never(_now: Clocks) -> float:
    return math.inf


class StateFiles:
    """What the user has acknowledged and silenced on this machine, and the alerts of an earlier run.

    Other processes may change the files at any time.
    """

    def __init__(self, profiles: Profiles, warn: Callable[[str], None], alerts: AlertFiles | None = None) -> None:
        path = state_file("acknowledged")
        self._file = StateFile(ACKNOWLEDGEMENTS, path, warn)
        self._acks = ChangedFile(path, acknowledged)
        silences = partial(silences_in, matcher_of=profiles.silence_matcher)
        self._silences = ChangedFile(state_file("silences"), silences)
        self._alerts = alerts

    async def newest(self, monitor: Monitor, now: Clocks) -> tuple[Monitor, Mapping[SafeText, AlertState | None]]:
        """Return a monitor with what others have changed since the last call, and the alerts that were taken over."""
        acks, silences, taken_over = await asyncio.to_thread(self._read, now)  # the disk may be slow
        if acks is not None:
            monitor = replace(monitor, acks=acks)
        if silences is not None:
            monitor = replace(monitor, silences=silences)
        for profile, state in taken_over.items():
            if state is not None:
                monitor = monitor.with_alert_state(profile, state)
        return monitor, taken_over

    def _read(self, now: Clocks) -> tuple[Acks | None, Silences | None, Mapping[SafeText, AlertState | None]]:
        taken_over = {} if self._alerts is None else self._alerts.take_over(now)
        return self._acks.changed(), self._silences.changed(), taken_over

    def end(self, keys: Iterable[ServerKey]) -> None:
        """Save that the acknowledgements of some environments have ended."""
        self._file.keep(dict.fromkeys(keys))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class Monitoring(NamedTuple):
    """The polled targets, and the updates of the monitor."""

    targets: Mapping[SafeText, Target]
    updates: AsyncGenerator[MonitorUpdate, None]
    pasts: Mapping[SafeText, Past]
    poll_log: PollLog
    warn: Callable[[str], None]
    """Says on standard error and in the log what is wrong beside the polls; may be called from any thread."""

    @property
    def polled(self) -> str:
        """Which servers are polled, and how often."""
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
    """Poll and record profiles; the context gives the targets and the updates, and closes both.

    With `alerts`, the monitor goes on from the alerts of an earlier run.
    """
    policies, targets = policies_for(profiles), targets_for(profiles)
    profile_name = clean(profiles.first.profile)
    monitor = Monitor.create(profiles.limits, policies=policies, profile_name=profile_name, servers=profiles.servers)
    poll_log, saved = poll_log_for(options, _warn), StateFiles(profiles, _warn, alerts)
    note_targets(poll_log, targets.values())

    def warn(line: str) -> None:
        poll_log.note(line)
        _warn(line)

    history = history_for(profiles, options, warn) if is_recorded else History(None, {})
    try:
        async with (
            Session(targets, poll_log.observe, gc_tuning.start_after_first_outcome()) as session,
            aclosing(_recorded(updates(session, monitor, deadline, saved), history)) as recorded,
            aclosing(_with_slow_polls_named(recorded, targets, warn)) as all_updates,
        ):
            with closing(history):
                yield Monitoring(targets, all_updates, history.pasts, poll_log, warn)
    finally:
        saved.close()
        poll_log.close()


def _warn(line: str) -> None:
    print_error(f"envwatch: {line}")


async def updates(
    session: Session,
    monitor: Monitor,
    deadline: Deadline = _never,
    saved: StateFiles | None = None,
    runtime: Runtime | None = None,
) -> AsyncGenerator[MonitorUpdate, None]:
    """Yield an update for each outcome and for each second, until the deadline.

    The monitor keeps no log of events: nothing here reads it, and it would grow. The session's context must be entered.
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
            before = monitor.with_intervals(intervals)  # which decide from when a profile is blind
            if pending.done():
                profile, outcome = pending.result()
                taken_over: Mapping[SafeText, AlertState | None] = {}
                if saved is not None:
                    before, taken_over = await saved.newest(before, now)
                monitor, changes = before.apply(profile, outcome, now)
                if saved is not None and changes.ended_acks:
                    saved.end(changes.ended_acks)
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
    all_updates: AsyncGenerator[MonitorUpdate, None], history: History
) -> AsyncGenerator[MonitorUpdate, None]:
    async with aclosing(all_updates):
        async for update in all_updates:
            if history.recorder is not None:
                history.recorder.record(update.monitor, update.changes)
            yield update


async def _with_slow_polls_named(
    all_updates: AsyncGenerator[MonitorUpdate, None], targets: Mapping[SafeText, Target], warn: Callable[[str], None]
) -> AsyncGenerator[MonitorUpdate, None]:
    """Yield all updates; say once for each profile why polls come slower than the interval, and what helps."""
    slow: Counter[SafeText] = Counter()
    async for update in all_updates:
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
    """Counts how often each profile's key was refused (401 or 403) since its last listing."""

    targets: Mapping[SafeText, Target]
    _counts: dict[SafeText, int] = field(default_factory=dict)

    def check(self, update: MonitorUpdate) -> None:
        """Note the outcome of an update.

        Raises:
            StopError: if the keys of all profiles stay refused.
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
    """Say on standard error when nothing can be seen, and when it can be again."""
    from envwatch.views.events.event_text import event_text

    for event in update.changes.events:
        if event.id is None and not event.members:
            profile = f"{event.profile}: " if event.profile else ""
            print_error(f"envwatch: {profile}{event_text(event)}")


def run_until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run a coroutine and return its exit code; SIGINT, SIGTERM and SIGHUP cancel it, and have codes of their own.

    SIGHUP is left alone where it is ignored, as by nohup.
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
