"""Input of the terminal: bytes become keys, keys work after any bytes, and keys in one packet act one by one."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.app_harness import staged
from support.budget import first_quick
from support.builders import beating, environment
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS, IGNORE_SEQUENCE
from textual.events import Key, MouseDown, MouseEvent, MouseMove, MouseScrollDown, MouseUp, Paste, Resize
from textual.geometry import Size
from textual.message import Message
from textual.screen import Screen

from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.event_log import EventLogScreen
from envwatch.screen.terminal.input_bytes import (
    LONGEST_PASTE,
    LONGEST_SEQUENCE,
    PASTE_TIMEOUT_S,
    STRING_TIMEOUT_S,
    InputParser,
)
from envwatch.screen.widgets.detail_pane import DetailPane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.app_harness import Stage
    from textual.events import Event, InputEvent

SIZE = (80, 24)


def parser(size: tuple[int, int] | None = SIZE) -> InputParser:
    return InputParser(lambda: size)


def messages(*packets: bytes, size: tuple[int, int] | None = SIZE) -> list[Message]:
    """Return the messages of packets that arrive at once, followed by a long silence."""
    tested = parser(size)
    found = [message for packet in packets for message in tested.feed(packet, 0)]
    return [*found, *tested.tick(60)]


def keys(found: Sequence[Message]) -> list[str]:
    assert all(isinstance(message, Key) for message in found), found
    return [message.key for message in found if isinstance(message, Key)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


MEANINGLESS = {
    "a mouse report of the first kind": b"\x1b[M !!",
    "one past column 95": b"\x1b[M \xc3\xa9",
    "one that is not UTF-8": b"\x1b[M\x20\xff\x80",
    "focus": b"\x1b[I\x1b[O",
    "a code point out of range": b"\x1b[97;1;99999999u",
    "a code point of 5,000 digits": b"\x1b[%su" % (b"9" * 5000),
    "a surrogate": b"\x1b[55296u",
    "a surrogate as text": b"\x1b[97;1;55296u",
    "an enormous screen": b"\x1b[48;99999;99999;99999;99999t",
    "a screen of no pixels": b"\x1b[48;24;80;0;0t",
    "a cursor position report": b"\x1b[12;40R",
    "device attributes": b"\x1b[?62;4;22c",
    "a colour": b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
    "a colour that ends with a bell": b"\x1b]11;rgb:ffff/ffff/ffff\x07",
    "a cancelled string": b"\x1bP>|term\x18",
    "a sequence cut off by the next one": b"\x1b[12\x1b[I",
    "the end of a paste without a start": b"\x1b[201~",
    "more parameters than any has": b"\x1b[" + b"1;" * 20 + b"1~",
    "a long row of separators": b"\x1b[" + b":;" * 1000 + b"u",
    "an unknown mode": b"\x1b[?9999;0$y",
}


@pytest.mark.parametrize("data", MEANINGLESS.values(), ids=MEANINGLESS)
def test_meaningless_sequences_are_dropped_whole_and_the_next_key_works(data: bytes) -> None:
    assert keys(messages(data + b"q")) == ["q"]
    assert keys(messages(*bytewise(data + b"q"))) == ["q"]


KEYS = {
    "q": ["q"],
    "é": ["é"],
    "\x1b": ["escape"],
    "\x1b[27u": ["escape"],
    "\x1bx": ["alt+x"],
    "\x1bé": ["alt+é"],
    "\x1bP": ["alt+shift+p"],
    "\x1b/": ["alt+slash"],
    "\x1bb": ["alt+b"],
    "\x1b1": ["alt+1"],
    "\x1b\r": ["alt+enter"],
    "\x1b\x1b[A": ["escape", "up"],
    "\x1b[[A": ["f1"],
    "\x1b[3$": ["shift+delete"],
    "\x1b[97;5u": ["ctrl+a"],
    "\x1b[A\x1b[12\x1b[B": ["up", "down"],
}


@pytest.mark.parametrize(("data", "expected"), KEYS.items(), ids=map(repr, KEYS))
def test_keys_are_recognised_however_they_are_split(data: str, expected: list[str]) -> None:
    assert keys(messages(data.encode())) == expected
    assert keys(messages(*bytewise(data.encode()))) == expected


def test_every_sequence_of_textual_is_still_a_key() -> None:
    known = {sequence for sequence, key in ANSI_SEQUENCES_KEYS.items() if key is not IGNORE_SEQUENCE}
    lost = {sequence for sequence in known if not messages(sequence.encode())}
    # Textual takes F3 with shift or ctrl for a cursor position report: both have the same form.
    assert lost == {"\x1b[1;2R", "\x1b[1;5R", "\x1b[1;6R"}


@pytest.mark.parametrize("byte", [b"\xe9", b"\x80", b"\xff", b"\xc3"])
def test_a_byte_outside_of_utf_8_becomes_a_replacement_character(byte: bytes) -> None:
    found = messages(byte, b"q")
    assert [message.character for message in found if isinstance(message, Key)] == ["\ufffd", "q"]


def test_half_a_character_ends_at_the_next_sequence() -> None:
    assert keys(messages(b"\xc3", b"\x1b[A", b"\xa9")) == ["replacement_character", "up", "replacement_character"]


def test_a_click_is_a_press_and_a_release() -> None:
    found = messages(b"\x1b[<0;6;5M\x1b[<0;6;5m")
    assert [type(message) for message in found] == [MouseDown, MouseUp]


def test_a_paste_outside_of_utf_8_gets_replacement_characters() -> None:
    (paste,) = messages(b"\x1b[200~caf\xe9\x00 \x1b[A\x1b", b"[201~")
    assert isinstance(paste, Paste)
    assert paste.text == "caf\ufffd \x1b[A"


def test_a_paste_without_an_end_blocks_keys_for_a_limited_time() -> None:
    tested = parser()
    assert list(tested.feed(b"\x1b[200~qqq\x1b[20", 0)) == []
    assert list(tested.tick(PASTE_TIMEOUT_S - 0.001)) == []
    (paste,) = tested.tick(PASTE_TIMEOUT_S)
    assert isinstance(paste, Paste)
    assert paste.text == "qqq\x1b[20"
    assert keys(list(tested.feed(b"q", 6))) == ["q"]


def test_a_string_without_an_end_blocks_keys_for_a_limited_time() -> None:
    tested = parser()
    assert list(tested.feed(b"\x1b]11;q", 0)) == []
    assert list(tested.tick(STRING_TIMEOUT_S - 0.001)) == []
    assert list(tested.tick(STRING_TIMEOUT_S)) == []
    assert keys(list(tested.feed(b"q", 2))) == ["q"]


def test_sequences_without_an_end_take_bounded_memory() -> None:
    tested = parser()
    for start, longest in ((b"\x1b]", LONGEST_SEQUENCE), (b"\x1b[", LONGEST_SEQUENCE), (b"\x1b[200~", LONGEST_PASTE)):
        assert list(tested.feed(start, 0)) == []
        for _ in range(2 * longest // 1000):
            assert list(tested.feed(b"1" * 1000, 0)) == []
            assert len(tested._rest) <= LONGEST_SEQUENCE + 1000  # noqa: SLF001  nothing public shows it
        pastes = [message for message in tested.tick(60) if isinstance(message, Paste)]
        assert [len(paste.text) for paste in pastes] == [LONGEST_PASTE] * (start == b"\x1b[200~")


@pytest.mark.parametrize(
    ("columns", "lines", "kernel", "is_accepted"),
    [
        (80, 24, (80, 24), True),
        (81, 24, (80, 24), False),
        (1, 1, None, True),
        (0, 24, None, False),
        (10_000, 100, None, True),
        (10_001, 1, None, False),
        (1, 10_001, None, False),
        (1_001, 1_000, None, False),
    ],
)
def test_a_plausible_reported_size_counts_unless_the_kernel_contradicts(
    columns: int, lines: int, kernel: tuple[int, int] | None, *, is_accepted: bool
) -> None:
    found = messages(b"\x1b[48;%d;%d;480;800t" % (lines, columns), size=kernel)
    assert [message.size for message in found if isinstance(message, Resize)] == [(columns, lines)] * is_accepted


# Fuzzing.

PIECES = [
    b"\x1b", b"[", b"O", b"]", b"P", b"M", b"<", b"?", b";", b":", b"~", b"u", b"t", b"R", b"$y", b"m", b"\x07",
    b"\x18", b"\\", b"0", b"1", b"9999", b"48;", b"200~", b"201~", b"2048;2$y", b"97;1;", b"99999999", b"a", b"q",
    b"\x1b[M", b"\x1b[<", b"\x1b[<0;5;5M", b"\x1b[48;24;80;480;800t", b"\x1b[200~", b"\x1b[201~", b"\x1b]", b"\x1bO",
    b"\xe9", b"\x80", b"\xff", b"\xc3", b"\xa9", b"\x00", b"\r", b" ", "é€🙂".encode(),
]  # fmt: skip
"""Parts of sequences, valid or not."""

SEEDS = range(4)
FUZZED = 100_000
"""Bytes."""


def noise(seed: int) -> Iterator[bytes]:
    """Yield packets of random bytes and of random pieces of sequences, in turn."""
    chance = random.Random(seed)
    while True:
        yield b"".join(chance.choices(PIECES, k=chance.randrange(1, 60)))
        yield chance.randbytes(chance.randrange(1, 200))


@pytest.mark.parametrize("seed", first_quick(SEEDS))
def test_after_100_000_random_bytes_keys_work(seed: int) -> None:
    tested = parser(SIZE if seed % 2 else None)
    chance = random.Random(seed)
    now, sent, counts = 0.0, 0, Counter[str]()
    for packet in noise(seed):
        for message in (*tested.feed(packet, now), *tested.tick(now)):
            counts[type(message).__name__] += 1
            if isinstance(message, Key):
                (message.key + (message.character or "")).encode()  # fails on a lone surrogate
        now += chance.choice([0, 0, 0, 0.05, 0.2, 2, 7])
        sent += len(packet)
        if sent >= FUZZED:
            break
    assert counts.keys() >= {"Key", "Paste", "Resize", "MouseDown"}
    list(tested.tick(now + 60))
    assert keys(list(tested.feed(b"q", now + 60))) == ["q"]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.lists(st.integers(1, 5), min_size=1))
def test_the_split_of_bytes_into_packets_does_not_change_their_meaning(pieces: list[bytes], lengths: list[int]) -> None:
    data = rest = b"".join(pieces)
    packets: list[bytes] = []
    while rest:
        length = lengths[len(packets) % len(lengths)]
        packets.append(rest[:length])
        rest = rest[length:]
    assert repr(messages(*packets)) == repr(messages(data))


def test_only_what_is_incomplete_waits_for_a_tick() -> None:
    tested = parser()
    assert not tested.is_waiting
    for packet, is_waiting in ((b"j", False), (b"\x1b", True), (b"[A", False), (b"\x1b[200~text", True)):
        list(tested.feed(packet, 0))
        assert (packet, tested.is_waiting) == (packet, is_waiting)
    list(tested.tick(60))
    assert not tested.is_waiting


# Packets of keys.

NAMED_KEYS = {" ": "space", "/": "slash", "\t": "tab", "\r": "enter", "\x1b": "escape", "=": "equals_sign"}
"""Key names of characters that are neither letters nor digits."""


def typed(text: str) -> list[Event]:
    return [Key(NAMED_KEYS.get(letter, letter), letter if letter.isprintable() else None) for letter in text]


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


SOME = ("aquit, then 0\r4", "e/off\r\x1b\x1bj")
OTHERS = (
    "/status:onl\t\rj",
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
        assert stage.app.dashboard.view.preset == "off"


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


async def test_an_unbound_key_with_alt_is_escape_and_then_the_key() -> None:
    pairs = [
        (Key("alt+x", "x"), "x"),
        (Key("alt+shift+n", "N"), "N"),
        (Key("alt+enter", "\r"), "enter"),
        (Key("alt+e", None), "e"),  # Kitty's protocol sends no character
    ]
    async with staged() as one, staged() as two:
        for stage in (one, two):
            await prepare(stage)
        for key, second in pairs:
            for stage in (one, two):
                await stage.press("escape", "3")
            await packet(one, [key])
            await packet(two, [Key("escape", "\x1b"), Key(second, key.character or second)])
            assert not one.app.dashboard.view.is_narrowed
            assert one.lines[1:] == two.lines[1:]
            assert [type(screen) for screen in one.app.screen_stack] == [
                type(screen) for screen in two.app.screen_stack
            ]


async def test_a_bound_key_with_alt_stays_one_key() -> None:
    async with staged(keymap={"app.events": "alt+x"}) as stage:
        await prepare(stage)
        await stage.press("3")
        await packet(stage, [Key("alt+x", "x")])
        assert isinstance(stage.app.screen, EventLogScreen)
        assert stage.app.dashboard.view.is_narrowed


# Sizes.


class Other(Message):
    """Separates two sizes: of two in a row, Textual drops the first."""


MANY = 50
"""Layouts; four sizes need fewer than ten."""
SMALL, PRESENT = Size(30, 7), Size(80, 24)


async def test_overtaking_sizes_end_with_the_present_size() -> None:
    async with staged() as stage:
        await stage.show(beating(3, stage.at))
        screen, layouts = stage.app.screen, list[Screen[Any]]()

        def count(laid_out: Screen[Any]) -> None:
            layouts.append(laid_out)
            if len(layouts) == MANY:
                stage.app.exit()  # else the app would never end

        screen.screen_layout_refresh_signal.subscribe(screen, count)
        for size in (SMALL, PRESENT, SMALL, PRESENT):
            screen.post_message(Resize(size, size))
            screen.post_message(Other())
        for _ in range(20):
            await stage.pilot.pause()
        assert 0 < len(layouts) < MANY
        assert {"-narrow", "-short"} <= screen.classes
