"""What earlier runs recorded of a profile, and what it means for the run that has just begun.

Pure but for `EarlierRuns.read`, which asks a `Past` and so belongs into a thread. Must not know how it is shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import NOT_RUNNING, Event, Kind, blind_after
from envwatch.fleet.mass_changes import in_groups
from envwatch.fleet.presence import GONE, UNTIMED
from envwatch.fleet.profile_state import blind_since
from envwatch.fleet.replacement import named_by_device, renamed_events
from envwatch.fleet.run_before import are_of_one_account, unproven_ids, with_memory_of_run, with_run_before
from envwatch.fleet.tracking import CLOCK_ERROR_MS, TrackedEnvironment, events_between
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs, WallMs
from envwatch.model.outcome import PollResult
from envwatch.model.text import SafeText, clean
from envwatch.model.times import DAY_MS, MS
from envwatch.past.history import HistoryError, events_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText
    from envwatch.past.history import Moment, Past

_SEARCHED_DAYS: Final = 31
"""How far back the last run is looked for."""


LACKED: Final = clean("not in the first listing")
"""Why a row is gone that one listing lacks: a second one has to prove it, and what it lists appears then."""


def changes_between_runs(before: Moment, first: Moment) -> Sequence[Event]:
    """Return what changed between two runs: one group, and no event if nothing did.

    If the time in between is too short to be blind, it is the events themselves, as within one run. Nothing is compared
    if either has no listing, or if their rows are of other organizations: then the key is another one.
    """
    old, new = before.profile_state, first.profile_state
    if old.listed is None or new.listed is None or not are_of_one_account(old, new):
        return ()
    listed_at = at = new.clock.server_time(new.listed.wall)
    ended_at = old.clock.server_time(before.now.wall)
    if 0 <= ended_at - at < CLOCK_ERROR_MS:
        # Two estimates of the server's clock may differ by more than lies between two runs.
        at = ServerMs(ended_at + 1)
    environments, events = _compared(old, with_memory_of_run(new, old, at), at)
    unseen = blind_since(old, new.listed)
    unseen_since = None if unseen is None else new.clock.server_time(unseen.wall)
    grouped = in_groups(events, old.environments, environments, listed_at, unseen_since)
    return [_as_not_running(event) if event.kind is Kind.WHILE_BLIND else event for event in grouped]


def _compared(
    before: ProfileState, first: ProfileState, at: ServerMs
) -> tuple[Mapping[SafeText, TrackedEnvironment], list[Event]]:
    """Return the environments at the first listing, those that are gone among them, and what happened to each."""
    environments: dict[SafeText, TrackedEnvironment] = {}
    events: list[Event] = []
    for id_, tracked in first.environments.items():
        if tracked.presence.is_absent:  # expected, and never listed
            continue
        environments[id_] = tracked
        events += events_between(before.environments.get(id_), _comparable(tracked, before), at)
    unproven = unproven_ids(first)
    for id_, tracked in before.environments.items():
        if id_ in environments:
            continue
        if tracked.presence.is_absent or id_ in unproven:
            environments[id_] = tracked
            continue
        environments[id_] = replace(tracked, verdict=GONE)
        gone = events_between(tracked, environments[id_], at)
        events += (event if tracked.absent else replace(event, reason=LACKED) for event in gone)
    events = named_by_device(events, environments)
    return environments, [*events, *renamed_events(before.environments, environments, at)]


def _comparable(tracked: TrackedEnvironment, before: ProfileState) -> TrackedEnvironment:
    """Return an environment of a first listing without what such a listing cannot know.

    That is whether it flaps, and the verdict where its heartbeat's time cannot be true.
    """
    known = before.environments.get(tracked.environment.id)
    if known is None or known.presence.is_absent:
        return tracked
    verdict = known.verdict if tracked.verdict == UNTIMED else tracked.verdict
    return replace(tracked, verdict=verdict, is_flapping=known.is_flapping)


def _as_not_running(group: Event) -> Event:
    """Return a group of changes as of a time without envwatch: how long a state lasted before is not known then."""
    return replace(group, reason=NOT_RUNNING, members=tuple(replace(each, lasted=None) for each in group.members))


class EarlierRuns(NamedTuple):
    """What was recorded under one profile before this run, or by another process while it began."""

    profile: SafeText
    events: Sequence[Event] = ()
    """Those of the time that was read, in the order of recording."""
    polls: Sequence[RecordedPoll] = ()
    """Likewise."""
    last: Moment | None = None
    """What was known after the last listing, however long ago; None if there is none, or it is damaged."""

    @classmethod
    def read(cls, past: Past, profile: SafeText, lasts: timedelta, began: WallMs) -> EarlierRuns:
        """Read so much time before a run, which began with its first outcome; that is not read.

        Raises:
            HistoryError: if it cannot be read.
        """
        until = WallMs(began - 1)
        since = WallMs(began - lasts / MS)
        polls = past.polls(since, until)
        # Another process may record meanwhile: what it adds after the last of these polls is not of that time.
        events = events_of(past.steps(since, polls[-1].at)) if polls else ()
        return cls(profile, events, polls, _last_moment(past, polls, until))

    def gaps(self, since: WallMs) -> list[Event]:
        """Return a `while blind` event without members for each time from run to run that no event covers.

        The time from when on they were read to the first of them counts as well.
        """
        found: list[Event] = []
        until, before, interval_s = since, None, 0.0
        for poll in self.polls:
            if poll.result is not PollResult.LISTED:
                continue
            interval = timedelta(seconds=max(interval_s, poll.interval_s))
            if (before is None or poll.run != before.run) and poll.at - until > blind_after(interval) / MS:
                found.append(self._gap(until, poll.at))
            until, before, interval_s = poll.at, poll, poll.interval_s
        recorded = [event for event in self.events if event.reason == NOT_RUNNING and event.since is not None]
        return [gap for gap in found if not any(_overlap(gap, event) for event in recorded)]

    def until_now(self, first: Moment, since: WallMs) -> Sequence[Event]:
        """Return what changed from the last run to the first listing of this one, or that nothing was recorded."""
        if first.profile_state.listed is None:
            return ()
        if self.last is not None and (changes := changes_between_runs(self.last, first)):
            return changes
        last = None if self.last is None else self.last.profile_state.listed
        until = since if last is None else max(since, last.wall)
        is_blind = self.last is None or blind_since(self.last.profile_state, first.profile_state.listed) is not None
        return [self._gap(until, first.profile_state.listed.wall)] if is_blind else ()

    def _gap(self, since: WallMs, until: WallMs) -> Event:
        clock = ServerClock() if self.last is None else self.last.profile_state.clock
        at = clock.server_time(until)
        return Event(
            kind=Kind.WHILE_BLIND, at=at, profile=self.profile, since=clock.server_time(since), reason=NOT_RUNNING
        )

    def unchanged_for(self, first: Moment) -> timedelta | None:
        """Return how long before the first listing the last run ended; None if minutes ago, or another account's."""
        if self.last is None or not are_of_one_account(self.last.profile_state, first.profile_state):
            return None
        age = self.last.profile_state.age(first.now)
        return None if age is None or age < limits.RESTART_MEMORY else age

    def seeded(self, monitor: Monitor, changes: Sequence[Event]) -> Monitor:
        """Return a monitor of this run as if it had watched before: nothing opens an incident, and nothing rings.

        What was recorded of another account is no past of this one. The changes are those between the last run and the
        first listing, after which the monitor may be at any time.
        """
        fleet = monitor.fleet
        profile_state = fleet.by_profile[self.profile]
        if self.last is not None and not are_of_one_account(self.last.profile_state, profile_state):
            return monitor
        monitor = monitor.with_past(self.profile, [*self.events, *changes], self.polls)
        if self.last is None:
            return monitor
        by_profile = {**fleet.by_profile, self.profile: with_run_before(profile_state, self.last.profile_state)}
        return replace(monitor, fleet=replace(fleet, by_profile=MappingProxyType(by_profile)))


def _overlap(gap: Event, other: Event) -> bool:
    return gap.since is not None and other.since is not None and gap.since < other.at and other.since < gap.at


def _last_moment(past: Past, polls: Sequence[RecordedPoll], until: WallMs) -> Moment | None:
    """Return what was known after the last listing before a moment: one of the polls, or one of the days before."""
    for _ in range(_SEARCHED_DAYS + 1):
        if listed := next((poll for poll in reversed(polls) if poll.result is PollResult.LISTED), None):
            try:
                return past.moment(listed)
            except HistoryError:  # damaged; the events can be read all the same
                return None
        polls, until = past.polls(WallMs(until - DAY_MS), until), WallMs(until - DAY_MS)
    return None
