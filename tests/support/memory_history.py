"""A history in memory: the reference for the history on disk, and pasts for tests."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.history.past import NO_EVENTS, Moment, RecordedStep
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult, RecordedPoll, Slept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.clock import WallMs
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
