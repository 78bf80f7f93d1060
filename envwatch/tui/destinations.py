"""Where a wish to go to another moment leads.

Must not know the screen: what there is to say comes back with the place. Every coroutine here raises `HistoryError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.rewound import Timeline
from envwatch.model.clock import WallMs
from envwatch.model.times import MS
from envwatch.tui.past_reader import DAY_MS
from envwatch.tui.screens.time_actions import AtTime, EventSteps, Live, Reached, Steps
from envwatch.views import rewound_text
from envwatch.views.event_text import event_text
from envwatch.views.headline import headline
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import tzinfo

    from envwatch.fleet.events import Event
    from envwatch.fleet.rewound import Step
    from envwatch.model.clock import ServerClock
    from envwatch.model.text import Clean
    from envwatch.tui.past_reader import PastReader
    from envwatch.tui.screens.time_actions import Goal

_GAP_INTERVALS: Final = 3
"""So many intervals after a poll without another one are a gap."""
_GAP_MS: Final = timedelta(minutes=1) / MS
"""A replay skips a gap that is longer than this, and than so many intervals."""
_SPARE: Final = 50
"""Steps before a place in which every profile has its last poll, unless it is nearly the history's beginning."""
_TOLERANCE_MS: Final = 1_000.0
"""By how much a poll may be missed that is guessed by another moment's clock; polls are no nearer to each other."""
_TRIES: Final = 4


class Place(NamedTuple):
    """A step of a timeline."""

    timeline: Timeline
    position: int

    @property
    def step(self) -> Step:
        """The step."""
        return self.timeline.steps[self.position]

    @property
    def wall(self) -> WallMs:
        """When its poll was taken, by the clock of the machine that recorded it."""
        return self.step.poll.at


class Destination(NamedTuple):
    """Where a wish leads."""

    place: Place | None
    """None for the present."""
    text: str = ""
    """What there is to say to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What is known of the present, and how moments are written."""

    newest_at: WallMs
    """When the newest outcome was taken; in a replay, when the recording ends."""
    is_replay: bool
    """Whether there is nothing after that."""
    clocks: Mapping[Clean, ServerClock]
    """Estimates of the server's clock of each profile at the moment that is shown."""
    ambiguous_names: frozenset[Clean]
    """Names that stand for more than one environment there."""
    wall: WallMs
    zone: tzinfo | None

    def text(self, wall: float) -> Clean:
        """Return a moment for people."""
        return rewound_text.moment_text(wall, self.wall, self.zone)


