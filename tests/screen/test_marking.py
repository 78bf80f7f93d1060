"""Marked environments: row keys act on all marked environments, wherever the rows stand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, key_of
from support.rewinding import BACK, is_rewound, lived, press

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import clean
from envwatch.screen.screens.dialogs import Prompt
from envwatch.views.state_style import NOT_NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

NAMES = ("ada", "bob", "cyd", "dan")


@pytest.fixture(autouse=True)
def _no_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)


def row(name: str, at: float, *, is_up: bool = True, **changes: Any) -> Environment:
    link = {"lastHeartbeat": at - 1_000} if is_up else {"connectionId": None, "lastHeartbeat": None}
    return environment(f"env-{name}", connectionName=name, **(link | changes))


def rows(at: float, *up: str) -> list[Environment]:
    return [row(name, at, is_up=name in up, lastSeenAt=NOW - 300_000 - n * 100_000) for n, name in enumerate(NAMES)]


@asynccontextmanager
async def dashboard(*up: str, width: int = 80) -> AsyncIterator[Stage]:
    async with staged((width, 24)) as stage:
        await stage.show(rows(stage.at, *up))
        yield stage


@asynccontextmanager
async def incident() -> AsyncIterator[Stage]:
    """`ada` and `bob` were lost together."""
    async with staged((80, 24)) as stage:
        await stage.show([row(name, stage.at, is_up=name in {"cyd", "dan"}, lastSeenAt=NOW - 1_000) for name in NAMES])
        assert stage.cursor == "ada, bob"
        yield stage


def marked(stage: Stage) -> list[str]:
    return sorted(id_.removeprefix("env-") for _, id_ in stage.app.dashboard.marked)


def acknowledged(stage: Stage) -> list[str]:
    return sorted(id_.removeprefix("env-") for _, id_ in stage.app.state.monitor.acks)


async def test_space_marks_the_row_goes_one_line_down_and_names_the_keys_for_marks() -> None:
    async with dashboard() as stage:
        assert stage.cursor == "ada"
        await stage.press("space")
        assert (marked(stage), stage.cursor) == (["ada"], "bob")
        assert stage.news == "1 marked: a, A, M, y and your commands act on it; esc unmarks"
        await stage.press("space")
        assert (marked(stage), stage.cursor) == (["ada", "bob"], "cyd")
        assert stage.news == "2 marked: a, A, M, y and your commands act on them; esc unmarks"
        await stage.press("k", "space", "g", "space")
        assert (marked(stage), stage.news) == ([], "none marked")


async def test_space_on_a_group_marks_all_rows_and_again_unmarks_all_rows() -> None:
    async with dashboard("bob", "cyd", "dan") as stage:
        await stage.press("G", "space", "b", "p", "enter", "g", "j")
        assert stage.cursor == "pod pod-1"
        await stage.press("space")
        assert marked(stage) == ["bob", "cyd", "dan"]
        await stage.press("g", "j", "space")
        assert marked(stage) == []


async def test_space_on_an_incident_marks_all_members_and_draws_the_marks() -> None:
    async with incident() as stage:
        await stage.press("x", "j", "space")
        assert [line[1] for line in stage.block] == [" ", "+", "►"]
        await stage.press("g", "space")
        assert marked(stage) == ["ada", "bob"]
        await stage.press("g", "space")
        assert marked(stage) == []
        await stage.press("g", "j", "space", "space", "space")
        assert (marked(stage), stage.cursor) == (["ada", "bob", "cyd"], "dan")
        assert [line[1] for line in stage.block] == ["+", "+", "+"]
        assert [line[1] for line in stage.lines if "cyd" in line or "dan" in line] == ["+", "►"]
        await stage.press("k")
        assert [line[1] for line in stage.lines if "cyd" in line or "dan" in line] == ["◆", " "]
        for key, drawn in (("g", ["◆", "+", "+"]), ("j", ["+", "◆", "+"])):
            await stage.press(key)
            assert [line[1] for line in stage.block] == drawn


async def test_space_without_an_environment_says_so() -> None:
    async with staged() as stage:
        await stage.press("space")
        assert stage.news == "nothing to mark: no machine under the cursor"


async def test_a_acts_on_the_marked_rows_and_not_on_the_cursor_and_removes_the_marks_unless_cancelled() -> None:
    async with dashboard() as stage:
        await stage.press("space", "a")
        assert "Acknowledge on this machine: ada, until it recovers" in stage.text
        await stage.press("escape", "M", "escape")
        assert marked(stage) == ["ada"]
        await stage.press("space", "a")
        assert "Acknowledge on this machine: ada and bob, until they recover" in stage.text
        await stage.type("disk")
        await stage.press("enter")
        assert stage.news == "acknowledged on this machine until they recover: ada and bob"
        assert (acknowledged(stage), marked(stage)) == (["ada", "bob"], [])
        for keys in (("x", "enter"), ("ctrl+r", "e", "enter")):
            stage.go_to("env-ada")
            await stage.press("space", "space", "a")
            assert "ada and bob, acknowledged already: another note?" in stage.text
            await stage.press(*keys)
            assert marked(stage) == []


async def test_silencing_acts_on_the_marked_rows_and_removes_the_marks() -> None:
    async with dashboard() as stage:
        await stage.press("space", "space", "M")
        assert "Silence on this machine: ada and bob" in stage.text
        await stage.press("enter")
        assert "Silence on this machine for 30m: ada and bob" in stage.text
        await stage.press("enter")
        (silence,) = stage.app.state.monitor.silences.values()
        assert silence.environments == {key_of("env-ada"), key_of("env-bob")}
        assert marked(stage) == []
        stage.go_to("env-ada")
        await stage.press("space", "space", "M", "e", "enter")
        (ended,) = stage.app.state.monitor.silences.values()
        assert (ended.holds(stage.at), marked(stage)) == (False, [])


async def test_a_mark_stays_with_its_environment_when_rows_move_or_the_view_hides_them() -> None:
    async with dashboard("bob", "cyd") as stage:
        await stage.press("space")
        stage.go_to("env-cyd")
        await stage.press("space")
        stage.now = 5
        await stage.show(list(reversed(rows(stage.at, "bob", "cyd"))))
        assert " 2 marked   live" in stage.lines[0]
        await stage.type("/bob")
        assert " 2 marked, 1 hidden " in stage.lines[0]
        await stage.press("enter")
        assert stage.names == ["bob"]
        await stage.press("c")
        assert stage.copied == ["ada\ncyd"]
        await stage.press("a", "enter")
        assert acknowledged(stage) == ["ada"]


async def test_questions_and_answers_about_marks_count_the_rows_hidden_by_the_filter() -> None:
    async with dashboard(*NAMES) as stage:
        await stage.press("space", "space", "space")
        await stage.type("/cyd")
        await stage.press("enter", "M")
        assert "Silence on this machine: ada, bob and cyd (2 hidden by the filter)" in stage.text
        assert " 3 marked, 2 hidden " in stage.lines[0]
        await stage.press("enter", "enter")
        assert stage.news == "silenced on this machine for 30m: ada, bob and cyd (2 hidden by the filter)"
        assert "marked" not in stage.lines[0]
    async with incident() as stage:
        await stage.type("/bob")
        await stage.press("enter", "a")
        assert "Acknowledge on this machine: ada, bob (1 outside the filter), until" in stage.text


async def test_the_status_line_counts_marks_until_escape_and_hidden_marks_with_enough_room() -> None:
    async with dashboard("cyd", "dan", width=100) as stage:
        await stage.press("space", "j", "space", "b", "p", "enter", "G", "x")
        assert " 2 marked   live" in stage.lines[0], "neither block nor folded groups are hidden by a filter"
        await stage.press("3")
        assert " 2 marked, 1 hidden " in stage.lines[0]
        await stage.pilot.resize_terminal(60, 24)
        assert " 2 marked " in stage.lines[0]
        await stage.press("question_mark")
        assert " 2 marked " in stage.lines[0]
        await stage.press("escape", "escape")
        assert "marked" not in stage.lines[0]


async def test_marked_rows_without_a_loss_are_left_alone() -> None:
    async with dashboard() as stage:
        await stage.press("space", "space", "space")
        stage.now = 5
        await stage.show(rows(stage.at, "ada"))
        await stage.press("a")
        assert "Acknowledge on this machine: bob and cyd" in stage.text
        stage.now = 10
        await stage.show(rows(stage.at, "ada", "bob"))
        await stage.press("enter")
        assert stage.news == "acknowledged on this machine until it recovers: cyd"
        assert (acknowledged(stage), marked(stage)) == (["cyd"], [])


async def test_a_prompt_acts_on_the_target_of_its_question() -> None:
    async with dashboard() as stage:
        await stage.press("space", "a")
        assert isinstance(stage.app.screen, Prompt)
        stage.app.dashboard.marked = frozenset()
        stage.now = 5
        await stage.show([row("eve", stage.at, is_up=False, lastSeenAt=NOW), *rows(stage.at)])
        await stage.press("enter")
        assert acknowledged(stage) == ["ada"]


async def test_escape_closes_the_pane_then_clears_the_marks_then_the_filter() -> None:
    async with dashboard() as stage:
        await stage.press("2", "g", "space", "enter", "escape")
        assert marked(stage) == ["ada"]
        await stage.press("escape")
        assert (marked(stage), str(stage.app.dashboard.view.preset)) == ([], "off")
        assert stage.news == "none marked"
        await stage.press("escape")
        assert str(stage.app.dashboard.view.preset) == "all"


async def test_c_and_y_copy_from_the_marked_rows_and_keep_the_marks() -> None:
    async with dashboard() as stage:
        await stage.press("j", "space", "g", "space", "G", "c")
        assert stage.copied[-1] == "ada\nbob"
        await stage.press("y")
        assert "Copy from ada and bob" in stage.text
        await stage.press("i")
        assert stage.copied[-1] == "env-ada\nenv-bob"
        assert marked(stage) == ["ada", "bob"]


async def test_marks_without_an_environment_in_the_fleet_spare_the_row_under_the_cursor() -> None:
    async with dashboard() as stage:
        stage.app.dashboard.marked = frozenset({(NO_PROFILE, clean("env-z"))})
        for key, verb in {"a": "acknowledge", "M": "silence", "A": "decide", "y": "copy", "c": "copy"}.items():
            await stage.press(key)
            assert stage.news == f"nothing to {verb}: no marked machine is in the fleet", key


async def test_marks_in_the_past_are_copied_and_not_acknowledged() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        assert is_rewound(stage)
        await stage.press("G", "space")
        assert stage.news == "1 marked: y copies it; esc unmarks"
        name = stage.table.rows[-1].environment.label
        await stage.press("c")
        assert stage.copied[-1] == name
        for key in ("a", "M", "A"):
            await stage.press(key)
            assert stage.news == NOT_NOW, key
        assert len(marked(stage)) == 1
        await stage.press("escape")
        assert is_rewound(stage)
        assert marked(stage) == []
