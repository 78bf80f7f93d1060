"""The keys at the foot of a screen: labels, order and clicks; and help on every screen."""

from __future__ import annotations

import asyncio
import re

import pytest
from support.app_harness import Stage, staged
from support.budget import first_quick
from support.builders import NOW, beating, environment
from support.rewinding import BACK, lived, press

from envwatch.tui.screens.command_palette import Commands
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import Menu
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.screens.help import HelpScreen
from envwatch.tui.state import ASCII
from envwatch.tui.themes import THEMES
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.footer import KeyFooter
from envwatch.tui.widgets.news_bar import MESSAGE_S, NewsBar


def foot(stage: Stage) -> str:
    return re.sub(" +", " ", stage.lines[-1]).strip()


async def click(stage: Stage, label: str) -> None:
    await stage.pilot.click(KeyFooter, offset=(stage.lines[-1].index(label), 0))
    await stage.turns()


async def close(stage: Stage) -> None:
    await stage.press("escape")
    assert isinstance(stage.app.screen, Dashboard)


async def test_on_a_group_header_enter_folds_or_opens_it() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        assert "⏎ Detail" in foot(stage)
        assert "y Copy" in foot(stage)
        await stage.press("b", "p", "enter", "g")
        assert "⏎ Fold" in foot(stage)
        assert "y Copy" in foot(stage)
        await stage.press("enter")
        assert "⏎ Open" in foot(stage)
        await stage.press("enter", "j")
        assert "⏎ Detail" in foot(stage)
        assert "y Copy" in foot(stage)


async def test_the_palette_asks_with_a_sign_that_ascii_has() -> None:
    async with staged(ascii_only=True) as stage:
        await stage.show(beating(3))
        await stage.press("colon")
        assert "🔎" not in stage.text


async def test_keys_of_the_users_own_keep_their_places() -> None:
    async with staged((100, 24), keymap={"find.filter": "f", "app.events": "w"}) as stage:
        await stage.show([environment(connectionId=None)])
        assert foot(stage) == "f Filter ⏎ Detail n Next w Events a Ack y Copy E Explain { Past : Palette ? Help q Quit"


FIRST = "/ Filter ⏎ Detail n Next e Events a Ack y Copy "
LAST = ": Palette ? Help q Quit"
COLUMNS = "C Columns T To a time p Pause"


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        (40, "/ Filter ⏎ Detail ? Help q Quit"),
        (60, "/ Filter ⏎ Detail n Next e Events ? Help q Quit"),
        (80, f"{FIRST}{LAST}"),
        (120, f"{FIRST}E Explain {{ Past M Silence x Fold {LAST}"),
        (200, f"{FIRST}E Explain {{ Past M Silence x Fold o Sort space Mark A Alerts b Group {COLUMNS} {LAST}"),
    ],
)
async def test_a_wider_footer_has_more_keys_and_the_narrowest_has_help_and_quit(columns: int, keys: str) -> None:
    async with staged((columns, 24)) as stage:
        await stage.show([environment(connectionId=None)])
        assert foot(stage) == keys


async def test_the_footer_of_the_past_has_no_key_that_needs_the_present() -> None:
    async with lived(size=(200, 24)) as stage:
        await press(stage, BACK)
        assert "E Explain x Fold o Sort space Mark" in foot(stage)
        assert "Silence" not in foot(stage)
        assert "Refresh" not in foot(stage)
        assert "{ Past" not in foot(stage)


def test_in_ascii_no_mark_of_the_table_means_two_things() -> None:
    no_marks = {"is_ascii", "ellipsis", "nothing", "separator", "rule"}
    glyphs = [glyph for name, glyph in ASCII._asdict().items() if name not in no_marks]
    assert len(set(glyphs)) == len(glyphs)


# Clicks.


async def test_a_click_on_a_key_does_what_the_key_does_and_one_on_the_news_bar_opens_the_log() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        await click(stage, "Help")
        assert [type(screen) for screen in stage.app.screen_stack] == [Dashboard, HelpScreen]
        await click(stage, "Close")
        await click(stage, "Events")
        assert [type(screen) for screen in stage.app.screen_stack] == [Dashboard, EventLogScreen]
        await close(stage)
        await stage.pilot.click(NewsBar)
        await stage.turns()
        assert isinstance(stage.app.screen, EventLogScreen)


async def test_one_click_on_quit_asks_for_a_second_click_while_the_answer_stands() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        for _ in range(2):
            await click(stage, "Quit")
            assert stage.news == "one more click quits; the key q quits at once"
            await stage.tick(MESSAGE_S)
        assert stage.app.is_running
        await click(stage, "Quit")
        await click(stage, "Quit")
        assert stage.app.return_code == 0


async def test_a_click_on_close_closes_at_once() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(beating(3))
        await stage.press("enter")
        await click(stage, "Close")
        assert stage.table.has_focus


