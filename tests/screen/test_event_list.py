"""The list of events, and the keys of the log that act on the environments of the event under the cursor."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, beating, environment, key_of
from support.policies import soon
from support.quick_apps import wait_for_idle
from support.rewinding import BACK, lived, press
from textual.app import App

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import Event, EventLog, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.limits import EVENTS_KEPT
from envwatch.model.text import clean
from envwatch.query.language import Query, TextTerm, parse
from envwatch.screen.screens.dialogs import CopyMenu, Menu, Prompt
from envwatch.screen.screens.event_log import EventLogScreen, WholeEvent
from envwatch.screen.state import MonitorState
from envwatch.screen.themes import STATE_COLOURS, stylesheet
from envwatch.screen.widgets.event_list import EventList
from envwatch.views.state_style import NOT_NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage
    from textual.app import ComposeResult

    from envwatch.model.environment import Environment


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

        return Query((TextTerm("any", "", matches, state=None),))


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


async def test_events_of_earlier_runs_read_later_are_listed_and_filtered_as_well() -> None:
    async with event_list() as events:
        since_start = EventLog().with_events([group(NOW)])
        for query in (Query(), parse("web")):
            events.filter_by(query)
            events.state = MonitorState(monitor=Monitor(event_log=since_start))
            assert len(lines(events)) == 1
            past = [group(NOW - 2_000), group(NOW - 1_000, prefix="db")]
            events.state = MonitorState(monitor=Monitor(event_log=since_start.with_past(past)))
            assert len(lines(events)) == (2 if query else 3)


async def test_events_dropped_by_the_log_leave_the_filtered_list() -> None:
    async with event_list() as events:
        log = EventLog().with_events(singles(5))
        events.state = MonitorState(monitor=Monitor(event_log=log))
        events.filter_by(Searched().query)
        events.state = MonitorState(monitor=Monitor(event_log=log.with_events(singles(2, start=5), most=4)))
        assert ["".join(line.split()[-3:-2]) for line in lines(events)] == ["web-6", "web-5", "web-4", "web-3"]


async def test_other_work_goes_on_while_a_long_log_is_filtered_and_new_events_join_the_list() -> None:
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


async def test_the_line_of_the_cursor_is_visible_and_alone_has_its_background() -> None:
    async with event_list() as events:
        show(events, *singles(40))
        background = events.get_component_rich_style("log--cursor", partial=True).bgcolor
        for step in (0, 5, 20, -3, -20, 30, -99):
            events.action_move(step)
            await wait_for_idle()
            (marked,) = (y for y, line in enumerate(lines(events)) if line.startswith("►"))
            drawn = [{segment.style.bgcolor for segment in events.render_line(y) if segment.style} for y in range(12)]
            assert [y for y, found in enumerate(drawn) if background in found] == [marked]


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


# -- keys --------------------------------------------------------------------------------------------------------------
@pytest.fixture
def _no_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)


def rows(at: float, *down: str, mode: str = "standard") -> list[Environment]:
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW}
    return [
        environment(
            f"env-{name}",
            connectionName=name,
            currentMode=mode,
            **(lost if name in down else {"lastHeartbeat": at - 1_000}),
        )
        for name in ("ada", "bob", "cyd", "dan")
    ]


@asynccontextmanager
async def opened_log(*listings: tuple[str, ...], **options: Any) -> AsyncIterator[Stage]:
    """Open a log after listings five seconds apart, each with the names down; the first has all up."""
    async with staged((80, 24), **options) as stage:
        await stage.show(rows(stage.at))
        for down in listings:
            stage.now += 5
            await stage.show(rows(stage.at, *down))
        await stage.press("e")
        assert isinstance(stage.app.screen, EventLogScreen)
        yield stage


def answer(stage: Stage) -> str:
    assert isinstance(stage.app.screen, EventLogScreen)
    return " ".join(str(stage.app.screen.query_one(WholeEvent).content).split())


def acknowledged(stage: Stage) -> list[str]:
    return sorted(id_.removeprefix("env-") for _, id_ in stage.app.state.monitor.acks)


async def test_one_event_acts_on_all_of_its_incident_and_the_log_answers_until_its_end() -> None:
    async with opened_log(("bob",), ("bob", "cyd")) as stage:
        assert len({event.incident for event in stage.app.state.monitor.event_log}) == 1
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert "Acknowledge on this machine: bob and cyd, until they recover" in stage.text
        await stage.type("disk")
        await stage.press("enter")
        said = "acknowledged on this machine until they recover: bob and cyd; no message will be sent from here"
        assert answer(stage) == said
        assert said in " ".join(stage.text.split())
        assert acknowledged(stage) == ["bob", "cyd"]
        await stage.tick(4)
        assert answer(stage) == said
        await stage.tick(2)
        assert "2 acknowledged: bob, cyd · here: disk" in answer(stage)
        await stage.press("M")
        assert isinstance(stage.app.screen, Menu)
        assert "Silence on this machine: bob and cyd" in stage.text
        await stage.press("enter", "enter")
        assert answer(stage) == "silenced on this machine for 30m: bob and cyd"
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-bob"), key_of("env-cyd")}
        await stage.press("A", "n", "enter", "escape")
        assert stage.news == "bob and cyd never page now: A changes that"
        assert {word.is_always for word in stage.app.state.monitor.words.values()} == {False}


async def test_an_open_incident_is_acted_on_as_a_whole() -> None:
    async with opened_log(*[("bob", "cyd", "dan")] * 4, policies=soon()) as stage:
        (incident,) = stage.app.state.monitor.incidents.open
        assert len(incident.remaining) == 3
        stage.now += 5
        await stage.show(rows(stage.at, "bob", "cyd"))
        await stage.press("g", "a", "enter")
        assert answer(stage) == "acknowledged on this machine until they recover: bob and cyd"
        assert acknowledged(stage) == ["bob", "cyd"]


async def test_a_row_gone_for_long_can_be_acknowledged_until_the_fleet_forgets_the_row() -> None:
    async with opened_log() as stage:
        for stage.now in (5, 10, 15, 120, 1_200):
            await stage.show([row for row in rows(stage.at) if row.name != "bob"])
        opened = stage.app.state.monitor.incidents.open
        assert len(opened) == 1
        await stage.press("G", "a", "enter")
        assert answer(stage) == "acknowledged on this machine until it recovers: bob"
        await stage.tick(1)
        assert stage.app.state.monitor.incidents.open == ()
        for stage.now in (5_000, 5_005):
            await stage.show([row for row in rows(stage.at) if row.name != "bob"])
        await stage.press("G", "a")
        assert answer(stage) == "nothing to acknowledge: bob left the fleet"


async def test_a_past_loss_is_said_to_be_over() -> None:
    async with opened_log(("bob",), ()) as stage:
        for key, verb in (("a", "acknowledge"), ("M", "silence")):
            for move in ("g", "G"):
                await stage.press(move, key)
                assert answer(stage) == f"nothing to {verb}: bob is up again", move


async def test_a_change_of_a_row_never_lost_is_no_problem_and_the_row_can_be_silenced() -> None:
    async with opened_log(()) as stage:
        stage.now += 5
        await stage.show([*rows(stage.at, mode="plan")[:1], *rows(stage.at)[1:]])
        await stage.press("a")
        assert answer(stage) == "nothing to acknowledge: ada, no loss"
        await stage.press("M", "enter", "enter")
        assert answer(stage) == "silenced on this machine for 30m: ada (it is up)"


async def test_an_event_without_an_environment_says_so() -> None:
    verbs = {"enter": "go to", "a": "acknowledge", "M": "silence", "A": "decide", "y": "copy"}
    async with opened_log() as stage:
        await stage.press("enter")
        assert answer(stage) == "nothing to go to: the event is about no machine"
        stage.app._warn(clean("the disk is full"))  # noqa: SLF001  a notice in the log
        await stage.tick(6)
        assert "the disk is full" in answer(stage)
        for key, verb in verbs.items():
            await stage.press(key)
            assert answer(stage) == f"nothing to {verb}: the event is about no machine"


@pytest.mark.usefixtures("_no_tmux")
async def test_y_copies_from_the_incident_of_the_event_or_from_an_environment_up_again() -> None:
    async with opened_log(("bob",), ("bob", "cyd"), ("cyd",)) as stage:
        for move in ("g", "j", "G"):
            await stage.press(move, "y")
            assert isinstance(stage.app.screen, CopyMenu)
            await stage.press("n")
            assert stage.copied[-1] == "cyd", move
            assert answer(stage) == "sent to the clipboard: cyd"
        stage.now += 5
        await stage.show(rows(stage.at))
        await stage.press("G", "y")
        assert "Copy from bob" in stage.text


async def test_a_group_without_an_incident_opens_closes_and_acts_on_its_members() -> None:
    async with opened_log() as stage:
        for _ in range(2):
            stage.now += 5
            more = [environment(f"new-{n}", connectionName=f"new-{n}", lastHeartbeat=stage.at) for n in range(12)]
            await stage.show([*rows(stage.at), *more])
        for count in (12, 0):
            await stage.press("enter")
            assert sum(line.startswith("    ") and "  ●  new-" in line for line in stage.lines) == count
        await stage.press("y")
        assert "Copy from new-0, new-1, new-2, new-3 and 8 more" in stage.text
        await stage.press("escape", "a")
        assert answer(stage) == "nothing to acknowledge: new-0, new-1, new-2, new-3 and 8 more, no loss"


async def test_in_the_past_the_keys_of_the_present_are_refused_in_the_log() -> None:
    async with lived() as stage:
        await press(stage, BACK, "e")
        for key in ("a", "M", "A"):
            await stage.press(key)
            assert answer(stage) == NOT_NOW, key
        await stage.press("y")
        assert isinstance(stage.app.screen, CopyMenu)


async def test_a_key_without_a_meaning_says_so() -> None:
    async with opened_log(("bob",)) as stage:
        for key in ("x", "ctrl+t"):
            await stage.press(key)
            assert re.fullmatch(r"\S+ does nothing in the log: \? has the keys", answer(stage)), key
            stage.app.answer("")
            await stage.pilot.pause()
            assert "bob · went offline" in answer(stage)


async def test_a_filter_with_fewer_lines_than_the_cursors_place_moves_the_cursor() -> None:
    async with opened_log(("ada", "bob"), ()) as stage:
        await stage.press("G")
        await stage.type("/went")
        await stage.press("enter")
        (title,) = [y for y, line in enumerate(stage.lines) if "FILTER 2/4" in line]
        assert stage.lines[title + 1].startswith("►")


async def test_the_log_opens_on_a_cut_message_and_has_each_such_message_once() -> None:
    async with staged((60, 15)) as stage:
        await stage.show(beating(3, stage.at))
        stage.app.answer(f"cannot export: {'the folder is full, ' * 12}THE END")
        await stage.tick(0)
        assert "e: all of it" in stage.text
        await stage.show([environment("env-1", connectionId=None), *beating(3, stage.at)[1:]])
        await stage.press("e")
        assert "THE END" in stage.text
        await stage.press("q")
        await stage.tick(60)
        await stage.press("e")
        assert "THE END" not in stage.text
        before = len(stage.app.state.monitor.event_log)
        for word in ("refused", "reset", "refused", "reset"):
            stage.app.answer(f"connection {word}: {'try again later, ' * 20}")
            await stage.tick(0)
        assert len(stage.app.state.monitor.event_log) == before + 2
