"""The loop over a session's outcomes and seconds, the only place where a monitor changes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from envwatch.fleet.events import EventLog
from envwatch.sources.poller import Runtime, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from datetime import datetime, timedelta

    from envwatch.fleet.alerting.alert_state import AlertState
    from envwatch.fleet.events import Event
    from envwatch.fleet.monitor import Monitor, MonitorChanges
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText
    from envwatch.watch.state_files import StateFiles

_TICK_S = 1.0


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


def never(_now: Clocks) -> float:
    """Return the seconds left without a deadline."""
    return math.inf


async def updates(
    session: Session,
    monitor: Monitor,
    deadline: Deadline = never,
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
            before = monitor
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
                monitor, changes = monitor.tick(now)
                tick_at = now.monotonic + _TICK_S
                yield MonitorUpdate(before, monitor, changes)
            now = runtime.clocks()
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
