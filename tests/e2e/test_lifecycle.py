"""After any end of envwatch the terminal is restored in time and the shell gets the right exit code."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest
from support.load import at_most
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal
from support.shells import (
    ALTERNATE_SCREEN,
    BRACKETED_PASTE,
    ENVWATCH,
    FOCUS,
    IN_BAND_RESIZE,
    MOUSE,
    SHOWN,
    assert_sane,
    by_script,
    child_of,
    modes_after,
    restored,
    wait_until_restored,
    with_parent,
)

BROKEN = (sys.executable, str(Path(__file__).parents[1] / "support" / "broken_app.py"))


WAYS: dict[str, tuple[str | signal.Signals, int]] = {
    "q": ("q", 0),
    "ctrl+c": ("\x03", 130),
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGHUP": (signal.SIGHUP, 129),
}


@pytest.mark.parametrize(("way", "code"), WAYS.values(), ids=WAYS)
def test_every_way_to_end_restores_the_terminal_within_a_second(
    environ: dict[str, str], way: str | signal.Signals, code: int
) -> None:
    """With all modes on: also the modes that a terminal offers later."""
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1b[?2048;2$y")
        terminal.wait_until(lambda: modes_after(terminal.received).private >= {IN_BAND_RESIZE}, "the mode set")
        during = modes_after(terminal.received)
        assert during.private >= {ALTERNATE_SCREEN, BRACKETED_PASTE, 1000, 1006}
        assert during.ever & MOUSE == {1000, 1006}
        assert FOCUS not in during.private
        assert (during.keyboard, 25 in during.private, 7 in during.private) == (1, False, False)
        if isinstance(way, str):
            terminal.press(way)
        else:
            os.kill(child_of(terminal), way)
        wait_until_restored(terminal)
        assert_sane(terminal, code)


PATIENT: Final = """
import sys
from envwatch.cli.main import main
from envwatch.screen.terminal import driver
driver._INPUT_POLL_S = 3600
sys.exit(main())
"""
"""The program, with an input thread that wakes up only once an hour."""


def test_the_end_does_not_wait_until_the_input_thread_looks_up(environ: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "patient.py"
    program.write_text(PATIENT)
    with Terminal([sys.executable, str(program)], environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert restored(terminal)


def test_signals_ignored_by_the_parent_stay_ignored_and_a_closed_terminal_ends_the_program_without_a_busy_loop(
    environ: dict[str, str],
) -> None:
    with by_script(environ, 'trap "" HUP INT; exec "$@"', *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.send_signal(signal.SIGHUP)
        terminal.send_signal(signal.SIGINT)
        terminal.press("?")
        terminal.wait_for("bell rings")
        with at_most(5):
            terminal.hang_up()
            _, status, usage = os.wait4(terminal.process.pid, 0)
        terminal.process.returncode = os.waitstatus_to_exitcode(status)
        assert terminal.process.returncode == 129
        assert usage.ru_utime + usage.ru_stime < 5


def test_a_crash_is_one_screen_of_traceback_with_the_path_of_the_log(environ: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with with_parent(environ, *BROKEN, "action", str(log)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("t")
        wait_until_restored(terminal)
        assert_sane(terminal, 1)
        report = terminal.received.decode().partition("envwatch crashed")[2].partition("code 1")[0].replace("\r", "")
    assert 5 < report.count("\n") < 24
    assert "in action_times" in report
    assert "RuntimeError: a bug with" in report
    assert f"The whole traceback is in {log}" in report.replace("\n", "")
    assert "locals" not in report
    assert "in action_times" in log.read_text()


def test_a_blocked_app_is_ended_by_force_and_its_terminal_restored(environ: dict[str, str], tmp_path: Path) -> None:
    with with_parent(environ, *BROKEN, "stuck", str(tmp_path / "log")) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("t")
        terminal.wait_for("^stuck")
        os.kill(child_of(terminal), signal.SIGTERM)
        wait_until_restored(terminal)
        assert_sane(terminal, 143)


def test_an_unread_terminal_does_not_delay_the_end(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH, columns=200, lines=50) as terminal:
        terminal.wait_for(SHOWN)
        child = child_of(terminal)
        ended = os.pidfd_open(child)
        ours = os.open(f"/proc/{child}/fd/0", os.O_RDWR | os.O_NOCTTY)
        deadline = time.monotonic() + TIMEOUT_S
        sizes = cycle((49, 50))
        while select.select([], [ours], [], 0)[1]:
            assert time.monotonic() < deadline
            terminal.resize(200, next(sizes))
            os.kill(child, signal.SIGWINCH)
            assert not select.select([ended], [], [], 0.15)[0]  # the time to draw a screen
        os.close(ours)
        with at_most(2):
            os.kill(child, signal.SIGTERM)
            assert select.select([ended], [], [], TIMEOUT_S)[0]
        os.close(ended)
        assert_sane(terminal, 143)


SIZES = [(1, 1), (2, 1), (1, 24), (80, 1), (3, 2), (10, 5), (39, 8), (40, 7), (40, 8), (500, 3), (80, 24)]


def test_a_start_in_one_cell_and_any_size_keep_the_app_and_the_selection(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH, columns=1, lines=1) as terminal:
        terminal.wait_until(lambda: modes_after(terminal.received).keyboard, "the start")
        terminal.resize(80, 24)
        os.kill(child_of(terminal), signal.SIGWINCH)
        terminal.wait_for(SHOWN)
        terminal.press("pjjj")  # paused, because changes of the fleet would move the rows
        selected = cursor_line(terminal, after=3)
        for columns, lines in SIZES:
            terminal.resize(columns, lines)
            os.kill(child_of(terminal), signal.SIGWINCH)
        terminal.wait_for("PAUSED")
        terminal.wait_for("^ / Filter .* q Quit$")
        terminal.wait_for(f"^[▌ ]►.{{18}}{re.escape(selected[20:40])}")  # below a loss, small sizes have scrolled
        terminal.resize(39, 8)
        os.kill(child_of(terminal), signal.SIGWINCH)
        terminal.press("q")
        assert_sane(terminal, 0)


def test_300_resizes_in_ten_packs_end_in_the_last_size_with_every_row_in_its_place(environ: dict[str, str]) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("pjj")
        terminal.wait_for("PAUSED")
        cursor_line(terminal, after=2)
        before = parts_of(terminal)
        assert len(before) == 23
        assert len(set(before)) > 20
        for pack in range(10):
            received = len(terminal.received)
            for number in range(pack * 30, pack * 30 + 30):
                terminal.resize(20 + number * 7 % 150, 3 + number * 11 % 60)
            # The kernel may merge signals: each batch draws at least one size.
            terminal.wait_until(partial(has_more_than, terminal, received), "a frame")
        terminal.screen.reset()
        terminal.resize(80, 24)
        terminal.wait_until(lambda: parts_of(terminal) == before, "the screen from before")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert restored(terminal)


def has_more_than(terminal: Terminal, received: int) -> bool:
    return len(terminal.received) > received


def parts_of(terminal: Terminal) -> list[str]:
    """Return each line of the screen without parts that change with time: cursor and name, tallies, keys."""
    head, *table, _, foot = terminal.display
    return [head.partition("●")[0], *(line[:3] + line[20:40] for line in table), foot]


def cursor_line(terminal: Terminal, *, after: int) -> str:
    """Wait for the cursor `after` lines below the first line of block and table; return the cursor's line."""

    def rows() -> list[str]:
        return [line for line in terminal.display if re.match("[▌ ][► ][●◐○] ", line)]

    def places() -> list[int]:
        return [y for y, line in enumerate(rows()) if line[1:2] == "►"]

    terminal.wait_until(lambda: places() == [after], f"the cursor on row {after}")
    return rows()[after]


