"""Reads recorded time in threads.

Every coroutine raises `HistoryError`.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from contextlib import suppress
from datetime import timedelta
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.fleet.events import Event, EventLog
from envwatch.fleet.watched_time import WatchedTime
from envwatch.history.earlier_runs import EarlierRuns
from envwatch.history.past import HistoryError, Moment, Past, RecordedStep, events_of
from envwatch.history.rewound import PollRef, Timeline
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerClock, WallMs
from envwatch.model.times import DAY_MS, MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText


_WINDOW_MS: Final = timedelta(hours=2) / MS
"""Time to load on both sides of a moment."""
_SEARCHED_MS: Final = (_WINDOW_MS, timedelta(hours=12) / MS, timedelta(days=7) / MS, math.inf)
"""Growing ranges of the search for polls beyond a gap."""
Order: TypeAlias = tuple[float, float]
"""A poll's time (epoch, ms) and profile's index; -1 sorts before all polls of that time, infinity after."""

_NEWEST_KEPT: Final = 2
"""Enough moments for the first step back."""
_ROWS_AHEAD: Final = 12_000
"""Rows that a thread reads in 250 ms."""
_MOST_AHEAD: Final = 12
_MOST_EVENTS: Final = limits.EVENTS_KEPT // 4
"""Most events and groups before a moment, and after: in a large fleet, a day has hundreds of MiB of events."""


class Events(NamedTuple):
    """Events and watched time of a period."""

    since: WallMs
    until: WallMs
    covers_from: WallMs
    log: EventLog
    watched: Mapping[SafeText, WatchedTime]
    eventful_polls: Sequence[tuple[PollRef, Sequence[Event]]]
    """Polls with events, by `PastReader.order`. An event between two polls belongs to the second poll."""
    poll_ref_of: Mapping[int, PollRef]

    def covers(self, wall: WallMs) -> bool:
        """Whether the period includes a moment and the day before, or half of the most events before."""
        return self.covers_from <= wall <= self.until

    def log_at(self, polls: Mapping[SafeText, RecordedPoll]) -> EventLog:
        def is_known(event: Event) -> bool:
            poll_ref = self.poll_ref_of.get(id(event))
            newest = None if poll_ref is None else polls.get(poll_ref.profile)
            return poll_ref is not None and newest is not None and poll_ref.poll.number <= newest.number

        return self.log.known(is_known)


_LOADED: Final = timedelta(hours=24)


class PastReader:
    """Reads the pasts of all profiles."""

    def __init__(self, pasts: Mapping[SafeText, Past]) -> None:
        self.pasts = pasts
        self._newest: dict[SafeText, tuple[tuple[Clocks, Monitor], ...]] = {}
        """Newest monitors, which need no reading."""
        self._kept: dict[PollRef, Moment] = {}
        self._ahead: asyncio.Task[None] | None = None
        self._ahead_of: frozenset[PollRef] = frozenset()
        self._events: Events | None = None
        self._present_log = EventLog()
        self._began: dict[SafeText, WallMs] = {}
        self._first: dict[SafeText, Moment] = {}
        self._is_listed = {profile: asyncio.Event() for profile in pasts}

    def note(self, profile: SafeText, monitor: Monitor, now: Clocks) -> None:
        if profile not in self.pasts:
            return
        self._present_log = monitor.event_log
        self._newest[profile] = (*self._newest.get(profile, ())[1 - _NEWEST_KEPT :], (now, monitor))
        self._began.setdefault(profile, now.wall)
        profile_state = monitor.fleet.by_profile[profile]
        if not self._is_listed[profile].is_set() and profile_state.listed is not None:
            self._first[profile] = Moment(now, profile_state)
            self._is_listed[profile].set()

    async def load(self, profile: SafeText) -> tuple[EarlierRuns, timedelta | None]:
        """Return a profile's earlier runs, and the last run's age if worth a notice; call once.

        Waits for the first listing.
        """
        await self._is_listed[profile].wait()
        began, first = self._began[profile], self._first.pop(profile)
        runs = await asyncio.to_thread(EarlierRuns.read, self.pasts[profile], profile, _LOADED, began)
        return runs, runs.unchanged_for(first.profile_state, first.now)

    def forget(self) -> None:
        """Drop everything that was read, and stop `read_ahead`."""
        self._kept.clear()
        self._events = self._ahead = None
        for past in self.pasts.values():
            past.forget()

    async def around(self, wall: WallMs) -> Timeline:
        """Return polls near a moment, with an earlier poll if possible."""
        timeline = await self._timeline(wall - _WINDOW_MS, wall + _WINDOW_MS)
        return timeline if timeline.place_at(wall) >= 0 else await self.earlier(timeline) or timeline

    async def earlier(self, timeline: Timeline) -> Timeline | None:
        """Return a timeline with earlier polls, if any."""
        before = math.nextafter(timeline.since, -math.inf)
        for searched_ms in _SEARCHED_MS:
            found = await self._timeline(before - searched_ms, before)
            if found.poll_refs:
                return await self._timeline(found.until - _WINDOW_MS, min(timeline.until, timeline.since + _WINDOW_MS))
        return None

    async def later(self, timeline: Timeline) -> Timeline | None:
        """Return a timeline with later polls, if any."""
        after = math.nextafter(timeline.until, math.inf)
        for searched_ms in _SEARCHED_MS:
            found = await self._timeline(after, after + searched_ms)
            if found.poll_refs:
                since = max(timeline.since, timeline.until - _WINDOW_MS)
                return await self._timeline(since, found.poll_refs[0].poll.at + _WINDOW_MS)
        return None

    async def ends(self) -> tuple[WallMs, WallMs] | None:
        """Return the times of the first and the last poll."""
        timeline = await self._timeline(-math.inf, math.inf)
        return (timeline.poll_refs[0].poll.at, timeline.until) if timeline.poll_refs else None

    def order(self, poll_ref: PollRef) -> Order:
        return poll_ref.poll.at, list(self.pasts).index(poll_ref.profile)

    async def _timeline(self, since: float, until: float) -> Timeline:
        # A past may store instants as whole numbers, which have no infinity.
        begin, end = (WallMs(min(max(each, 0.0), 1e15)) for each in (since, until))

        def read() -> Timeline:
            return Timeline.from_polls({profile: past.polls(begin, end) for profile, past in self.pasts.items()}, begin)

        return await asyncio.to_thread(read)

    async def moments(self, timeline: Timeline, place: int) -> Mapping[SafeText, Moment]:
        known = [PollRef(profile, poll) for profile, poll in timeline.known_at(place).items()]
        return {poll_ref.profile: await self._moment(poll_ref) for poll_ref in known}

    async def _moment(self, poll_ref: PollRef) -> Moment:
        if poll_ref in self._ahead_of and self._ahead is not None:
            await self._ahead
        moment = self._kept.pop(poll_ref, None)
        if moment is None:
            moment = await asyncio.to_thread(self._read_moment, poll_ref)
        self._kept[poll_ref] = moment
        return moment

    def _read_moment(self, poll_ref: PollRef) -> Moment:
        for now, monitor in self._newest.get(poll_ref.profile, ()):
            if now.wall == poll_ref.poll.at:
                return Moment.of(monitor, poll_ref.profile, now)
        return self.pasts[poll_ref.profile].moment(poll_ref.poll)

    def read_ahead(self, timeline: Timeline, place: int, direction: int) -> None:
        newest = next(reversed(self._kept.values()), None)
        rows = len(newest.profile_state.environments) if newest is not None else 0
        ahead = min(_ROWS_AHEAD // max(rows, 1), _MOST_AHEAD)
        places = range(place + direction, place + direction * (ahead + 1), direction)
        poll_refs = [timeline.poll_refs[each] for each in places if 0 <= each < len(timeline.poll_refs)]
        missing = list(dropwhile(self._kept.__contains__, poll_refs))
        if self._ahead is None and len(missing) * 2 > len(poll_refs):
            self._ahead_of = frozenset(missing)
            self._ahead = asyncio.create_task(self._read_ahead(missing[::direction], 2 * ahead + 2 * len(self.pasts)))

    async def _read_ahead(self, wanted: Sequence[PollRef], most: int) -> None:
        task = asyncio.current_task()

        def read() -> Mapping[PollRef, Moment]:
            still_wanted = takewhile(lambda _: self._ahead is task, wanted)
            return {poll_ref: self._read_moment(poll_ref) for poll_ref in still_wanted}

        found: Mapping[PollRef, Moment] = {}
        with suppress(HistoryError):  # going there reports the error
            found = await asyncio.to_thread(read)
        if self._ahead is task:
            self._ahead = None
            self._kept.update(found)
            for key in list(self._kept)[:-most]:
                del self._kept[key]

    async def events(self, wall: WallMs, end: WallMs, clocks: Mapping[SafeText, ServerClock]) -> Events:
        """Return the events around a moment.

        `end` is the newest possible moment; `clocks` place the polls among the events.
        """
        if self._events is None or not self._events.covers(wall):
            since, until = WallMs(max(wall - 1.5 * DAY_MS, 0.0)), min(end, WallMs(wall + DAY_MS / 2))
            self._events = await asyncio.to_thread(self._read_events, wall, since, until, clocks)
        return self._events

    def _read_events(
        self, wall: WallMs, since: WallMs, until: WallMs, clocks: Mapping[SafeText, ServerClock]
    ) -> Events:
        covers_from = WallMs(since + DAY_MS)
        times = sorted(at for past in self.pasts.values() for at in past.event_times(since, until))
        place = bisect_right(times, wall)
        if place > _MOST_EVENTS:
            since, covers_from = times[place - _MOST_EVENTS], times[place - _MOST_EVENTS // 2]
        if len(times) - place > _MOST_EVENTS:
            until = times[place + _MOST_EVENTS]
        log, watched = EventLog(), {}
        eventful: list[tuple[PollRef, Sequence[Event]]] = []
        known = {event: event for event in self._present_log}
        for profile, past in self.pasts.items():
            steps = list(past.steps(since, until, known))
            found = events_of(steps)
            log = log.with_past(found)
            polls = [step.poll for step in steps if step.poll is not None]
            watched[profile] = WatchedTime.recorded(polls, found, clocks[profile])
            brought = _brought(_since_last_poll(past, since), steps)
            eventful += [(PollRef(profile, poll), events) for poll, events in brought]
        eventful.sort(key=lambda each: self.order(each[0]))
        step_of = {id(event): step for step, events in eventful for event in events}
        return Events(since, until, covers_from, log, watched, eventful, step_of)


def _brought(before: Sequence[Event], steps: Iterable[RecordedStep]) -> Iterator[tuple[RecordedPoll, Sequence[Event]]]:
    """Yield polls with the events since the previous poll; `before` are events before the steps."""
    events = [*before]
    for step in steps:
        events += step.events
        if step.poll is not None and events:
            yield step.poll, events
            events = []


def _since_last_poll(past: Past, until: WallMs) -> Sequence[Event]:
    before = WallMs(math.nextafter(until, -math.inf))
    since = WallMs(0.0)
    for searched_ms in _SEARCHED_MS:
        if polls := past.polls(WallMs(max(before - searched_ms, 0.0)), before):
            since = polls[-1].at
            break
    return [event for step in past.steps(since, before) if step.poll is None for event in step.events]
