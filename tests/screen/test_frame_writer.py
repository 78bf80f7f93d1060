"""The bytes to the terminal: differences between frames, and escape sequences from which no text escapes."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.text import Text
from support.budgets import BUDGETS
from support.hostile_fleet import WEAPONS
from support.pty_terminal import environment
from support.ticking_app import Ages, FramesTickingApp
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip

from envwatch.model.text import clean
from envwatch.screen.terminal.app import LONGEST_COPY, clipboard_sequence, notification_sequence
from envwatch.screen.terminal.frame_writer import (
    PLAIN,
    Patch,
    Pen,
    ScreenBuffer,
    cells_of,
    frame_of,
    pen_change,
    pen_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyte.screens import Char

HOME = (0, 0)
IN_BAND_SIZES = "\x1b[?2048;2$y"
"""A terminal's answer that in-band size reports are supported."""

STYLES = [
    None,
    Style(),
    Style(color="#ff8000"),
    Style(color="#ff8000", bold=True),
    Style(color="#ff8000", bgcolor="#202020"),
    Style(color="red", bgcolor="#202020", dim=True),
    Style(bgcolor="#202020", bold=True, dim=True),
    Style(bgcolor="blue", italic=True),
    Style(underline=True, bold=True),
    Style(color="color(123)", reverse=True),
    Style(reverse=True, strike=True),
    Style(color="default", bgcolor="default", blink=True),
    Style(color="#ff8000", meta={"@click": "app.bell"}),
    Style(underline2=True, overline=True, color="#ff8000"),
]
# Characters of one and two cells, with and without marks, whose width is undisputed.
GRAPHEMES = ["a", "Z", "0", " ", " ", "·", "│", "●", "漢", "字", "한", "🤖", "e\u0301", "漢\u0301", " \u0301"]


def look(char: Char) -> tuple[Any, ...]:
    """Return a cell's visible attributes: a blank shows no colour and no weight."""
    drawn_over = (char.bg, char.underscore, char.reverse, char.strikethrough)
    if char.data == " ":
        return (" ", *drawn_over, char.fg if char.reverse else "")
    return (char.data, *drawn_over, char.fg, char.bold, char.italics, char.blink)


