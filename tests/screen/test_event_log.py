"""The event log: filter, cut texts, and the way from an event to its row."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment

from envwatch.fleet.events import NO_PROFILE
from envwatch.query.language import Query
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.event_log import EventLogScreen, LogTitle, WholeEvent
from envwatch.screen.widgets.event_list import EventList
from envwatch.screen.widgets.filter_bar import FilterBar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

NAMES = ("ada", "bob", "cyd", "dan")
CHANGE_OF_ADA = ("g", "j")


def named(name: str, at: float, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at - 10_000} | changes))


def lost(name: str, at: float, **changes: Any) -> Environment:
    return named(name, at, connectionId=None, lastHeartbeat=None, **changes)


@asynccontextmanager
async def log(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    """Open a log: ten seconds ago `bob` was lost, then `ada` changed mode, and `mass-0` to `mass-11` came."""
    async with staged(size) as stage:
        await stage.show([named(name, stage.at) for name in NAMES])
        stage.now = 5
        await stage.show([named("ada", stage.at), lost("bob", stage.at), *(named(n, stage.at) for n in ("cyd", "dan"))])
        stage.now = 10
        await stage.show(last_listing(stage.at))
        await stage.press("e")
        yield stage


def last_listing(at: float) -> list[Environment]:
    return [
        named("ada", at, currentMode="plan"),
        lost("bob", at),
        *(named(name, at) for name in ("cyd", "dan")),
        *(named(f"mass-{n}", at) for n in range(12)),
    ]


def title(stage: Stage) -> str:
    return stage.lines_of(stage.app.screen.query_one(LogTitle))[0]


def events(stage: Stage) -> list[str]:
    drawn = stage.lines_of(stage.app.screen.query_one(EventList))
    lines = [re.sub(r"^\W*[0-9]{2}:[0-9]{2}(:[0-9]{2})? +\S ", "", line) for line in drawn]
    return [re.sub(r"\s+", " ", line).strip() for line in lines if line.strip()]


def whole(stage: Stage) -> str:
    log = stage.app.screen
    assert isinstance(log, EventLogScreen)
    text = " ".join(line.strip() for line in str(log.query_one(WholeEvent).content).split("\n"))
    return re.sub(r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\S* · ", "", text)


async def test_the_whole_event_under_the_cursor_stands_below_with_its_date() -> None:
    async with log((60, 16)) as stage:
        assert whole(stage).startswith("12 appeared together: mass-0, mass-1, ")
        await stage.press("j")
        assert whole(stage) == "ada · mode standard → plan"
        await stage.press("j")
        assert whole(stage) == "bob · went offline · disconnected · was on for 1h"
        assert events(stage)[2] == "bob went offline · disconnected · was on for 1h"
        assert stage.lines[-2].rstrip() == " was on for 1h"
        assert re.match(r" [0-9-]{10} [0-9:]{8}", stage.lines[-3])
        await stage.type("/zzz")
        assert whole(stage) == ""


async def test_words_filter_the_log_while_they_are_typed_and_escape_goes_back_step_by_step() -> None:
    async with log() as stage:
        await stage.press("slash")
        assert "web in the text of an event" in stage.text
        await stage.type("bo")
        assert [event.split()[0] for event in events(stage)] == ["bob"]
        assert " FILTER 1/3 " in title(stage)
        await stage.press("enter")
        assert title(stage).startswith(" events  bo ")
        assert stage.app.screen.query_one(EventList).has_focus
        await stage.type("/zz")
        assert str(stage.app.screen.query_one(EventList).filter_query) == "bo zz"
        assert events(stage) == ["No event matches. esc clears the filter."]
        assert " FILTER 0/3 " in title(stage)
        await stage.press("escape")
        assert not stage.app.screen.query_one(FilterBar).display
        assert [event.split()[0] for event in events(stage)] == ["bob"]
        await stage.press("escape")
        assert isinstance(stage.app.screen, EventLogScreen)
        assert len(events(stage)) == 3
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)


async def test_an_unfinished_or_invalid_filter_keeps_the_last_good_filter() -> None:
    async with log() as stage:
        for letter in "/status:":
            await stage.type(letter)
            assert "No event matches" not in stage.text, letter
        assert len(events(stage)) == 3
        await stage.press("enter")
        assert stage.app.screen.query_one(FilterBar).input.has_focus
        await stage.press("escape")
        await stage.type("/bob")
        stage.app.screen.query_one(FilterBar).input.value = "bob beat:>"
        await stage.pilot.pause()
        assert [event.split()[0] for event in events(stage)] == ["bob"]
        assert "^" in stage.lines[-3]


async def test_keys_in_the_filter_bar_are_typed_and_the_log_closes_with_its_filter() -> None:
    async with log() as stage:
        await stage.type("/eqj/pG0")
        assert isinstance(stage.app.screen, EventLogScreen)
        assert str(stage.app.screen.query_one(EventList).filter_query) == "eqj/pG0"
        await stage.press("enter", "enter")
        assert isinstance(stage.app.screen, EventLogScreen), "an empty log has no row to go to"
        for key in ("e", "q"):
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert (stage.app.dashboard.view.query, stage.table.row_cursor.matches) == (Query(), 16), key
            await stage.press("e")
            assert len(events(stage)) == 3, key


async def test_new_events_are_counted_and_shown_if_the_filter_matches() -> None:
    async with log() as stage:
        await stage.type("/went")
        await stage.press("enter")
        stage.now = 15
        await stage.show([lost("ada", stage.at, currentMode="plan"), *last_listing(stage.at)[1:]])
        assert [event.split()[0] for event in events(stage)] == ["ada", "bob"]
        assert " FILTER 2/4 " in title(stage)
        stage.now = 20
        await stage.show(
            [lost("ada", stage.at, currentMode="plan"), *last_listing(stage.at)[1:], named("zoe", stage.at)]
        )
        assert " FILTER 2/5 " in title(stage)


async def cursor_after_the_jump(stage: Stage, *keys: str, event: Sequence[str] = ("G",)) -> str | None:
    """Open the log after some keys, and go to an event's row; the default is the oldest event, about `bob`."""
    await stage.press("escape", *keys, "e", *event, "enter")
    await stage.pilot.pause()
    assert isinstance(stage.app.screen, Dashboard)
    return stage.cursor


