"""The recorded day of a small fleet."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from support.builders import NOW, environment, listed
from support.memory_history import MemoryHistory

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.environment import Environment

ALL_TIMES: Final = (WallMs(0), WallMs(1e15))
_EVERY: Final = timedelta(minutes=3)


def at(hours: float) -> ServerMs:
    return ServerMs(NOW + hours * 3_600_000)


def rows_at(hours: float) -> list[Environment]:
    """Return four machines: always up; down from 15 to 12 hours ago; down; registered 10 hours ago."""
    beat = at(hours) - 10_000

    def row(name: str, *, is_up: bool = True) -> Environment:
        return environment(
            f"env-{name}", connectionName=name, lastHeartbeat=beat, connectionId=f"conn-{name}" if is_up else None
        )

    rows = [row("steady"), row("once", is_up=not -15 <= hours < -12), row("lost", is_up=hours < -2)]
    return [*rows, row("new")] if hours >= -10 else rows


@cache
def day() -> MemoryHistory:
    """Return the day before `NOW`, recorded in two runs with a gap from 8 to 5 hours ago. Cached: do not change the
    history.
    """
    history = MemoryHistory()
    for moments in (_hours(-24, -8), _hours(-5, -0.05)):
        history.start_run()
        monitor = Monitor.create({NO_PROFILE: Limits()})
        for hours in moments:
            outcome = listed(rows_at(hours), at(hours), interval=_EVERY)
            monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
            history.record(monitor, changes)
    return history


def with_past(monitor: Monitor, history: MemoryHistory) -> Monitor:
    return monitor.with_past(NO_PROFILE, history.events(*ALL_TIMES), history.polls(*ALL_TIMES))


def monitor_now() -> Monitor:
    outcome = listed(rows_at(0), NOW)
    return Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, outcome, outcome.ended)[0]


def _hours(first: float, last: float) -> Iterator[float]:
    step = _EVERY / timedelta(hours=1)
    yield from (first + number * step for number in range(int((last - first) / step) + 1))
