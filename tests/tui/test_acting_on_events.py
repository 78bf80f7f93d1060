"""Keys of the event log that act on the environments of the event under the cursor; the log stays open."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, key_of
from support.rewinding import BACK, lived, press

from envwatch.model.text import clean
from envwatch.tui.screens.dialogs import CopyMenu, Menu, Prompt
from envwatch.tui.screens.event_log import EventLogScreen, WholeEvent
from envwatch.tui.widgets.event_list import EventList
from envwatch.views.state_style import NOT_NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

NAMES = ("ada", "bob", "cyd", "dan")


@pytest.fixture(autouse=True)
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
        for name in NAMES
    ]


@asynccontextmanager
async def log(*listings: tuple[str, ...]) -> AsyncIterator[Stage]:
    """Open a log after listings five seconds apart, each with the names down; the first has all up."""
    async with staged((80, 24)) as stage:
        await stage.show(rows(stage.at))
        for down in listings:
            stage.now += 5
            await stage.show(rows(stage.at, *down))
        await stage.press("e")
        assert isinstance(stage.app.screen, EventLogScreen)
        yield stage


def events(stage: Stage) -> EventList:
    return stage.app.screen.query_one(EventList)


def answer(stage: Stage) -> str:
    assert isinstance(stage.app.screen, EventLogScreen)
    return " ".join(str(stage.app.screen.query_one(WholeEvent).content).split())


def acknowledged(stage: Stage) -> list[str]:
    return sorted(id_.removeprefix("env-") for _, id_ in stage.app.state.monitor.acks)


async def test_a_acknowledges_the_loss_under_the_cursor_and_the_log_answers() -> None:
    async with log(("bob",)) as stage:
        await stage.press("a")
        assert isinstance(stage.app.screen, Prompt)
        assert "Acknowledge bob on this machine, until it recovers" in stage.text
        await stage.type("disk")
        await stage.press("enter")
        assert answer(stage) == "acknowledged on this machine until it recovers: bob; no message will be sent from here"
        assert "acknowledged on this machine until it recovers: bob; no message will be sent\n from here" in stage.text
        assert acknowledged(stage) == ["bob"]
        await stage.tick(4)
        assert answer(stage).startswith("acknowledged")
        await stage.tick(2)
        assert "bob · acknowledged here: disk" in answer(stage)


async def test_one_event_acts_on_all_of_its_incident_that_is_still_lost() -> None:
    async with log(("bob",), ("bob", "cyd")) as stage:
        assert [event.name for event in stage.app.state.monitor.event_log] == ["bob", "cyd"]
        assert len({event.incident for event in stage.app.state.monitor.event_log}) == 1
        await stage.press("a")
        assert "Acknowledge bob and cyd on this machine" in stage.text
        await stage.press("enter")
        assert acknowledged(stage) == ["bob", "cyd"]


async def test_an_incident_that_is_open_is_acted_on_as_a_whole() -> None:
    async with log(("bob", "cyd", "dan"), *[("bob", "cyd", "dan")] * 48) as stage:
        (incident,) = stage.app.state.monitor.incidents.open
        assert len(incident.remaining) == 3
        stage.now += 5
        await stage.show(rows(stage.at, "bob", "cyd"))
        await stage.press("g", "a", "enter")
        assert answer(stage) == "acknowledged on this machine until they recover: bob and cyd"
        assert acknowledged(stage) == ["bob", "cyd"]


async def test_a_row_that_has_been_gone_for_long_can_be_acknowledged_as_long_as_its_incident_is_open() -> None:
    async with log() as stage:
        for stage.now in (5, 10, 15, 120, 1_200):
            await stage.show([row for row in rows(stage.at) if row.name != "bob"])
        opened = stage.app.state.monitor.incidents.open
        assert len(opened) == 1
        await stage.press("G", "a", "enter")
        assert answer(stage) == "acknowledged on this machine until it recovers: bob"
        await stage.tick(1)
        assert stage.app.state.monitor.incidents.open == ()


async def test_what_recovers_while_the_note_is_typed_is_answered_in_the_log() -> None:
    async with log(("bob",)) as stage:
        await stage.press("a")
        stage.now += 5
        await stage.show(rows(stage.at))
        await stage.press("enter")
        assert answer(stage) == "recovered meanwhile: bob"
        assert acknowledged(stage) == []


@pytest.mark.parametrize(("key", "verb"), [("a", "acknowledge"), pytest.param("M", "silence", marks=pytest.mark.slow)])
async def test_a_loss_that_is_over_is_said_to_be_over(key: str, verb: str) -> None:
    async with log(("bob",), ()) as stage:
        for move in ("g", "G"):
            await stage.press(move, key)
            assert answer(stage) == f"nothing to {verb}: bob is up again", move
    async with log(("bob", "cyd", "dan"), ()) as stage:
        await stage.press("G", key)
        assert answer(stage) == f"nothing to {verb}: bob, cyd and dan are up again"


async def test_a_change_of_one_that_was_never_lost_is_no_problem_and_can_be_silenced() -> None:
    async with log(()) as stage:
        stage.now += 5
        await stage.show([*rows(stage.at, mode="plan")[:1], *rows(stage.at)[1:]])
        await stage.press("a")
        assert answer(stage) == "nothing to acknowledge: ada, no problem"
        await stage.press("M", "enter", "enter")
        assert answer(stage) == "silenced on this machine for 30m: ada (it is up)"


@pytest.mark.parametrize(
    ("key", "verb"),
    [
        ("enter", "go to"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("a", "acknowledge"), ("M", "silence"), ("A", "decide"), ("y", "copy"))
        ),
    ],
)
async def test_an_event_without_an_environment_says_so(key: str, verb: str) -> None:
    async with log() as stage:
        await stage.press(key)
        assert answer(stage) == f"nothing to {verb}: the event has no environment"
        stage.app._warn(clean("the disk is full"))  # noqa: SLF001  a notice in the log
        await stage.tick(6)
        assert "the disk is full" in answer(stage)
        await stage.press(key)
        assert answer(stage) == f"nothing to {verb}: the event has no environment"


async def test_big_m_silences_the_incident_of_the_event() -> None:
    async with log(("bob",), ("bob", "cyd")) as stage:
        await stage.press("M")
        assert isinstance(stage.app.screen, Menu)
        assert "Silence bob and cyd for" in stage.text
        await stage.press("enter", "enter")
        assert answer(stage) == "silenced on this machine for 30m: bob and cyd"
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-bob"), key_of("env-cyd")}


async def test_y_copies_from_the_incident_of_the_event_or_from_an_environment_that_is_up_again() -> None:
    async with log(("bob",), ("bob", "cyd"), ("cyd",)) as stage:
        for move, text in (("g", "cyd"), ("j", "cyd"), ("G", "cyd")):
            await stage.press(move, "y")
            assert isinstance(stage.app.screen, CopyMenu)
            await stage.press("n")
            assert stage.copied[-1] == text
            assert answer(stage) == f"sent to the clipboard: {text}"
        stage.now += 5
        await stage.show(rows(stage.at))
        await stage.press("G", "y")
        assert "Copy from bob" in stage.text


async def test_a_group_without_an_incident_acts_on_its_members() -> None:
    async with log() as stage:
        for _ in range(2):
            stage.now += 5
            more = [environment(f"new-{n}", connectionName=f"new-{n}", lastHeartbeat=stage.at) for n in range(12)]
            await stage.show([*rows(stage.at), *more])
        await stage.press("y")
        assert "Copy from new-0, new-1, new-2, new-3 and 8 more" in stage.text
        await stage.press("escape", "a")
        assert answer(stage) == "nothing to acknowledge: new-0, new-1, new-2, new-3 and 8 more, no problem"


async def test_an_environment_that_left_the_fleet_is_named() -> None:
    async with log(("bob",)) as stage:
        await stage.press("a", "enter")
        for stage.now in (15, 20, 4_000, 4_005):
            await stage.show([row for row in rows(stage.at) if row.name != "bob"])
        await stage.press("G", "a")
        assert answer(stage) == "nothing to acknowledge: bob left the fleet"


async def test_in_the_past_the_keys_that_act_on_the_present_are_refused_in_the_log() -> None:
    async with lived() as stage:
        await press(stage, BACK, "e")
        for key in ("a", "M", "A"):
            await stage.press(key)
            assert answer(stage) == NOT_NOW, key
        await stage.press("y")
        assert isinstance(stage.app.screen, CopyMenu)


async def test_a_key_without_a_meaning_says_so() -> None:
    async with log(("bob",)) as stage:
        for key in ("x", "ctrl+t"):
            await stage.press(key)
            assert re.fullmatch(r"\S+ does nothing in the log: \? has the keys", answer(stage)), key
            stage.app.answer("")
            await stage.pilot.pause()
            assert "bob · went offline" in answer(stage)


async def test_the_dashboard_answers_itself_after_the_log_is_closed() -> None:
    async with log(("bob",)) as stage:
        await stage.press("a", "enter")
        await stage.press("q")
        assert stage.news.startswith("acknowledged on this machine until it recovers: bob")
        assert acknowledged(stage) == ["bob"]
