"""The list of events alone: which groups are open."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from support.builders import NOW
from textual.app import App

from envwatch.fleet.event_log import EventLog
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.tui.app import stylesheet
from envwatch.tui.state import MonitorState
from envwatch.tui.themes import STATE_COLOURS
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
async def event_list() -> AsyncIterator[EventList]:
    app = ListApp()
    async with app.run_test(size=(80, 12)) as pilot:
        events = app.query_one(EventList)
        events.focus()
        await pilot.pause()
        yield events


def group(at: float = NOW, prefix: str = "web") -> Event:
    names = [Clean(f"{prefix}-{number}") for number in range(3)]
    members = tuple(Event(kind=Kind.OFFLINE, at=ServerMs(at), id=Clean(f"env-{name}"), name=name) for name in names)
    return Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=ServerMs(at), members=members)


def show(events: EventList, *newest_last: Event) -> None:
    log = EventLog().after(newest_last)
    events.state = MonitorState(monitor=Monitor(event_log=log))


def lines(events: EventList) -> list[str]:
    drawn = ("".join(segment.text for segment in events.render_line(y)) for y in range(events.size.height))
    return [line.strip() for line in drawn if line.strip()]


async def test_an_open_group_stays_open_when_an_equal_event_takes_its_place() -> None:
    async with event_list() as events:
        show(events, group())
        events.action_choose()
        assert len(lines(events)) == 4
        show(events, group())
        assert len(lines(events)) == 4
        events.action_choose()
        assert len(lines(events)) == 1


async def test_groups_of_other_moments_environments_and_kinds_open_apart() -> None:
    async with event_list() as events:
        same_moment = group(prefix="db")
        show(events, group(NOW - 1_000), same_moment, replace(group(), of=Kind.RECONNECTED), group())
        events.action_choose()
        assert len(lines(events)) == 7
        assert sum("web-" in line for line in lines(events)) == 3