async def test_enter_goes_to_the_row_of_an_event_and_leaves_a_view_with_the_row() -> None:
    async with log() as stage:
        for key, preset in {"2": "off", "4": "changed"}.items():
            assert await cursor_after_the_jump(stage, key) == "bob", "no view hides the block"
            assert stage.app.dashboard.view.preset == preset
            await stage.press("G", "e")
        assert await cursor_after_the_jump(stage, event=CHANGE_OF_ADA) == "ada"
        assert stage.app.dashboard.view.preset == "changed"


async def test_a_hidden_or_folded_row_is_shown_again() -> None:
    async with log() as stage:
        for keys in (("3",), ("slash", *"cyd", "enter"), ("m", "equals_sign")):
            assert await cursor_after_the_jump(stage, *keys, event=CHANGE_OF_ADA) == "ada", keys
            assert not stage.app.dashboard.view.is_narrowed, keys
            await stage.press("0", "e")
        assert await cursor_after_the_jump(stage, "b", "m", "enter", "X", event=CHANGE_OF_ADA) == "ada"
        heading = stage.table.row_cursor.heading()
        assert heading is not None
        assert heading.is_open
        await stage.press("0")
        stage.go_to("env-bob")
        await stage.press("a", "enter", "escape")
        stage.now = 90_000
        await stage.show(last_listing(stage.at))
        await stage.press("g")
        assert [header.title for header in stage.table.headers] == ["off for over 24 h"]
        await stage.press("e", "G", "enter")
        await stage.pilot.pause()
        assert stage.cursor == "bob"


async def test_enter_on_the_event_of_an_unknown_row_says_so_and_changes_nothing() -> None:
    async with log() as stage:
        await stage.press("escape", "g", "a", "enter")
        for stage.now in (15, 20, 4_000, 4_005):
            await stage.show([row for row in last_listing(stage.at) if row.name != "bob"])
        assert stage.app.state.monitor.fleet.tracked((NO_PROFILE, lost("bob", NOW).id)) is None
        await stage.press("4", "e", "G", "enter")
        assert stage.app.dashboard.view.preset == "changed"
        assert stage.news == "the machine has left the fleet"


async def test_a_cut_text_ends_with_an_ellipsis_also_next_to_a_scrollbar() -> None:
    async with staged((40, 8)) as stage:  # a small screen while events collect: each listing is drawn
        for stage.now in range(31):
            await stage.show([named("ada", stage.at, metadata={"gitBranch": f"feat/{'long-' * 60}{stage.now}"})])
        await stage.pilot.resize_terminal(80, 24)
        await stage.press("e")
        listed = stage.app.screen.query_one(EventList)
        assert listed.show_vertical_scrollbar
        room = listed.scrollable_content_region.width
        lines = [line[:room].rstrip() for line in stage.lines_of(listed)]
        assert {line[-1] for line in lines} == {"…"}
        assert stage.lines[-2].rstrip().endswith("…"), "the whole event takes two lines at most"


async def test_equal_names_have_an_id_in_news_and_log() -> None:
    async with staged() as stage:
        twins = [environment(id_, connectionName="sofia") for id_ in ("env-11eb", "env-9fe5")]
        await stage.show([*twins, named("ada", stage.at)])
        await stage.show([twins[0], environment("env-9fe5", connectionName="sofia", connectionId=None)])
        assert "sofia 9fe5  went offline" in stage.news
        await stage.press("e", "G")
        assert [event.split()[:3] for event in events(stage)] == [["sofia", "9fe5", "went"]]
        assert whole(stage).startswith("sofia 9fe5 · went offline")