def looks(screen: pyte.Screen) -> list[list[tuple[Any, ...]]]:
    return [[look(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]


def terminal(width: int, height: int) -> tuple[pyte.Screen, pyte.Stream]:
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    stream.feed("\x1b[?7l")  # as Textual's driver sets
    return screen, stream


def by_textual(update: LayoutUpdate, width: int, height: int) -> list[list[tuple[Any, ...]]]:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    screen, stream = terminal(width, height)
    stream.feed(update.render_segments(console))
    return looks(screen)


def put(
    shadow: ScreenBuffer, frame: tuple[Size, list[Patch]] | None, color_system: ColorSystem = ColorSystem.TRUECOLOR
) -> None:
    assert frame is not None
    size, patches = frame
    assert size == shadow.size
    for x, y, strip, needed in patches:
        shadow.put(x, y, cells_of(strip, color_system, needed))


def shadow_of(*lines: Strip) -> ScreenBuffer:
    shadow = ScreenBuffer(lines[0].cell_length, len(lines))
    want(shadow, *lines)
    shadow.update(HOME)
    return shadow


def want(shadow: ScreenBuffer, *lines: Strip) -> None:
    width, height = shadow.size
    put(shadow, frame_of(LayoutUpdate([[line] for line in lines], Region(0, 0, width, height))))


def strip(text: str, style: Style | None = None) -> Strip:
    return Strip([Segment(text, style)])


def strips(width: int) -> st.SearchStrategy[Strip]:

    def filled(parts: list[tuple[str, Style | None]]) -> Strip:
        segments: list[Segment] = []
        room = width
        for text, style in parts:
            segment = Segment(text, style)
            if segment.cell_length <= room:
                segments.append(segment)
                room -= segment.cell_length
        return Strip([*segments, Segment(" " * room)])

    texts = st.sampled_from(GRAPHEMES) | st.text("ab 0·", max_size=width)
    return st.lists(st.tuples(texts, st.sampled_from(STYLES)), max_size=width).map(filled)


# -- the difference between frames -------------------------------------------------------------------------------------
@st.composite
def updates(draw: st.DrawFn, lines: list[list[Strip]], cut: int, width: int) -> ChopsUpdate:
    """Draw Textual's update of changed spans; a line is two strips that meet at `cut`. Changes `lines`."""
    chops: list[dict[int, Strip | None]] = [{0: None, cut: None} for _ in lines]
    spans = []
    for y in sorted(draw(st.sets(st.integers(0, len(lines) - 1)))):
        keep = draw(st.integers(0, width))
        new = [*draw(strips(width)).crop(0, keep), *Strip.join(lines[y]).crop(keep, width)]
        pair = list(Strip(new).divide([cut, width]))
        old_cells, new_cells = (cells_of(Strip.join(strips), ColorSystem.TRUECOLOR) for strips in (lines[y], pair))
        if changed := [x for x in range(width) if old_cells[x] != new_cells[x]]:
            spans.append((y, start := changed[0], stop := changed[-1] + 1))
            chops[y] = {0: pair[0] if start < cut else None, cut: pair[1] if stop > cut else None}
            lines[y] = pair
    return ChopsUpdate(chops, spans, [[cut, width]] * len(lines))


@given(st.data())
def test_differences_show_what_textual_shows_with_full_frames(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(2, 14)), data.draw(st.integers(1, 4))
    cut = data.draw(st.integers(1, width - 1))
    region = Region(0, 0, width, height)
    screen, stream = terminal(width, height)
    shadow = ScreenBuffer(width, height)
    lines: list[list[Strip]] = []
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()) and lines:
            put(shadow, frame_of(data.draw(updates(lines, cut, width))))
        else:
            lines = [[data.draw(strips(cut)), data.draw(strips(width - cut))] for _ in range(height)]
            put(shadow, frame_of(LayoutUpdate(list(lines), region)))
        if data.draw(st.integers(0, 3)) == 0:
            shadow.invalidate()
            screen.reset()
            stream.feed("\x1b[?7l")
        if data.draw(st.booleans()):
            continue  # The terminal is not ready: the next update must include this frame.
        cursor = (data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))
        stream.feed(shadow.update(cursor))
        assert looks(screen) == by_textual(LayoutUpdate(list(lines), region), width, height)
        assert (screen.cursor.x, screen.cursor.y) == cursor
        assert screen.cursor.attrs == screen.default_char


def sgr_applied(pen: Pen, sequence: str) -> Pen:
    """Apply SGR as a terminal does, after ECMA-48 and xterm's list."""
    attributes, color, background = set(pen.attributes), pen.color, pen.background
    ends = {
        "22": "1 2",
        "23": "3",
        "24": "4 21",
        "25": "5 6",
        "27": "7",
        "28": "8",
        "29": "9",
        "54": "51 52",
        "55": "53",
    }
    codes = re.fullmatch(r"\x1b\[([0-9;]*)m", sequence)[1].split(";") if sequence else []  # type: ignore[index] # must match
    while codes:
        code = codes.pop(0)
        if code in {"", "0"}:
            attributes, color, background = set(), "", ""
        elif code in {"38", "48"}:
            size = {"5": 2, "2": 4}[codes[0]]
            value, codes = ";".join([code, *codes[:size]]), codes[size:]
            color, background = (value, background) if code == "38" else (color, value)
        elif code in ends:
            attributes -= set(ends[code].split())
        elif re.fullmatch("3[0-79]|9[0-7]", code):
            color = "" if code == "39" else code
        elif re.fullmatch("4[0-79]|10[0-7]", code):
            background = "" if code == "49" else code
        else:
            attributes.add(code)
    return Pen(frozenset(attributes), color, background)


pens = st.builds(
    Pen,
    st.frozensets(st.sampled_from(["1", "2", "5", "6"]))
    | st.frozensets(st.sampled_from(["1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53"]), max_size=4),
    st.sampled_from(["", "31", "95", "38;5;200", "38;2;1;22;133"]),
    st.sampled_from(["", "44", "103", "48;5;200", "48;2;1;22;133"]),
)


