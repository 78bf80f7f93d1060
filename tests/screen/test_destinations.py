"""Steps from event to event lead to the polls that recorded the events."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, failed, reading
from support.memory_history import MemoryHistory

from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.history.past import HistoryError
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean
from envwatch.screen.rewind.destinations import Destinations
from envwatch.screen.rewind.past_reader import PastReader
from envwatch.screen.screens.table_screen import AtTime, Steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.model.outcome import RecordedPoll
    from envwatch.screen.rewind.destinations import Place

HOME, WORK = clean("home"), clean("work")
DAY = timedelta(days=1) / timedelta(seconds=1)


class Recorded(NamedTuple):
    """A recorded step, in seconds after `NOW`."""

    at: float
    events: int = 0
    is_poll: bool = True
    profile: SafeText = NO_PROFILE
    estimate_is_off_by: float = 0.0
    """Error of the estimated server clock in seconds."""


class Shortening(MemoryHistory):
    """A past whose oldest days are deleted meanwhile."""

    begins_at = 0.0

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        return super().polls(WallMs(max(since, self.begins_at)), until)


def pasts_of(*steps: Recorded) -> Mapping[SafeText, Shortening]:
    """Return the profiles' pasts; a step's events are named by time."""
    pasts = {each.profile: Shortening(each.profile) for each in steps}
    for at, events, is_poll, profile, off_by in steps:
        happened = ServerMs(NOW + (at + off_by) * 1000)
        name = clean(f"at {at:g}")
        event = Event(kind=Kind.OFFLINE, at=happened, profile=profile, id=name, name=name)
        wall = NOW + at * 1000
        polled, outcome = (profile, failed(at=wall)) if is_poll else (None, None)
        monitor = Monitor.create({profile: Limits()})
        pasts[profile].record(monitor, MonitorChanges(reading(wall), polled, outcome, (event,) * events))
    return pasts


class Walk:
    def __init__(self, *steps: Recorded, is_replay: bool = False) -> None:
        self.pasts = pasts_of(*steps)
        newest_at = WallMs(NOW + max(each.at for each in steps if each.is_poll) * 1000)
        self.reader = PastReader(self.pasts)
        self._destinations = Destinations(
            reader=self.reader,
            newest_at=newest_at,
            is_replay=is_replay,
            clocks=dict.fromkeys(self.pasts, ServerClock()),
            ambiguous_names=frozenset(),
            wall=newest_at,
            zone=UTC,
        )
        self.place: Place | None = None
        self.text = ""

    async def go(self, at: float) -> None:
        """Go to a time."""
        self.place, self.text, _ = await self._destinations.find(AtTime(WallMs(NOW + at * 1000)), self.place)

    async def event(self, by: int) -> float | None:
        """Go `by` events on, and return the time; None for the present."""
        goal = Steps(by, is_wanted=lambda _: True)
        self.place, self.text, _ = await self._destinations.find(goal, self.place)
        return None if self.place is None else (self.place.wall - NOW) / 1000

    async def all_events(self, by: int) -> list[float | None]:
        found = list[float | None]()
        while not self.text.startswith("no "):
            assert len(found) < 100, "it leads to the same places for ever"
            found.append(await self.event(by))
        return found[:-1]


@st.composite
def lives(draw: st.DrawFn) -> list[Recorded]:
    """Draw polls and changes by time alone, also days apart, under one or two profiles."""
    profiles = draw(st.sampled_from([(NO_PROFILE,), (HOME, WORK)]))
    steps, at = [Recorded(-1, profile=profiles[0])], 0.0
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0.0, 1.0, 1.0, 5.0, 90.0, 20_000.0, 3 * DAY]))
        profile = draw(st.sampled_from(profiles))
        is_poll, off_by = draw(st.booleans()), draw(st.sampled_from([0.0, 2.0, -2.0, 60.0]))
        if not any(each.at == at and each.profile == profile for each in steps):
            steps.append(Recorded(at, draw(st.integers(0, 2)), is_poll, profile, off_by))
    end = at + 1
    return [*steps, *(Recorded(end + place, profile=profile) for place, profile in enumerate(profiles))]


def eventful(steps: Sequence[Recorded]) -> list[float]:
    """Return the polls with events, by the order of recording alone."""
    order = list(dict.fromkeys(each.profile for each in steps))
    found = set[tuple[float, int]]()
    for place, each in enumerate(steps):
        if each.events:
            poll = next(later for later in steps[place:] if later.is_poll and later.profile == each.profile)
            found.add((poll.at, order.index(poll.profile)))
    return [at for at, _ in sorted(found)]


@given(lives())
def test_steps_from_event_to_event_lead_once_to_every_poll_with_an_event(steps: list[Recorded]) -> None:
    asyncio.run(_walk(steps))


async def _walk(steps: list[Recorded]) -> None:
    expected, end = eventful(steps), steps[-1].at
    backwards = [at for at in reversed(expected) if at < end]
    replay = Walk(*steps, is_replay=True)
    await replay.go(steps[0].at)
    assert await replay.all_events(1) == expected
    await replay.go(end)
    assert await replay.all_events(-1) == backwards
    assert await Walk(*steps).all_events(-1) == backwards
    for count, at in enumerate(backwards, 1):
        assert await Walk(*steps).event(-count) == at


async def test_a_busy_day_is_read_in_parts_and_every_step_leads_to_the_next_poll() -> None:
    most = limits.EVENTS_KEPT // 4
    polls = [Recorded(5 * place, most // 10) for place in range(50)]
    walk = Walk(*polls, is_replay=True)
    await walk.go(125)
    assert await walk.all_events(-1) == [5 * place for place in reversed(range(25))]
    walk.text = ""
    assert await walk.all_events(1) == [5 * place for place in range(1, 50)]
    for place in (0, 25, 49):
        wall = WallMs(NOW + 5_000 * place)
        window = await walk.reader.events(wall, WallMs(NOW + 5_000 * 49), {NO_PROFILE: ServerClock()})
        assert window.covers(wall)
        assert sum(len(events) for _, events in window.eventful_polls) <= 2 * most + most // 5


async def test_what_time_alone_brought_is_known_from_the_next_poll_on_also_days_later() -> None:
    for later in (90.0, 20_000.0, 3 * DAY):
        steps = (Recorded(0), Recorded(5, 1), Recorded(6, 1, is_poll=False), Recorded(later), Recorded(later + 5))
        assert await Walk(*steps).all_events(-1) == [later, 5]
        forth = Walk(*steps)
        await forth.go(0)
        assert [await forth.event(1), await forth.event(1)] == [5, later]


async def test_what_time_alone_brought_after_the_last_poll_of_a_recording_is_at_no_place() -> None:
    walk = Walk(Recorded(0), Recorded(5, 1), Recorded(6, 1, is_poll=False), is_replay=True)
    await walk.go(5)
    assert await walk.event(1) == 5
    assert walk.text == "no later event of the visible machines"


async def test_of_several_profiles_the_nearest_poll_comes_first_and_polls_of_one_moment_are_two_steps() -> None:
    steps = (
        *(Recorded(0, profile=HOME), Recorded(1, profile=WORK)),
        *(Recorded(40, 1, is_poll=False, profile=WORK), Recorded(55, 1, profile=HOME)),
        *(Recorded(60, profile=WORK), Recorded(65, profile=HOME)),
    )
    assert await Walk(*steps).all_events(-1) == [60, 55], "the event of the nearest was recorded before"
    forth = Walk(*steps)
    await forth.go(1)
    assert [await forth.event(1), await forth.event(1)] == [55, 60]
    both = (Recorded(5, 1, profile=HOME), Recorded(5, 1, profile=WORK))
    walk = Walk(Recorded(0, profile=HOME), Recorded(0, profile=WORK), *both, Recorded(9, profile=HOME))
    assert await walk.all_events(-1) == [5, 5]


async def test_the_newest_poll_is_the_present_and_in_a_replay_its_end() -> None:
    for is_replay, end in ((False, None), (True, 10)):
        walk = Walk(Recorded(0), Recorded(5, 1), Recorded(10, 1), is_replay=is_replay)
        await walk.go(5)
        assert await walk.event(1) == end
        assert walk.text.startswith("at 10")


async def test_a_poll_deleted_meanwhile_is_a_message() -> None:
    walk = Walk(Recorded(0), Recorded(5, 1), Recorded(20_000, 1), Recorded(20_005))
    assert await walk.event(-1) == 20_000
    walk.pasts[NO_PROFILE].begins_at = NOW + 10_000_000
    with pytest.raises(HistoryError, match="no longer there"):
        await walk.event(-1)


async def test_many_events_at_once_lead_as_far_as_one_by_one_also_over_days() -> None:
    hours = [float(hour * 3_600) for hour in range(0, 150, 5)]
    for count in (5, 10, 20, 29):
        walk = Walk(Recorded(-1), *(Recorded(at, 1) for at in hours))
        assert await walk.event(-count) == hours[-1 - count]
        await walk.go(-1)
        assert await walk.event(count) == hours[count - 1]