class Destinations:
    """Finds the places of what was recorded.

    Args:
        reader: reads it.
        has_several: whether there is more than one profile.
    """

    def __init__(self, reader: PastReader, *, has_several: bool) -> None:
        self._reader = reader
        self._spare = _SPARE if has_several else 0

    async def of(self, goal: Goal, place: Place | None, present: Present) -> Destination:
        """Return where a wish leads from a place, None for the present."""
        match goal:
            case Steps(by):
                return await self._stepped(place, by, present)
            case AtTime(wall):
                return await self._at(place, wall, present)
            case Reached(wall):
                return await self._reached(place, wall, present)
            case EventSteps():
                return await self._at_event(place, goal, present)
            case Live():
                return await self._at(place, present.newest_at, present)

    async def _last(self, present: Present) -> Place | None:
        """Return the place before the newest listing, which may not have been recorded yet; None if there is none."""
        timeline: Timeline | None = await self._reader.around(present.newest_at)
        while timeline is not None:
            index = len(timeline.steps) - 1
            while index >= 0 and timeline.steps[index].poll.at >= present.newest_at:
                index -= 1
            if index >= 0:
                return Place(timeline, index)
            timeline = await self._reader.earlier(timeline)
        return None

    # By steps.

    async def _stepped(self, place: Place | None, by: int, present: Present) -> Destination:
        if (start := place or await self._last(present)) is None:
            return Destination(None, rewound_text.NOTHING_RECORDED)
        moved = Place(start.timeline, start.position + by + (place is None))
        return await (self._back(moved, present) if by < 0 else self._forward(moved, present))

    async def _back(self, place: Place, present: Present) -> Destination:
        """Return a step that may be before the first one that was read."""
        timeline, index = place
        while index < self._spare:
            if (earlier := await self._reader.earlier(timeline)) is None:
                begin = f"the history begins at {present.text(timeline.steps[0].poll.at)}"
                return Destination(Place(timeline, max(index, 0)), begin if index < 0 else "")
            index += earlier.place_of(timeline.steps[0])
            timeline = earlier
        return Destination(Place(timeline, index))

    async def _forward(self, place: Place, present: Present) -> Destination:
        """Return a step that may be behind the last one that was read; the last one of all is the present."""
        timeline, index = place
        while index >= (last := len(timeline.steps) - 1):
            if (later := await self._reader.later(timeline)) is None:
                if not present.is_replay:
                    return Destination(None)
                end = f"the recording ends at {present.text(timeline.until)}"
                return Destination(Place(timeline, last), end if index > last else "")
            index += later.place_of(timeline.steps[last]) - last
            timeline = later
        return Destination(Place(timeline, index))

    # By time.

    async def _at(self, place: Place | None, wall: WallMs, present: Present) -> Destination:
        if wall >= present.newest_at and not present.is_replay:
            return Destination(None)
        timeline = await self._reader.around(wall)
        if not timeline.steps and (later := await self._reader.later(timeline)) is not None:
            timeline = later
        if not timeline.steps:
            return Destination(place, rewound_text.NOTHING_RECORDED)
        index = timeline.place_at(wall)
        if index < 0:
            return Destination(Place(timeline, 0), f"the history begins at {present.text(timeline.steps[0].poll.at)}")
        found = Place(timeline, index)
        is_gap = found.wall + _GAP_INTERVALS * found.step.poll.interval_s * 1000 < wall
        text = f"nothing was recorded at {present.text(wall)}: this is the newest before it" if is_gap else ""
        return Destination(found, text)

    async def _reached(self, place: Place | None, wall: WallMs, present: Present) -> Destination:
        if place is None:
            return await self._at(place, wall, present)
        following = await self._forward(Place(place.timeline, place.position + 1), present)
        if following.text or following.place is None:
            return Destination(place, following.text)
        timeline = following.place.timeline
        index = timeline.place_at(wall)
        if index >= following.place.position:
            return Destination(Place(timeline, index))
        interval_ms = place.step.poll.interval_s * 1000
        is_gap = following.place.wall - place.wall > max(_GAP_MS, _GAP_INTERVALS * interval_ms)
        return following if is_gap and wall >= place.wall + interval_ms else Destination(place)

    # By events.

    async def _at_event(self, place: Place | None, goal: EventSteps, present: Present) -> Destination:
        if (start := place or await self._last(present)) is None:
            return Destination(None, rewound_text.NOTHING_RECORDED)
        direction, left = (1 if goal.by > 0 else -1), abs(goal.by)
        wall = start.wall if place is not None else present.newest_at
        events = (
            self._events_before(start, place, wall, present) if direction < 0 else self._events_after(wall, present)
        )
        seen: set[tuple[Clean, float]] = set()
        of_one_poll: list[Event] = []
        newest: tuple[Clean, float] | None = None
        async for event in events:
            key = (event.profile, event.at)
            if not left and key != newest:
                break
            if not goal.is_wanted(event) or (key in seen and key != newest):
                continue
            if key != newest:
                seen.add(key)
                newest, of_one_poll, left = key, [], left - 1
            of_one_poll.append(event)
        if not of_one_poll:
            return Destination(place, f"no {'later' if direction > 0 else 'earlier'} event of what is shown")
        found = headline(of_one_poll[::direction], now_of=lambda event: event.at) or of_one_poll[0]
        moved = await self._place_of(found, start.timeline, present)
        tail = "" if found.name is None else id_tail(found.name, found.id, present.ambiguous_names)
        name = f"{found.name or found.id}{tail}" if found.id is not None else ""
        is_now = moved.wall >= present.newest_at and not present.is_replay
        text = " ".join(filter(None, (found.profile, name, event_text(found, present.zone))))
        return Destination(None if is_now else moved, text)

    async def _events_before(
        self, start: Place, place: Place | None, wall: WallMs, present: Present
    ) -> AsyncIterator[Event]:
        """Yield the events before those that a moment brought itself, newest first."""
        profile, poll = start.step.profile, start.step.poll
        before = start.position if place is None else start.timeline.neighbour(start.position, -1)
        ends = {each: clock.at(wall if place is not None else poll.at) for each, clock in present.clocks.items()}
        # Before this is what the moment did not bring: by the clock as it was estimated when that was recorded.
        if before is not None:
            moment = (await self._reader.moments(start.timeline, before))[profile]
            ends[profile] = moment.fleet.clock.at(moment.now.wall)
        else:
            ends[profile] = present.clocks[profile].at(WallMs(poll.at - poll.interval_s * 1000))

        def is_before(event: Event) -> bool:
            return event.at <= ends[event.profile]

        while True:
            window = await self._reader.events(wall, present.newest_at, present.clocks)
            for event in reversed(window.log):
                if is_before(event):
                    yield event
            earlier = await self._reader.earlier(Timeline((), window.since))
            if earlier is None:
                return
            wall = WallMs(min(earlier.until, window.since))

    async def _events_after(self, wall: WallMs, present: Present) -> AsyncIterator[Event]:
        """Yield the events after a moment, oldest first."""
        ends = {profile: clock.at(wall) for profile, clock in present.clocks.items()}
        while True:
            window = await self._reader.events(wall, present.newest_at, present.clocks)
            for event in window.log:
                if event.at > ends[event.profile]:
                    yield event
            if window.until >= present.newest_at:
                return
            wall = WallMs(min(window.until + DAY_MS / 3, present.newest_at))

    async def _place_of(self, event: Event, timeline: Timeline, present: Present) -> Place:
        """Return the poll that brought an event; it is guessed by the server's clock, and the moments there decide."""
        wall = WallMs(event.at - present.clocks[event.profile].offset)
        if not timeline.since <= wall <= timeline.until:
            timeline = await self._reader.around(wall)
        index = timeline.place_of_profile(event.profile, wall - _TOLERANCE_MS)
        for _ in range(_TRIES):
            moment = (await self._reader.moments(timeline, index))[event.profile]
            clock, before = moment.fleet.clock, timeline.neighbour(index, -1)
            other: int | None = None
            if event.at > clock.at(moment.now.wall):
                other = timeline.neighbour(index, 1)
            elif before is not None and event.at <= clock.at(timeline.steps[before].poll.at):
                other = before
            if other is None:
                break
            index = other
        return Place(timeline, index)
