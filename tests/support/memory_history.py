"""A history in memory: the reference for the history on disk, and the recorded day of a small fleet."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from support.builders import NOW, environment, listed

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import NO_EVENTS, Moment, RecordedStep
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll, Slept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.fleet.events import Event
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


class MemoryHistory:
    def __init__(self, profile: SafeText = NO_PROFILE) -> None:
        self._profile = profile
        self._run = 1
        self._polls: list[RecordedPoll] = []
        self._moments: list[Moment] = []
        self._steps: list[RecordedStep] = []

    def branch(self) -> MemoryHistory:
        """Return a history with the same past, for another future."""
        branch = copy(self)
        branch._polls, branch._moments, branch._steps = [*self._polls], [*self._moments], [*self._steps]  # noqa: SLF001  of this class
        return branch

    def start_run(self) -> None:
        self._run = len(self._polls) + 1

    def record(self, monitor: Monitor, changes: MonitorChanges) -> None:
        """Record an outcome, or changes by time alone."""
        profile, outcome, now = changes.profile, changes.outcome, changes.now
        poll: RecordedPoll | None = None
        if profile == self._profile and outcome is not None:
            profile_state = monitor.fleet.by_profile[profile]
            result, interval_s = PollResult.from_outcome(outcome), profile_state.interval / timedelta(seconds=1)
            poll = RecordedPoll(len(self._polls) + 1, now.wall, result, self._run, interval_s)
            self._polls.append(poll)
            self._moments.append(Moment.of(monitor, profile, now))
        events = [event for event in changes.events if event.profile == self._profile]
        self._steps.append(RecordedStep(now.wall, poll, events))

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        return [poll for poll in self._polls if since <= poll.at <= until]

    def moment(self, poll: RecordedPoll) -> Moment:
        return self._moments[poll.number - 1]

    def events(self, since: WallMs, until: WallMs) -> Sequence[Event]:
        return [event for step in self.steps(since, until) for event in step.events]

    def event_times(self, since: WallMs, until: WallMs) -> Sequence[WallMs]:
        return [step.at for step in self.steps(since, until) for _ in step.events]

    def steps(self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS) -> Iterator[RecordedStep]:
        """Yield the polls of a time with events, and changes by time alone."""
        del known  # the record has the present's events
        return (step for step in list(self._steps) if since <= step.at <= until)

    def forget(self) -> None:
        """Free nothing: the moments are the record."""


def recorded(
    outcomes: Iterable[Outcome], history: MemoryHistory | None = None, limits: Limits | None = None
) -> MemoryHistory:
    """Record a monitor's results of outcomes in one run; the monitor takes each outcome when it ended."""
    history = history or MemoryHistory()
    history.start_run()
    monitor = Monitor.create({NO_PROFILE: limits or Limits()})
    for outcome in outcomes:
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
        history.record(monitor, changes)
    return history


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