@given(pens, pens)
def test_a_change_of_pen_results_in_the_new_pen(before: Pen, after: Pen) -> None:
    assert sgr_applied(before, pen_change(before, after)) == after


@pytest.mark.parametrize("style", STYLES)
def test_a_pen_draws_what_textual_draws_for_its_style(style: Style | None) -> None:
    for color_system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT, ColorSystem.STANDARD):
        codes = Strip.render_ansi(style, color_system) if style else ""
        assert pen_of(style, color_system) == sgr_applied(PLAIN, f"\x1b[;{codes}m" if codes else "")


@pytest.mark.parametrize(
    ("before", "after", "sent"), [("1", "", "\x1b[22m"), ("12", "1", "\x1b[22;1m")], ids=["weight lost", "set again"]
)
def test_a_change_of_weight_does_not_send_the_colours_again(before: str, after: str, sent: str) -> None:
    pen = Pen(frozenset(before), "38;2;1;22;133", "48;2;9;9;9")
    assert pen_change(pen, pen._replace(attributes=frozenset(after))) == sent


@pytest.mark.parametrize(
    ("before", "after", "cursor", "sent"),
    [
        (("idle",), ("idle",), HOME, ""),
        (("idle",), ("idle",), (3, 0), "\x1b[;4H"),
        (("age 12s",), ("age 13s",), HOME, "\x1b[;6H3\x1b[H"),
        (
            ("  12s", "  19s", "  41s"),
            ("  13s", "  20s", "  42s"),
            HOME,
            "\x1b[;4H3\x1b[B\b\b20\x1b[B\b2\x1b[H",
        ),
    ],
    ids=["equal", "another cursor", "a digit", "the next lines by relative moves"],
)
def test_only_a_difference_is_sent(
    before: tuple[str, ...], after: tuple[str, ...], cursor: tuple[int, int], sent: str
) -> None:
    shadow = shadow_of(*map(strip, before))
    want(shadow, *map(strip, after))
    assert shadow.update(cursor) == sent


@pytest.mark.parametrize(("kept", "passed"), [("xxx", "xxx"), ("xxxx", "\x1b[4C"), ("●", "\x1b[C")])
def test_up_to_three_unchanged_letters_are_rewritten_and_longer_gaps_are_skipped(kept: str, passed: str) -> None:
    shadow = shadow_of(strip(f"a{kept}b "))
    want(shadow, strip(f"1{kept}2 "))
    assert shadow.update(HOME) == f"\x1b[H1{passed}2\x1b[H"


def test_a_blank_is_sent_without_a_change_of_colour() -> None:
    red, green = Style(color="#ff0000", bgcolor="#000000"), Style(color="#00ff00", bgcolor="#000000")
    shadow = ScreenBuffer(4, 1)
    want(shadow, Strip([Segment("a", red), Segment("  ", green), Segment("b", red)]))
    assert shadow.update(HOME) == "\x1b[H\x1b[38;2;255;0;0;48;2;0;0;0ma  b\x1b[m\x1b[H"


@pytest.mark.parametrize(("x", "left"), [(0, "x 字"), (1, " x字"), (2, "漢x "), (3, "漢 x")])
def test_drawing_over_half_of_a_wide_character_leaves_a_blank(x: int, left: str) -> None:
    shadow = shadow_of(strip("漢字"))
    shadow.put(x, 0, cells_of(strip("x"), ColorSystem.TRUECOLOR))
    shadow.invalidate()
    screen, stream = terminal(4, 1)
    stream.feed(shadow.update(HOME))
    assert screen.display == [left]


def test_a_change_of_one_half_draws_the_whole_wide_character() -> None:
    shadow = shadow_of(strip("漢字"))
    want(shadow, strip("a漢b"))
    screen, stream = terminal(4, 1)
    stream.feed(shadow.update(HOME))
    assert screen.display == ["a漢b"]


