"""The copy keys: name, selection, or a text from the menu; to the clipboard or as plain text."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, key_of, list_of, listed
from support.rewinding import BACK, lived, press

from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import CopyMenu
from envwatch.tui.screens.plain_text import PlainText
from envwatch.tui.widgets.problem_block import PresentLines
from envwatch.views.output.formats import json_of
from envwatch.views.pane.details import COPY_LETTERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

LABELS = COPY_LETTERS.keys() - {"update command", "names", "environment ids"}
"""Texts of one row that updates itself."""


@asynccontextmanager
async def dashboard(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    async with staged(size) as stage:
        await stage.show([environment("env-1", connectionName="ada")])
        yield stage


@pytest.fixture(autouse=True)
def _no_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)


def plain(stage: Stage) -> list[str]:
    """Return the plain text's lines, without the present's lines above and the keys below."""
    assert isinstance(stage.app.screen, PlainText)
    return stage.lines[stage.app.screen.query_one(PresentLines).region.bottom : -1]


async def take_answer_away(stage: Stage) -> None:
    stage.app.answer("")
    await stage.pilot.pause()


LETTERS = {
    "n": "ada",
    "d": "device-of-env-1",
    "c": "conn-of-env-1",
    "i": "env-1",
    "l": "letta server --computer-name=ada",
    "o": "letta server --org=org-1 --computer-name=ada",
}


async def test_c_copies_the_name_and_a_letter_in_the_menu_what_it_stands_for_at_once_and_only_that() -> None:
    async with dashboard() as stage:
        assert stage.app.sent == []
        for keys, text in {"c": "ada", **{f"y{letter}": text for letter, text in LETTERS.items()}}.items():
            await stage.press(*keys)
            assert isinstance(stage.app.screen, Dashboard), keys
            assert stage.copied == [text], keys
            assert stage.news == f"sent to the clipboard: {text}", keys
            stage.app.sent.clear()
            await take_answer_away(stage)
            assert "clipboard" not in stage.news


async def test_the_menu_offers_every_text_with_its_beginning_and_sends_nothing_when_it_is_left() -> None:
    async with dashboard() as stage:
        for key in ("escape", "q"):
            await stage.press("y")
            assert isinstance(stage.app.screen, CopyMenu), key
            assert stage.app.sent == [], key
            for label in LABELS:
                assert re.search(rf" {label}  ", stage.text), label
            assert re.search("device id +device-of-env-1", stage.text)
            assert stage.lines[-1].strip() == "⏎ Copy  esc Close  ? Help  space Show as plain text"
            await stage.press("down", key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.app.sent == [], key


async def test_enter_sends_the_choice_under_the_cursor_and_a_click_the_one_under_the_mouse() -> None:
    async with dashboard() as stage:
        await stage.press("y", "down", "enter")
        assert stage.copied == ["device-of-env-1"]
        stage.app.sent.clear()
        await stage.press("y")
        y = next(y for y, line in enumerate(stage.lines) if "environment id" in line)
        x = stage.lines[y].index("environment id")
        await stage.pilot.click(offset=(x, y))
        await stage.pilot.pause()
        assert stage.copied == ["env-1"]


@pytest.mark.parametrize("columns", [60, 80, 120])
async def test_a_copy_of_a_long_text_is_answered_in_two_lines_and_is_no_event(columns: int) -> None:
    async with staged((columns, 24)) as stage:
        name = " ".join(["a-very-long-name"] * 30)
        await stage.show([environment("env-1", connectionName=name)])
        await stage.press("c")
        assert stage.copied == [name]
        assert "sent to the clipboard: a-very-long-name" in stage.text
        assert "e: all of it" not in stage.text
        assert len(stage.app.state.monitor.event_log) == 0


async def test_a_letter_without_a_text_says_so_and_leaves_the_menu_open() -> None:
    async with staged() as stage:
        await stage.show([environment("env-1", connectionId=None)])
        await stage.press("y", "c")
        assert isinstance(stage.app.screen, CopyMenu)
        assert "Copy from laptop of env-1: c has nothing to copy here" in stage.text
        assert stage.app.sent == []


async def test_the_json_is_what_a_listing_says_of_the_environment() -> None:
    row = environment("env-1", connectionName="André", lastHeartbeat=NOW - 300_000.25)
    async with staged((80, 24), acks={key_of("env-1"): Ack(NOW, clean("known"))}) as stage:
        await stage.show([environment("env-0"), row])
        await stage.press("y")
        (line,) = (line for line in stage.lines if " JSON " in line)
        await stage.press("j")
        (text,) = stage.copied
        (expected,) = json.loads(b"".join(json_of(list_of(listed([row])))))["environments"]
        here = {"acknowledged": "known", "alerting": True, "alerting_rule": "system"}
        assert list(json.loads(text).items()) == list((expected | here).items())
        count = text.count("\n") + 1
        assert re.search(rf" JSON +{count} lines ", line)
        assert stage.news == f"sent to the clipboard: {count} lines"


async def test_the_sentence_is_in_the_zone_of_the_screen_and_names_a_recorded_moment() -> None:
    async with lived() as stage:
        stage.app.options = stage.app.options._replace(times=TimeStyle.UTC)
        stage.go_to("env-2")
        await stage.press("y", "s")
        (text,) = stage.copied
        assert text.startswith(
            "`laptop of env-2` offline since 08:53 UTC (under 1m): disconnected; "
            "start with `letta server --computer-name='laptop of env-2'` or "
        )
        assert stage.news.startswith("sent to the clipboard: `laptop of env-2` offline since")
        stage.app.sent.clear()
        await press(stage, BACK)
        await press(stage, "x")
        stage.go_to("env-2")
        await press(stage, "y", "s")
        assert stage.copied[0].startswith("As of 08:53 UTC: `laptop of env-2` offline since ")


async def test_space_shows_the_text_from_the_left_edge_and_sends_nothing() -> None:
    async with dashboard() as stage:
        for key in ("escape", "q", "enter"):
            await stage.press("y", *["down"] * 4, "space")
            assert plain(stage)[0].rstrip() == "letta server --computer-name=ada", key
            assert stage.text.count("ada") == 1, key
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.app.sent == [], key


@pytest.mark.parametrize(("ascii_only", "name"), [(False, "東京-a"), (True, "\\u6771\\u4eac-a")])
async def test_in_ascii_menu_and_plain_view_spell_what_cannot_be_shown(name: str, *, ascii_only: bool) -> None:
    async with staged((100, 24), ascii_only=ascii_only) as stage:
        await stage.show([environment("env-1", connectionName="東京-a", connectionId=None)])
        await stage.press("y")
        assert f"letta server --computer-name='{name}'" in stage.text
        await stage.press("down", "down", "down", "space")
        assert plain(stage)[0].rstrip() == f"letta server --computer-name='{name}'"
        await stage.press("escape", "y", "l")
        assert stage.copied == ["letta server --computer-name='東京-a'"]


async def test_a_long_text_can_be_scrolled() -> None:
    async with dashboard((80, 12)) as stage:
        await stage.press("y", "up", "space")
        assert plain(stage)[0].split()[0] == "{"
        await stage.press("j")
        assert plain(stage)[0].startswith('  "id": "env-1",')
        await stage.press("k")
        page = plain(stage)
        await stage.press("pagedown")
        following = plain(stage)
        assert not {line.split()[0] for line in page} & {line.split()[0] for line in following}
        await stage.press("k")
        assert plain(stage)[0].split()[0] == page[-1].split()[0]
        await stage.press("j", "pageup")
        assert plain(stage)[0].split()[0] == "{"


async def test_where_no_environment_is_a_row_key_says_so() -> None:
    no_row = "no environment under the cursor"
    answers = {"c": f"nothing to copy: {no_row}", "y": f"nothing to copy: {no_row}", "E": no_row}
    async with staged() as stage:
        for key, answer in answers.items():
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.news == answer, key
            assert stage.app.sent == [], key
            await take_answer_away(stage)


@asynccontextmanager
async def on_a_group() -> AsyncIterator[Stage]:
    async with staged((80, 24)) as stage:
        await stage.show([environment(f"env-{name}", connectionName=name) for name in ("ada", "bob")])
        await stage.press("b", "p", "enter", "g")
        assert stage.cursor == "pod pod-1"
        yield stage


async def test_c_on_a_group_copies_the_names_one_a_line() -> None:
    async with on_a_group() as stage:
        await stage.press("c")
        assert stage.copied == ["ada\nbob"]
        assert stage.news == "sent to the clipboard: 2 lines"


async def test_the_menu_of_a_group_names_the_group_and_offers_names_ids_and_json() -> None:
    async with on_a_group() as stage:
        await stage.press("y")
        assert "Copy from ada and bob" in stage.text
        assert re.findall("│ +([a-z])  ", stage.text) == [*"nisj"]
        for letter, text in {"n": "ada\nbob", "i": "env-ada\nenv-bob"}.items():
            await stage.press(letter)
            assert stage.copied == [text], letter
            stage.app.sent.clear()
            await stage.press("y")
        await stage.press("j")
        (text,) = stage.copied
        assert [each["name"] for each in json.loads(text)["environments"]] == ["ada", "bob"]


async def test_a_name_like_markup_is_text_in_menu_and_plain_view() -> None:
    async with staged() as stage:
        await stage.show([environment("env-1", connectionName="[@click=app.quit]x[/] [/")])
        await stage.press("y")
        assert "[@click=app.quit]x[/] [/" in stage.text
        await stage.press("space")
        assert plain(stage)[0].rstrip() == "[@click=app.quit]x[/] [/"