TITLE = re.compile(rb"\x1b\][012];|\x1b\[2[23];[012]?t")
"""Sets, saves or restores a title."""

PLAIN_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

LOOKS: Final = {
    "linux": ({"TERM": "linux"}, 1),
    "no title wanted": ({"TERM": "screen", "ENVWATCH_TITLE": "false"}, 1),
    "xterm of 256": ({"TERM": "xterm-256color"}, 2),
    "tmux": ({"TERM": "tmux-256color"}, 2),
    "true colour": ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, 4),
}
"""Variables of a terminal, and the length of its longest colour."""


@pytest.mark.parametrize(
    ("terminal_is", "depth"),
    [pytest.param(*look, id=name, marks=pytest.mark.slow if name == "tmux" else []) for name, look in LOOKS.items()],
)
def test_each_terminal_gets_supported_colours_and_a_title_unless_the_user_wants_none(
    environ: dict[str, str], terminal_is: dict[str, str], depth: int
) -> None:
    with Terminal(ENVWATCH, environ | terminal_is) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert max(map(len, colours(terminal.received))) == depth
        has_title = terminal_is["TERM"] != "linux" and "ENVWATCH_TITLE" not in terminal_is
        assert bool(TITLE.search(terminal.received)) == has_title
        assert restored(terminal)


