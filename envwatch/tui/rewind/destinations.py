"""Where a wish to go to another moment leads.

Must not know the screen: what there is to say comes back with the place. Every coroutine here raises `HistoryError`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import timedelta
from math import inf, nextafter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.alerting.losses import key_of
from envwatch.fleet.events import flatten
from envwatch.model.clock import WallMs
from envwatch.model.times import MS
from envwatch.past.history import HistoryError
from envwatch.past.rewound import Timeline
from envwatch.tui.rewind.past_reader import DAY_MS
from envwatch.tui.screens.time_actions import AtTime, EventSteps, Live, Reached, Steps
from envwatch.views import status_text
from envwatch.views.events.event_text import event_text
from envwatch.views.events.headline import headline
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import ServerClock
    from envwatch.model.text import SafeText
    from envwatch.past.rewound import PollRef
    from envwatch.tui.rewind.past_reader import EventfulPoll, Order, PastReader
    from envwatch.tui.screens.time_actions import Goal

_GAP_INTERVALS: Final = 3
"""So many intervals after a poll without another one are a gap."""
_GAP_MS: Final = timedelta(minutes=1) / MS
"""A replay skips a gap that is longer than this, and than so many intervals."""
_SPARE: Final = 50
"""Polls before a place in which every profile has its last poll, unless it is nearly the history's beginning."""


class Place(NamedTuple):
    """A poll of a timeline."""

    timeline: Timeline
    position: int

    @property
    def poll_ref(self) -> PollRef:
        return self.timeline.poll_refs[self.position]

    @property
    def wall(self) -> WallMs:
        """When its poll was taken, by the clock of the machine that recorded it."""
        return self.poll_ref.poll.at


class Destination(NamedTuple):
    """Where a wish leads."""

    place: Place | None
    """None for the present."""
    text: str = ""
    """What there is to say to it."""
    rows: Sequence[EnvironmentKey] = ()
    """The environments of the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What is known of the present, and how moments are written."""

    newest_at: WallMs
    """When the newest outcome was taken; in a replay, when the recording ends."""
    is_replay: bool
    """Whether there is nothing after that."""
    clocks: Mapping[SafeText, ServerClock]
    """Estimates of the server's clock of each profile at the moment that is shown."""
    ambiguous_names: frozenset[SafeText]
    """Names that stand for more than one environment there."""
    wall: WallMs
    zone: tzinfo | None

    def text(self, wall: float) -> SafeText:
        """Return a moment for people."""
        return status_text.moment_text(wall, self.wall, self.zone)