def test_a_long_line_is_cut_without_half_a_character() -> None:
    shadow = ScreenBuffer(3, 1)
    shadow.put(0, 0, cells_of(strip("漢字"), ColorSystem.TRUECOLOR))
    assert shadow.update(HOME) == "\x1b[H漢\x1b[3G \x1b[H"


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        (
            [
                Segment("e"),
                Segment("\x1b[2J", None, [(ControlType.CLEAR,)]),
                Segment("\u0301\x1b\x9b漢", Style(bold=True)),
                Segment("\u0301\x07x"),
            ],
            ["e\u0301", "漢\u0301", "", "x"],
        ),
        ([Segment("❤\ufe0fx")], ["❤\ufe0f", "", "x"]),
    ],
    ids=["marks and controls", "emoji presentation"],
)
def test_a_mark_joins_its_base_across_styles_and_controls_are_dropped(line: list[Segment], texts: list[str]) -> None:
    assert [text for text, _ in cells_of(line, ColorSystem.TRUECOLOR)] == texts


def test_a_mark_on_a_space_is_drawn_in_its_colour() -> None:
    red = Style(color="#ff0000")
    assert cells_of([Segment(" \u0301", red)], ColorSystem.TRUECOLOR) == [
        (" \u0301", Pen(frozenset(), "38;2;255;0;0", ""))
    ]


def test_after_a_cluster_the_column_is_set_explicitly() -> None:
    shadow = ScreenBuffer(4, 1)
    want(shadow, strip("❤\ufe0fxy"))
    assert shadow.update(HOME) == "\x1b[H  \b\b❤\ufe0f\x1b[3Gxy\x1b[H"


def test_links_and_metadata_are_not_sent() -> None:
    shadow = shadow_of(strip("mac", Style(bold=True, link="https://a.example", meta={"@click": "app.bell"})))
    want(shadow, strip("mac", Style(bold=True)))
    assert shadow.update(HOME) == ""
    want(shadow, strip("nas", Style(bold=True, link="https://b.example")))
    assert "]8;" not in shadow.update(HOME)


@pytest.mark.parametrize("foreign", [None, Text("a"), InlineUpdate([strip("a")])])
def test_updates_other_than_full_screen_frames_are_left_to_textual(foreign: object) -> None:
    assert frame_of(foreign) is None


class Terminal:
    UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[(?:[<>][0-9;]*u|\?[0-9;]*\$p)")
    UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?<>$]*)?\Z")

    def __init__(self, kind: str = "frames", columns: int = 80, lines: int = 24) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        self._rest = b""
        self.master, self._slave = pty.openpty()
        self._set_size(columns, lines)
        self.floods, floods = os.pipe()
        env = environment(Path.home(), COLORTERM="truecolor", FLOODS_FD=str(floods))
        self.app = subprocess.Popen(
            [sys.executable, Path(__file__).parents[1] / "support" / "ticking_app.py", kind],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            pass_fds=[floods],
            env=env,
        )
        os.close(floods)

    def __enter__(self) -> Self:
        try:
            self.wait_for("tick 0")
            corner = self.screen.buffer[self.screen.lines - 1]
            self.wait(lambda: corner[self.screen.columns - 1].bg == "303030")  # The first frame is complete.
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.app.kill()
        self.app.wait()
        for descriptor in (self.master, self._slave, self.floods):
            os.close(descriptor)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)
        self.app.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read(self) -> None:
        chunk = os.read(self.master, 65536)
        self.received += chunk
        data = self._rest + chunk
        self._rest = match[0] if (match := self.UNFINISHED.search(data)) else b""
        self.stream.feed(self.UNKNOWN_TO_PYTE.sub(b"", data.removesuffix(self._rest)))

    def wait(self, condition: Callable[[], object]) -> None:
        """Read until the condition holds; fail after thirty seconds without output."""
        while not condition():
            ready, _, _ = select.select([self.master], [], [], 30)
            assert ready, "\n".join(self.screen.display)
            self.read()

    def wait_for(self, text: str) -> None:
        self.wait(lambda: text in "\n".join(self.screen.display))

    def wait_for_cursor(self, x: int, y: int) -> None:
        self.wait(lambda: (self.screen.cursor.x, self.screen.cursor.y) == (x, y))

    def wait_for_tick(self, number: int) -> None:
        self.wait(lambda: self.screen.display[-1].rstrip() == f"tick {number}")

    def tick_to(self, number: int) -> None:
        self.press("t")
        self.wait_for_tick(number)


