"""Input in one packet acts like separate events."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from support.app_harness import staged
from support.builders import beating, environment
from textual.events import Key, MouseDown, MouseEvent, MouseMove, MouseScrollDown, MouseUp, Paste

from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.widgets.detail_pane import DetailPane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.app_harness import Stage
    from textual.events import Event, InputEvent

KEYS = {" ": "space", "/": "slash", "\t": "tab", "\r": "enter", "\x1b": "escape", "=": "equals_sign"}
"""Key names of characters that are neither letters nor digits."""


def typed(text: str) -> list[Event]:
    return [Key(KEYS.get(letter, letter), letter if letter.isprintable() else None) for letter in text]


def mouse(kind: type[MouseEvent], y: int = 1) -> MouseEvent:
    return kind(None, 5, y, 0, 0, button=1, shift=False, meta=False, ctrl=False, screen_x=5, screen_y=y)


async def packet(stage: Stage, events: Sequence[Event]) -> None:
    for event in events:
        event.set_sender(stage.app)
        stage.app.post_message(event)
    await stage.turns()


async def prepare(stage: Stage) -> None:
    """Show a fleet with an environment that went offline, which gives events."""
    await stage.show(beating(4))
    stage.now = 5
    lost = environment("env-1", connectionId=None)
    await stage.show([lost, *beating(4, stage.at)[1:]])
    await stage.press("g")


SOME = ("aquit, then 0\r4", "/status:onl\t\rj", "e/off\r\x1b\x1bj")
OTHERS = (
    "\rjjGk\x1bjE",
    "bm\rGx",
    "mj=\x1b0",
    "jGkgaGjk\rjjn",
    "/quit\x1bj",
    "Cj J \r",
    "C0oj\r",
    "yj \x1bG",
    "yJ jjk",
    "yj\r j",
    "ej\r\r",
    "\r\x1bG",
    "?jj\x1bEj",
)


@pytest.mark.parametrize("text", [*SOME, *(pytest.param(text, marks=pytest.mark.slow) for text in OTHERS)])
async def test_keys_in_one_packet_have_the_same_effect_as_one_by_one(text: str) -> None:
    async with staged() as slow, staged() as fast:
        for stage in (slow, fast):
            await prepare(stage)
        for event in typed(text):
            await packet(slow, [event])
        await packet(fast, typed(text))
        for stage in (slow, fast) * 3:  # a scrollbar appears some frames after the content
            await stage.pilot.pause()
        assert fast.text == slow.text
        assert fast.app.state.monitor.acks.keys() == slow.app.state.monitor.acks.keys()
        assert fast.cursor == slow.cursor
        assert fast.app.is_running


async def test_only_moves_within_the_focused_widget_do_not_hold_up_the_next_event() -> None:
    async with staged() as stage:
        await prepare(stage)

        def holds_up(event: InputEvent) -> bool:
            return stage.app.input_queue.holds_up_next(event)

        assert not holds_up(Key("j", "j"))
        assert holds_up(Key("a", "a"))
        assert not holds_up(mouse(MouseScrollDown))
        assert not holds_up(mouse(MouseMove))
        assert holds_up(mouse(MouseDown))
        assert holds_up(mouse(MouseUp))
        await stage.press("slash")
        assert holds_up(Key("j", "j"))


async def test_a_note_is_the_text_typed_and_pasted_after_its_key() -> None:
    async with staged() as stage:
        await prepare(stage)
        await packet(stage, [*typed("aseen by "), Paste("ada"), *typed("\r2")])
        (ack,) = stage.app.state.monitor.acks.values()
        assert ack.note == "seen by ada"
        assert len(stage.table.rows) == 3


async def test_clicks_in_one_packet_close_the_event_log_once() -> None:
    async with staged() as stage:
        await prepare(stage)
        await stage.press("e")
        (y,) = [y for y, line in enumerate(stage.lines) if re.search("laptop of env-1 +went offline", line)]
        await packet(stage, [mouse(kind, y) for kind in (MouseDown, MouseUp) * 3])
        assert isinstance(stage.app.screen, Dashboard)
        assert stage.cursor == "laptop of env-1"


async def test_a_blocked_table_delays_quitting_by_half_a_second_at_most() -> None:
    async with staged() as stage:
        await prepare(stage)
        freed = asyncio.Event()
        stage.table.call_later(freed.wait)
        for key in (Key("j", "j"), Key("ctrl+c", None)):
            stage.app.post_message(key)
        try:
            async with asyncio.timeout(30):
                while stage.app.return_code is None:  # noqa: ASYNC110  nothing signals it while the table is blocked
                    await asyncio.sleep(0)
        finally:
            freed.set()
        assert stage.app.return_code == 130


async def test_the_end_key_scrolls_to_the_end_of_a_pane_opened_by_the_key_before() -> None:
    async with staged((80, 16)) as stage:
        await prepare(stage)
        await packet(stage, typed("\rG"))
        pane = stage.app.dashboard.query_one(DetailPane)
        assert pane.scroll_y == pane.max_scroll_y > 0


async def test_a_key_handled_while_the_app_ends_does_not_crash() -> None:
    async with staged() as stage:
        await prepare(stage)
    assert not stage.app.screen_stack
    await stage.app.input_queue.settle()  # called directly: the order varies by milliseconds


@pytest.mark.parametrize(
    ("key", "second"),
    [
        (Key("alt+x", "x"), "x"),
        (Key("alt+shift+n", "N"), "N"),
        (Key("alt+slash", "/"), "slash"),
        (Key("alt+enter", "\r"), "enter"),
        (Key("alt+e", None), "e"),  # Kitty's protocol sends no character
    ],
    ids=lambda value: value if isinstance(value, str) else value.key,
)
async def test_an_unbound_key_with_alt_is_escape_and_then_the_key(key: Key, second: str) -> None:
    async with staged() as one, staged() as two:
        for stage in (one, two):
            await prepare(stage)
            await stage.press("3")
        await packet(one, [key])
        await packet(two, [Key("escape", "\x1b"), Key(second, key.character or second)])
        assert not one.app.dashboard.view.is_narrowed
        assert one.lines[1:] == two.lines[1:]
        assert [type(screen) for screen in one.app.screen_stack] == [type(screen) for screen in two.app.screen_stack]


async def test_a_key_with_alt_that_the_keymap_binds_stays_one_key() -> None:
    async with staged(keymap={"app.events": "alt+x"}) as stage:
        await prepare(stage)
        await stage.press("3")
        await packet(stage, [Key("alt+x", "x")])
        assert isinstance(stage.app.screen, EventLogScreen)
        assert stage.app.dashboard.view.is_narrowed