class Destinations:
    """Finds the places of what was recorded, of one profile or several."""

    def __init__(self, reader: PastReader, *, has_several: bool) -> None:
        self._reader = reader
        self._spare = _SPARE if has_several else 0

    async def find(self, goal: Goal, place: Place | None, present: Present) -> Destination:
        """Return where a wish leads from a place, None for the present."""
        match goal:
            case Steps(by):
                return await self._stepped(place, by, present)
            case AtTime(wall):
                return await self._at_time(place, wall, present)
            case Reached(wall):
                return await self._reached(place, wall, present)
            case EventSteps():
                return await self._at_event(place, goal, present)
            case Live():
                return await self._at_time(place, present.newest_at, present)

    async def _last(self, present: Present) -> Place | None:
        """Return the place before the newest listing, which may not have been recorded yet; None if there is none."""
        before = WallMs(nextafter(present.newest_at, -inf))
        timeline = await self._reader.around(before)
        index = timeline.place_at(before)
        return Place(timeline, index) if index >= 0 else None

    # By steps.

    async def _stepped(self, place: Place | None, by: int, present: Present) -> Destination:
        if (start := place or await self._last(present)) is None:
            return Destination(None, status_text.NOTHING_RECORDED)
        moved = Place(start.timeline, start.position + by + (place is None))
        return await (self._back(moved, present) if by < 0 else self._forward(moved, present))

    async def _back(self, place: Place, present: Present) -> Destination:
        """Return a poll that may be before the first poll that was read."""
        timeline, index = place
        while index < self._spare:
            if (earlier := await self._reader.earlier(timeline)) is None:
                begin = f"the history begins at {present.text(timeline.poll_refs[0].poll.at)}"
                return Destination(Place(timeline, max(index, 0)), begin if index < 0 else "")
            index += earlier.place_of(timeline.poll_refs[0])
            timeline = earlier
        return Destination(Place(timeline, index))

    async def _forward(self, place: Place, present: Present) -> Destination:
        """Return a poll that may be behind the last poll that was read; behind the last poll of all is the present."""
        timeline, index = place
        while index >= (last := len(timeline.poll_refs) - 1):
            if (later := await self._reader.later(timeline)) is None:
                if not present.is_replay:
                    return Destination(None)
                end = f"the recording ends at {present.text(timeline.until)}"
                return Destination(Place(timeline, last), end if index > last else "")
            index += later.place_of(timeline.poll_refs[last]) - last
            timeline = later
        return Destination(Place(timeline, index))

    # By time.

    async def _at_time(self, place: Place | None, wall: WallMs, present: Present) -> Destination:
        if wall >= present.newest_at and not present.is_replay:
            return Destination(None)
        timeline = await self._reader.around(wall)
        if not timeline.poll_refs and (later := await self._reader.later(timeline)) is not None:
            timeline = later
        if not timeline.poll_refs:
            return Destination(place, status_text.NOTHING_RECORDED)
        index = timeline.place_at(wall)
        if index < 0:
            return Destination(
                Place(timeline, 0), f"the history begins at {present.text(timeline.poll_refs[0].poll.at)}"
            )
        found = Place(timeline, index)
        is_gap = found.wall + _GAP_INTERVALS * found.poll_ref.poll.interval_s * 1000 < wall
        text = f"nothing was recorded at {present.text(wall)}: this is the newest before it" if is_gap else ""
        return Destination(found, text)

    async def _reached(self, place: Place | None, wall: WallMs, present: Present) -> Destination:
        if place is None:
            return await self._at_time(place, wall, present)
        following = await self._forward(Place(place.timeline, place.position + 1), present)
        if following.text or following.place is None:
            return Destination(place, following.text)
        timeline = following.place.timeline
        index = timeline.place_at(wall)
        if index >= following.place.position:
            return Destination(Place(timeline, index))
        interval_ms = place.poll_ref.poll.interval_s * 1000
        is_gap = following.place.wall - place.wall > max(_GAP_MS, _GAP_INTERVALS * interval_ms)
        return following if is_gap and wall >= place.wall + interval_ms else Destination(place)

    # By events.

    async def _at_event(self, place: Place | None, goal: EventSteps, present: Present) -> Destination:
        if (start := place or await self._last(present)) is None:
            return Destination(None, status_text.NOTHING_RECORDED)
        here = (present.newest_at, -1) if place is None else self._reader.order(place.poll_ref)
        eventful_polls = self._polls_before(here, present) if goal.by < 0 else self._polls_after(here, present)
        found: EventfulPoll | None = None
        left = abs(goal.by)
        async for each in eventful_polls:
            if wanted := [event for event in each.events if goal.is_wanted(event)]:
                found = each._replace(events=wanted)
                left -= 1
                if not left:
                    break
        if found is None:
            return Destination(place, f"no {'later' if goal.by > 0 else 'earlier'} event of the visible rows")
        poll_ref, events = found
        event = headline(events, now_of=lambda event: event.at) or events[-1]
        tail = "" if event.name is None else id_tail(event.name, event.id, present.ambiguous_names)
        name = f"{event.name or event.id}{tail}" if event.id is not None else ""
        text = " ".join(filter(None, (event.profile, name, event_text(event, present.zone))))
        is_now = poll_ref.poll.at >= present.newest_at and not present.is_replay
        rows = [key_of(single) for single in flatten([event]) if single.id is not None]
        return Destination(None if is_now else await self._place_of(poll_ref, start.timeline), text, rows)

    async def _polls_before(self, here: Order, present: Present) -> AsyncIterator[EventfulPoll]:
        """Yield the polls with events before a place, newest first."""
        wall = WallMs(here[0])
        while True:
            window = await self._reader.events(wall, present.newest_at, present.clocks)
            for each in reversed(window.eventful_polls[: bisect_left(window.eventful_polls, here, key=self._order)]):
                yield each
            earlier = await self._reader.earlier(Timeline((), window.since))
            if earlier is None:
                return
            here, wall = (window.since, -1), WallMs(min(earlier.until, window.since))

    async def _polls_after(self, here: Order, present: Present) -> AsyncIterator[EventfulPoll]:
        """Yield the polls with events after a place, oldest first."""
        wall = WallMs(here[0])
        while True:
            window = await self._reader.events(wall, present.newest_at, present.clocks)
            for each in window.eventful_polls[bisect_right(window.eventful_polls, here, key=self._order) :]:
                yield each
            if window.until >= present.newest_at:
                return
            here, wall = (window.until, inf), WallMs(min(window.until + DAY_MS / 3, present.newest_at))

    def _order(self, each: EventfulPoll) -> Order:
        return self._reader.order(each.poll_ref)

    async def _place_of(self, poll_ref: PollRef, timeline: Timeline) -> Place:
        if (index := timeline.place_of(poll_ref)) < 0:
            timeline = await self._reader.around(poll_ref.poll.at)
            index = timeline.place_of(poll_ref)
        if index < 0:
            raise HistoryError("that poll is no longer there")
        return Place(timeline, index)
