"""Finds the recorded moment for a goal. Every coroutine raises `HistoryError`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from math import inf, nextafter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.losses import key_of
from envwatch.fleet.events import Event, flatten
from envwatch.history.past import HistoryError
from envwatch.history.rewound import PollRef, Timeline
from envwatch.model.clock import ServerClock, WallMs
from envwatch.model.times import MS
from envwatch.screen.screens.table_screen import AtTime, Goal, Steps
from envwatch.views import state_style
from envwatch.views.events.event_text import event_text
from envwatch.views.events.headline import headline_event
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.text import SafeText
    from envwatch.screen.rewind.past_reader import Order, PastReader

_GAP_INTERVALS: Final = 3
"""Intervals without a poll that make a gap."""
_GAP_MS: Final = timedelta(minutes=1) / MS
"""A replay skips gaps over both limits."""
_SPARE: Final = 50
"""Polls to load before a place, for a poll of every profile."""


class Place(NamedTuple):
    """A poll of a timeline."""

    timeline: Timeline
    position: int

    @property
    def poll_ref(self) -> PollRef:
        return self.timeline.poll_refs[self.position]

    @property
    def wall(self) -> WallMs:
        return self.poll_ref.poll.at


class Destination(NamedTuple):
    """A moment to show, with an answer."""

    place: Place | None
    """Poll to show; None for the present."""
    text: str = ""
    rows: Sequence[EnvironmentKey] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Finds places in the recorded timelines."""

    reader: PastReader
    newest_at: WallMs
    is_replay: bool
    """Whether no present follows `newest_at`."""
    clocks: Mapping[SafeText, ServerClock]
    ambiguous_names: frozenset[SafeText]
    wall: WallMs
    zone: tzinfo | None

    def _text(self, wall: float) -> SafeText:
        return state_style.moment_text(wall, self.wall, self.zone)

    async def find(self, goal: Goal, place: Place | None) -> Destination:
        match goal:
            case Steps(by, is_wanted):
                return await (self._at_event(place, by, is_wanted) if is_wanted else self._stepped(place, by))
            case AtTime(wall, is_played):
                if is_played and place is not None:
                    return await self._played(place, wall)
                return await self._at_time(place, min(wall, self.newest_at))

    async def _last(self) -> Place | None:
        before = WallMs(nextafter(self.newest_at, -inf))
        timeline = await self.reader.around(before)
        index = timeline.place_at(before)
        return Place(timeline, index) if index >= 0 else None

    async def _stepped(self, place: Place | None, by: int) -> Destination:
        if (start := place or await self._last()) is None:
            return Destination(None, state_style.NOTHING_RECORDED)
        moved = Place(start.timeline, start.position + by + (place is None))
        return await (self._back(moved) if by < 0 else self._forward(moved))

    async def _back(self, place: Place) -> Destination:
        timeline, index = place
        while index < (_SPARE if len(self.reader.pasts) > 1 else 0):
            if (earlier := await self.reader.earlier(timeline)) is None:
                begin = f"the history begins at {self._text(timeline.poll_refs[0].poll.at)}"
                return Destination(Place(timeline, max(index, 0)), begin if index < 0 else "")
            index += earlier.place_of(timeline.poll_refs[0])
            timeline = earlier
        return Destination(Place(timeline, index))

    async def _forward(self, place: Place) -> Destination:
        timeline, index = place
        while index >= (last := len(timeline.poll_refs) - 1):
            if (later := await self.reader.later(timeline)) is None:
                if not self.is_replay:
                    return Destination(None)
                end = f"the recording ends at {self._text(timeline.until)}"
                return Destination(Place(timeline, last), end if index > last else "")
            index += later.place_of(timeline.poll_refs[last]) - last
            timeline = later
        return Destination(Place(timeline, index))

    async def _at_time(self, place: Place | None, wall: WallMs) -> Destination:
        if wall >= self.newest_at and not self.is_replay:
            return Destination(None)
        timeline = await self.reader.around(wall)
        if not timeline.poll_refs and (later := await self.reader.later(timeline)) is not None:
            timeline = later
        if not timeline.poll_refs:
            return Destination(place, state_style.NOTHING_RECORDED)
        index = timeline.place_at(wall)
        if index < 0:
            return Destination(Place(timeline, 0), f"the history begins at {self._text(timeline.poll_refs[0].poll.at)}")
        found = Place(timeline, index)
        is_gap = found.wall + _GAP_INTERVALS * found.poll_ref.poll.interval_s * 1000 < wall
        text = f"nothing was recorded at {self._text(wall)}: this is the newest before it" if is_gap else ""
        return Destination(found, text)

    async def _played(self, place: Place, wall: WallMs) -> Destination:
        following = await self._forward(Place(place.timeline, place.position + 1))
        if following.text or following.place is None:
            return Destination(place, following.text)
        timeline = following.place.timeline
        index = timeline.place_at(wall)
        if index >= following.place.position:
            return Destination(Place(timeline, index))
        interval_ms = place.poll_ref.poll.interval_s * 1000
        is_gap = following.place.wall - place.wall > max(_GAP_MS, _GAP_INTERVALS * interval_ms)
        return following if is_gap and wall >= place.wall + interval_ms else Destination(place)

    async def _at_event(self, place: Place | None, by: int, is_wanted: Callable[[Event], bool]) -> Destination:
        if (start := place or await self._last()) is None:
            return Destination(None, state_style.NOTHING_RECORDED)
        here = (self.newest_at, -1) if place is None else self.reader.order(place.poll_ref)
        eventful_polls = self._polls_before(here) if by < 0 else self._polls_after(here)
        found: tuple[PollRef, Sequence[Event]] | None = None
        left = abs(by)
        async for poll_ref, events in eventful_polls:
            if wanted := [event for event in events if is_wanted(event)]:
                found = (poll_ref, wanted)
                left -= 1
                if not left:
                    break
        if found is None:
            return Destination(place, f"no {'later' if by > 0 else 'earlier'} event of the visible machines")
        poll_ref, events = found
        event = headline_event(events, now_of=lambda event: event.at) or events[-1]
        tail = "" if event.name is None else id_tail(event.name, event.id, self.ambiguous_names)
        name = f"{event.name or event.id}{tail}" if event.id is not None else ""
        text = " ".join(filter(None, (event.profile, name, event_text(event, self.zone))))
        is_now = poll_ref.poll.at >= self.newest_at and not self.is_replay
        rows = [key_of(single) for single in flatten([event]) if single.id is not None]
        return Destination(None if is_now else await self._place_of(poll_ref, start.timeline), text, rows)

    async def _polls_before(self, here: Order) -> AsyncIterator[tuple[PollRef, Sequence[Event]]]:
        wall = WallMs(here[0])
        while True:
            window = await self.reader.events(wall, self.newest_at, self.clocks)
            for each in reversed(window.eventful_polls[: bisect_left(window.eventful_polls, here, key=self._order)]):
                yield each
            earlier = await self.reader.earlier(Timeline((), window.since))
            if earlier is None:
                return
            here, wall = (window.since, -1), WallMs(min(earlier.until, window.since))

    async def _polls_after(self, here: Order) -> AsyncIterator[tuple[PollRef, Sequence[Event]]]:
        wall = WallMs(here[0])
        while True:
            window = await self.reader.events(wall, self.newest_at, self.clocks)
            for each in window.eventful_polls[bisect_right(window.eventful_polls, here, key=self._order) :]:
                yield each
            if window.until >= self.newest_at:
                return
            here, wall = (window.until, inf), WallMs(min(nextafter(window.until, inf), self.newest_at))

    def _order(self, each: tuple[PollRef, Sequence[Event]]) -> Order:
        return self.reader.order(each[0])

    async def _place_of(self, poll_ref: PollRef, timeline: Timeline) -> Place:
        if (index := timeline.place_of(poll_ref)) < 0:
            timeline = await self.reader.around(poll_ref.poll.at)
            index = timeline.place_of(poll_ref)
        if index < 0:
            raise HistoryError("that poll is no longer there")
        return Place(timeline, index)