def reference(columns: int = 80, lines: int = 24, *, ticks: int = 0) -> list[list[tuple[Any, ...]]]:
    with Terminal("plain", columns, lines) as textual:
        for tick in range(1, ticks + 1):
            textual.tick_to(tick)
        return looks(textual.screen)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), pytest.param(200, 50, marks=pytest.mark.slow)])
def test_the_start_and_a_tick_of_all_ages_stay_within_the_byte_budgets(columns: int, lines: int) -> None:
    budgets = BUDGETS["idle"]
    with Terminal("frames", columns, lines) as frames:
        frames.tick_to(1)
        started = len(frames.received)
        if (columns, lines) == (80, 24):
            assert started <= budgets["bytes to start, 80x24, 40 rows"].limit
        for tick in range(2, 22):
            frames.tick_to(tick)
        assert (len(frames.received) - started) / 20 <= budgets[f"bytes a tick, {columns}x{lines}, 40 rows"].limit
        assert looks(frames.screen) == reference(columns, lines, ticks=21)


def test_a_resized_terminal_shows_what_textual_shows_at_the_size() -> None:
    with Terminal() as frames:
        for *passed, last in ([(100, 30)], [(40, 10), (1, 1), (3, 2), (81, 25)]):
            for size in (*passed, last):
                frames.resize(*size)
            expected = reference(*last)
            frames.wait(lambda: looks(frames.screen) == expected)  # noqa: B023  it is called at once


def test_a_size_changed_and_restored_unnoticed_is_redrawn() -> None:
    with Terminal() as frames:
        expected = looks(frames.screen)
        frames.screen.reset()
        frames.resize(80, 24)
        frames.wait(lambda: looks(frames.screen) == expected)


def test_a_box_looks_as_with_textual_and_leaves_no_trace() -> None:
    with Terminal("plain") as textual, Terminal("frames") as frames:
        before = looks(frames.screen)
        for app in (textual, frames):
            app.press("m")
            app.wait_for("▁▁▁")
        while looks(frames.screen) != looks(textual.screen):
            ready, _, _ = select.select([textual.master, frames.master], [], [], 10)
            assert ready, "\n".join(frames.screen.display)
            for app in (textual, frames):
                if app.master in ready:
                    app.read()
        frames.press("\x1b")
        frames.wait(lambda: looks(frames.screen) == before)


def test_the_cursor_is_where_textual_has_the_cursor_in_a_text_input() -> None:
    with Terminal("plain") as textual, Terminal("frames") as frames:
        for app in (textual, frames):
            app.press("m")
            app.wait_for("the box")
            app.press("漢b")
            app.wait_for("漢b")
            app.wait_for_cursor(32, 11)
            app.press("c")
            app.wait_for_cursor(33, 11)


@pytest.mark.parametrize("answer", ["", IN_BAND_SIZES])
def test_a_resumed_process_redraws_everything(answer: str) -> None:
    with Terminal() as frames:
        frames.press(answer)
        frames.tick_to(1)
        expected = looks(frames.screen)
        frames.app.send_signal(signal.SIGTSTP)
        frames.wait(lambda: b"\x1b[?1004l" in frames.received)
        os.waitid(os.P_PID, frames.app.pid, os.WSTOPPED)
        frames.screen.reset()
        frames.stream.feed(b"$ vi\r\nanother program")
        frames.app.send_signal(signal.SIGCONT)
        frames.wait(lambda: looks(frames.screen) == expected)


@pytest.mark.slow
def test_a_stalled_terminal_does_not_block_the_app_and_gets_the_newest_frame_afterwards() -> None:
    floods = 300
    with Terminal() as frames:
        started = len(frames.received)
        for _ in range(floods):
            frames.press("f")
            ready, _, _ = select.select([frames.floods], [], [], 30)
            assert ready, "the app waits for the terminal"
            os.read(frames.floods, 1)
        frames.wait(lambda: looks(frames.screen)[1][0][0] == chr(ord("A") + floods % 26))
        frames.tick_to(1)
        assert len(set(frames.screen.display[1:-1])) == 1
        assert len(frames.received) - started < floods * 80 * 22 / 2


