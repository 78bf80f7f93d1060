"""The list of events: open groups, and times of filtering."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from textual.app import App

from envwatch.fleet.events import Event, EventLog, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.limits import EVENTS_KEPT
from envwatch.model.text import clean
from envwatch.query.language import Query, Word, parse
from envwatch.tui.state import MonitorState
from envwatch.tui.themes import STATE_COLOURS, stylesheet
from envwatch.tui.widgets.event_list import EventList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.app import ComposeResult


class ListApp(App[None]):
    CSS_PATH = stylesheet()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return STATE_COLOURS

    def compose(self) -> ComposeResult:
        yield EventList()


@asynccontextmanager
async def event_list(width: int = 80) -> AsyncIterator[EventList]:
    app = ListApp()
    async with app.run_test(size=(width, 12)) as pilot:
        events = app.query_one(EventList)
        events.focus()
        await pilot.pause()
        yield events


def group(at: float = NOW, prefix: str = "web") -> Event:
    names = [clean(f"{prefix}-{number}") for number in range(3)]
    members = tuple(Event(kind=Kind.OFFLINE, at=ServerMs(at), id=clean(f"env-{name}"), name=name) for name in names)
    return Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=ServerMs(at), members=members)


def show(events: EventList, *newest_last: Event) -> None:
    log = EventLog().with_events(newest_last)
    events.state = MonitorState(monitor=Monitor(event_log=log))


def lines(events: EventList) -> list[str]:
    drawn = ("".join(segment.text for segment in events.render_line(y)) for y in range(events.size.height))
    return [line.strip() for line in drawn if line.strip()]


async def test_an_open_group_stays_open_when_an_equal_event_takes_its_place() -> None:
    async with event_list() as events:
        show(events, group())
        await events.action_choose()
        assert len(lines(events)) == 4
        show(events, group())
        assert len(lines(events)) == 4
        await events.action_choose()
        assert len(lines(events)) == 1


async def test_groups_of_other_moments_environments_and_kinds_open_apart() -> None:
    async with event_list() as events:
        same_moment = group(prefix="db")
        show(events, group(NOW - 1_000), same_moment, replace(group(), of=Kind.RECONNECTED), group())
        await events.action_choose()
        assert len(lines(events)) == 7
        assert sum("web-" in line and "together" not in line for line in lines(events)) == 3


class Searched(list[str]):
    @property
    def query(self) -> Query:
        def matches(text: str) -> bool:
            self.append(text)
            return True

        return Query((Word("any", "", matches, state=None),))


def singles(count: int, start: int = 0) -> list[Event]:
    return [
        Event(kind=Kind.ONLINE, at=ServerMs(NOW + n), id=clean(f"env-{n}"), name=clean(f"web-{n}"))
        for n in range(start, start + count)
    ]


async def test_of_a_longer_log_only_the_new_events_are_searched() -> None:
    async with event_list() as events:
        searched = Searched()
        log = EventLog().with_events(singles(5))
        events.state = MonitorState(monitor=Monitor(event_log=log))
        events.filter_by(searched.query)
        assert len(searched) == 5
        events.state = MonitorState(monitor=Monitor(event_log=log.with_events(singles(2, start=5))))
        assert len(searched) == 7
        assert events.matches == 7


async def test_events_from_before_the_start_that_are_read_later_are_listed_and_filtered_as_well() -> None:
    async with event_list() as events:
        since_start = EventLog().with_events([group(NOW)])
        for query in (Query(), parse("web")):
            events.filter_by(query)
            events.state = MonitorState(monitor=Monitor(event_log=since_start))
            assert len(lines(events)) == 1
            past = [group(NOW - 2_000), group(NOW - 1_000, prefix="db")]
            events.state = MonitorState(monitor=Monitor(event_log=since_start.with_past(past)))
            assert len(lines(events)) == (2 if query else 3)


async def test_events_that_the_log_drops_leave_the_filtered_list() -> None:
    async with event_list() as events:
        log = EventLog().with_events(singles(5))
        events.state = MonitorState(monitor=Monitor(event_log=log))
        events.filter_by(Searched().query)
        events.state = MonitorState(monitor=Monitor(event_log=log.with_events(singles(2, start=5), most=4)))
        assert ["".join(line.split()[-3:-2]) for line in lines(events)] == ["web-6", "web-5", "web-4", "web-3"]


async def test_other_work_goes_on_while_a_long_log_is_filtered_and_new_events_are_listed_with_it() -> None:
    async with event_list() as events:
        log = EventLog().with_events(singles(EVENTS_KEPT // 5))
        events.state = MonitorState(monitor=Monitor(event_log=log))
        events.filter_by(parse("none of them"), parse("web-1"))
        events.state = MonitorState(monitor=Monitor(event_log=log.with_events(singles(1, start=19_999))))
        assert events.matches == EVENTS_KEPT // 5
        turns = 0
        while events.filter_query != parse("web-1") or "web-19999" not in lines(events)[0]:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        assert events.matches == 1_112


async def test_the_event_under_the_cursor_is_known_and_none_without_events() -> None:
    async with event_list() as events:
        before = events.highlighted
        show(events, *singles(3))
        events.action_move(1)
        after = events.highlighted
        assert before is None
        assert after is not None
        assert after.name == "web-1"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "► 08:53:20  ○  build-20                 went offline · disconnected"),
        (66, "► 08:53:20  ○  build-20                 went offline"),
        (65, "► 08:53  ○  build-20 went offline · disconnected · was on for 3h"),
        (50, "► 08:53  ○  build-20 went offline · disconnected"),
        (40, "► 08:53  ○  build-20 went offline"),
    ],
)
async def test_no_line_of_a_narrow_list_is_cut(width: int, line: str) -> None:
    name, lasted = clean("build-20"), timedelta(hours=3)
    lost = Event(kind=Kind.OFFLINE, at=NOW, id=name, name=name, reason=clean("disconnected"), lasted=lasted)
    async with event_list(width) as events:
        show(events, lost)
        assert events.render_line(0).text.rstrip() == line