async def test_a_click_beside_the_keys_does_nothing() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(beating(3))
        await stage.pilot.click(KeyFooter, offset=(119, 0))
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.app.is_running


async def test_a_click_on_the_row_under_the_cursor_opens_it_and_one_on_another_only_selects() -> None:
    async with staged((120, 30)) as stage:
        await stage.show(beating(3))
        await stage.pilot.click("#table", offset=(20, 2))
        assert stage.cursor == "laptop of env-2"
        assert not stage.app.dashboard.query_one(DetailPane).has_focus
        await stage.tick(2)
        await stage.pilot.click("#table", offset=(20, 2))
        await stage.turns()
        assert stage.app.dashboard.query_one(DetailPane).has_focus


# Help.


SCREENS = [{"e": "Open group or row"}, {"o": "Choose", "C": "Show or hide"}]


@pytest.mark.parametrize("screens", first_quick(SCREENS), ids=["log", "dialogs"])
async def test_help_is_there_on_every_screen_and_begins_with_the_keys_of_that(screens: dict[str, str]) -> None:
    async with staged((80, 48)) as stage:
        await stage.show(beating(3))
        for key, text in screens.items():
            await stage.press(key)
            screen = stage.app.screen
            assert not isinstance(screen, Dashboard), key
            await stage.press("question_mark")
            assert isinstance(stage.app.screen, HelpScreen), key
            here = stage.text[stage.text.index("Here") : stage.text.index("Move")]
            assert text in here
            assert "Quit" not in here, key
            await stage.press("escape")
            assert stage.app.screen is screen, key
            await close(stage)


@pytest.mark.parametrize("key", first_quick(["a", "colon"]))
async def test_where_something_is_typed_another_key_helps(key: str) -> None:
    async with staged() as stage:
        await stage.show([environment(connectionId=None)])
        await stage.press(key, "question_mark")
        assert not isinstance(stage.app.screen, HelpScreen)
        await stage.press("f1")
        assert isinstance(stage.app.screen, HelpScreen)


# The palette.


async def test_the_palette_asks_with_its_key_and_offers_quit_once() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        await stage.press("colon")
        assert "  : Search for commands" in stage.text
        await stage.type("quit")
        async with asyncio.timeout(30):
            while "│ Filter" in stage.text:
                await stage.pilot.pause()
        assert [line for line in stage.lines if "│ Quit" in line] == [line for line in stage.lines if "│ " in line][:1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sil", ["Silence for a time, or end a silence"]),
        ("silx", []),
        ("export row", ["Export rows or screen …"]),
        ("show of", ["Show offline"]),
        ("theme", ["Theme …"]),
    ],
)
async def test_the_palette_finds_words_and_beginnings_of_words_alone(query: str, found: list[str]) -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        hits = [hit async for hit in Commands(stage.app.screen).search(query)]
        assert [hit.text for hit in sorted(hits, key=lambda hit: hit.score, reverse=True)] == found


async def test_the_themes_begin_with_our_own_and_the_one_that_is_seen_is_marked() -> None:
    async with staged(theme="envwatch-light") as stage:
        await stage.show(beating(3))
        await stage.app.run_action("change_theme")
        await stage.pilot.pause()
        menu = stage.app.screen
        assert isinstance(menu, Menu)
        names = [choice.title for choice in menu._choices]  # noqa: SLF001
        own = [theme.name for theme in THEMES]
        assert names[: len(own)] == own
        assert names[len(own) :] == sorted(set(names) - {*own})
        assert re.findall("([a-z-]+) +in use", stage.text) == ["envwatch-light"]
        await stage.press("k", "enter")
        assert stage.app.theme == "envwatch-dark"


async def test_the_theme_under_the_cursor_is_visible_before_it_is_chosen_and_goes_with_esc() -> None:
    kept = dict[str, object]()
    async with staged(theme="envwatch-light", keep=lambda **values: kept.update(values)) as stage:
        await stage.show(beating(3))
        for end, theme in (("escape", "envwatch-light"), ("enter", "envwatch-contrast")):
            await stage.app.run_action("change_theme")
            await stage.press("j")
            await stage.turns()
            assert stage.app.theme == "envwatch-contrast"
            assert kept == {}
            await stage.press(end)
            assert stage.app.theme == theme
        assert kept == {"theme": "envwatch-contrast"}


async def test_the_way_to_a_hidden_row_says_that_the_filter_went() -> None:
    async with staged() as stage:
        rows = [environment(f"env-{name}", connectionName=name, lastHeartbeat=NOW - 10_000) for name in ("ada", "bob")]
        await stage.show(rows)
        await stage.type("/ada")
        await stage.press("enter")
        bob = next(
            tracked for tracked in stage.app.state.monitor.fleet.environments if tracked.environment.name == "bob"
        )
        stage.app.dashboard.select(bob.key)
        await stage.pilot.pause()
        assert stage.cursor == "bob"
        assert stage.news == "filter cleared: bob was hidden"