def test_long_frames_are_marked_where_supported_and_a_report_of_the_size_causes_none() -> None:
    with Terminal() as frames:
        frames.press("\x1b[?2026;2$y")
        frames.press("f")
        frames.wait(lambda: b"\x1b[?2026l" in frames.received)
        assert frames.received.count(b"\x1b[?2026h") == 1
        frames.tick_to(1)
        started = len(frames.received)
        frames.press(f"{IN_BAND_SIZES}\x1b[48;24;80;480;1600t")
        frames.tick_to(2)
        assert len(frames.received) - started < 500
        assert frames.received.count(b"\x1b[?2026h") == 1, "a short frame is not marked"


async def test_textual_paints_without_a_terminal() -> None:
    app = FramesTickingApp()
    async with app.run_test() as pilot:
        await pilot.press("t")
        assert app.query_one(Ages).tick == 1


# -- escape sequences --------------------------------------------------------------------------------------------------
Kind = Literal["osc9", "osc777"]

TEXTS = (
    st.text() | st.sampled_from(WEAPONS) | st.lists(st.sampled_from([*";:,\x07\x1b\x9c\\", "]9;4;1", "a"])).map("".join)
)


def payload(sequence: str) -> str:
    found = re.match(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found
    return base64.b64decode(found[1]).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_the_clipboard_gets_exactly_the_text(text: str, in_tmux: bool) -> None:  # noqa: FBT001  hypothesis passes it
    assert payload(clipboard_sequence(text, in_tmux=in_tmux)) == text


def test_a_text_is_cut_between_characters_at_its_limit() -> None:
    assert payload(clipboard_sequence("a" * LONGEST_COPY, in_tmux=False)) == "a" * LONGEST_COPY
    assert payload(clipboard_sequence("a" + "é" * LONGEST_COPY, in_tmux=False)) == "a" + "é" * ((LONGEST_COPY - 1) // 2)


def test_tmux_gets_the_sequence_itself_and_one_to_pass_on() -> None:
    plain = clipboard_sequence("x", in_tmux=False)
    assert clipboard_sequence("x", in_tmux=True) == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"


@pytest.mark.parametrize(
    ("style", "in_tmux", "expected"),
    [
        ("osc9", False, b"\x1b]9;envwatch: nas went offline\x07"),
        ("osc777", False, b"\x1b]777;notify;envwatch;nas went offline\x07"),
        ("osc9", True, b"\x1bPtmux;\x1b\x1b]9;envwatch: nas went offline\x07\x1b\\"),
        ("osc777", True, b"\x1bPtmux;\x1b\x1b]777;notify;envwatch;nas went offline\x07\x1b\\"),
    ],
)
def test_a_notification_is_one_sequence_also_in_tmux(style: Kind, expected: bytes, *, in_tmux: bool) -> None:
    assert notification_sequence(clean("nas went offline"), style, in_tmux=in_tmux).encode() == expected


@pytest.mark.parametrize("style", ["osc9", "osc777"])
def test_a_semicolon_does_not_end_a_notification_early(style: Kind) -> None:
    assert notification_sequence(clean("a;b;;c"), style, in_tmux=False).endswith("a,b,,c\x07")


@pytest.mark.parametrize(("style", "separators"), [("osc9", 1), ("osc777", 3)])
@pytest.mark.parametrize("in_tmux", [False, True])
@given(raw=TEXTS)
def test_no_text_gets_out_of_a_notification(style: Kind, separators: int, raw: str, *, in_tmux: bool) -> None:
    text = clean(raw)
    sequence = notification_sequence(text, style, in_tmux=in_tmux)
    frame = re.fullmatch(r"\x1bPtmux;\x1b(.*)\x1b\\", sequence) if in_tmux else re.fullmatch(r"(.*)", sequence)
    assert frame
    inner = frame[1]
    assert [place for place, sign in enumerate(inner) if not sign.isprintable()] == [0, len(inner) - 1]
    assert (inner[0], inner[-1]) == ("\x1b", "\x07")
    assert inner.count(";") == separators
    assert inner[:-1].endswith(text.replace(";", ","))