@pytest.mark.parametrize(
    ("more", "options"),
    [
        pytest.param(PLAIN_C, (), id="LANG=C"),
        pytest.param({"TERM": "linux"}, ("--ascii", "--no-mouse"), id="--ascii", marks=pytest.mark.slow),
    ],
)
def test_without_colour_and_unicode_all_is_legible_ascii_in_grey(
    environ: dict[str, str], more: dict[str, str], options: tuple[str, ...]
) -> None:
    plain = environ | {"NO_COLOR": "1"} | more
    with Terminal([*ENVWATCH, *options], plain, columns=130, lines=40) as terminal:
        for state in (r"^.>x off ", r"^. \+ on ", r"x [0-9]+ page  .*\+ [0-9]+ on ", "^ / Filter"):
            terminal.wait_for(state)
        assert_legible(terminal)
        for key, shown in (("G", r"^ >"), ("?", "bell rings"), ("q", r"^ >"), (":", "Search")):
            terminal.press(key)
            terminal.wait_for(shown)
        terminal.press("\x1b[27u")
        terminal.wait_for_no("Search")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.received.isascii()
        assert b"\\u" not in terminal.received
        assert all(is_grey(colour) for colour in colours(terminal.received)), set(colours(terminal.received))
        assert bool(modes_after(terminal.received).ever & MOUSE) == (not options)


def assert_legible(terminal: Terminal) -> None:
    """Assert that no character but the scrollbar's has the colour of the background."""
    rows = terminal.screen.buffer.values()
    cells = [cell for row in rows for cell in row.values() if not cell.data.isspace()]
    assert {cell.data for cell in cells if cell.fg == cell.bg} <= {"#"}, terminal.text


def colours(received: bytes | bytearray) -> list[tuple[int, ...]]:
    """Return every colour used: (index) of 16, (5, index) of 256, (2, red, green, blue)."""
    found: list[tuple[int, ...]] = []
    for match in re.finditer(rb"\x1b\[([0-9;]+)m", received):
        numbers = [int(number or 0) for number in match[1].split(b";")]
        while numbers:
            number = numbers.pop(0)
            if number in {38, 48}:
                count = 2 if numbers[0] == 5 else 4
                found.append(tuple(numbers[:count]))
                del numbers[:count]
            elif number // 10 in {3, 4, 9, 10}:
                found.append((number % 10 + 8 * (number >= 90),))
    return found


def is_grey(colour: tuple[int, ...]) -> bool:
    match colour:
        case (2, red, green, blue):
            return red == green == blue
        case (5, index):
            return index >= 232 or index in {0, 7, 8, 15, 16, 231} or (index - 16) % 43 == 0
        case _:
            return colour[0] in {0, 7, 8, 9, 15, 17}
