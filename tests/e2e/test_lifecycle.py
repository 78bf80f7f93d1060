"""After any end of envwatch the terminal is restored in time and the shell gets the right exit code."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.load import scaled
from support.pty_terminal import TIMEOUT_S, Terminal, environment
from support.shells import (
    ENVWATCH,
    KEY,
    SHOWN,
    SIZE,
    assert_sane,
    child_of,
    in_shell,
    restored,
    wait_until_restored,
)
from support.terminal_modes import ALTERNATE_SCREEN, BRACKETED_PASTE, FOCUS, IN_BAND_RESIZE, MOUSE, modes_after

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = (sys.executable, str(Path(__file__).parents[1] / "support" / "broken_app.py"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(size=SIZE, seed=7, key=KEY) as running:
        yield running


@pytest.fixture
def environ(server: Server, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.base_url)


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
    with in_shell(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        during = modes_after(terminal.received)
        assert during.private >= {ALTERNATE_SCREEN, BRACKETED_PASTE, 1000, 1003, 1006}
        assert FOCUS not in during.private
        assert (during.keyboard, 25 in during.private, 7 in during.private) == (1, False, False)
        if isinstance(way, str):
            terminal.press(way)
        else:
            os.kill(child_of(terminal), way)
        wait_until_restored(terminal)
        assert_sane(terminal, code)


def test_modes_that_a_terminal_offers_are_reset_too(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1b[?2048;2$y")
        terminal.wait_until(lambda: modes_after(terminal.received).private >= {IN_BAND_RESIZE, 1016}, "the mode set")
        os.kill(child_of(terminal), signal.SIGTERM)
        assert_sane(terminal, 143)


def test_signals_that_the_parent_ignores_stay_ignored(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH, script='trap "" HUP INT; exec "$@"') as terminal:
        terminal.wait_for(SHOWN)
        terminal.send_signal(signal.SIGHUP)
        terminal.send_signal(signal.SIGINT)
        terminal.press("?")
        terminal.wait_for("Half a page down")
        terminal.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143


@pytest.mark.parametrize("script", ['exec "$@"', 'trap "" HUP; exec "$@"'], ids=["usual", "nohup"])
def test_a_closed_terminal_ends_the_program_without_a_busy_loop(environ: dict[str, str], script: str) -> None:
    with in_shell(environ, *ENVWATCH, script=script) as terminal:
        terminal.wait_for(SHOWN)
        terminal.hang_up()
        before = time.monotonic()
        _, status, usage = os.wait4(terminal.process.pid, 0)
        took = time.monotonic() - before
        terminal.process.returncode = os.waitstatus_to_exitcode(status)
        assert terminal.process.returncode == 129
        assert took < scaled(5)
        assert usage.ru_utime + usage.ru_stime < 5


def test_a_crash_is_one_screen_of_traceback_that_names_the_log(environ: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with in_shell(environ, *BROKEN, "action", str(log)) as terminal:
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
    with in_shell(environ, *BROKEN, "stuck", str(tmp_path / "log")) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("t")
        terminal.wait_for("^stuck")
        os.kill(child_of(terminal), signal.SIGTERM)
        wait_until_restored(terminal)
        assert_sane(terminal, 143)


def test_a_terminal_that_is_not_read_does_not_delay_the_end(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH, columns=200, lines=50) as terminal:
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
        os.kill(child, signal.SIGTERM)
        assert select.select([ended], [], [], scaled(2))[0]
        os.close(ended)
        assert_sane(terminal, 143)


SIZES = [(1, 1), (2, 1), (1, 24), (80, 1), (3, 2), (10, 5), (39, 8), (40, 7), (40, 8), (500, 3), (80, 24)]


def test_any_size_from_one_cell_up_keeps_the_app_and_the_selection(environ: dict[str, str]) -> None:
    with in_shell(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("jjj")
        selected = cursor_line(terminal, after=3)
        for columns, lines in SIZES:
            terminal.resize(columns, lines)
            os.kill(child_of(terminal), signal.SIGWINCH)
        terminal.wait_for(SHOWN)
        assert cursor_line(terminal, after=3)[12:40] == selected[12:40]
        terminal.press("q")
        assert_sane(terminal, 0)


@pytest.mark.parametrize(("columns", "lines"), [(1, 1), (39, 8)])
def test_a_start_in_a_too_small_terminal_can_be_quit_or_enlarged(
    environ: dict[str, str], columns: int, lines: int
) -> None:
    with Terminal(ENVWATCH, environ, columns=columns, lines=lines) as terminal:
        terminal.wait_until(lambda: modes_after(terminal.received).keyboard, "the start")
        terminal.resize(80, 24)
        terminal.wait_for(SHOWN)
        terminal.resize(columns, lines)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert restored(terminal)


def test_300_resizes_at_once_end_in_the_last_size_with_the_same_selection(environ: dict[str, str]) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("jj")
        selected = cursor_line(terminal, after=2)
        for number in range(300):
            terminal.resize(20 + number * 7 % 150, 3 + number * 11 % 60)
        terminal.resize(80, 24)
        terminal.wait_for(SHOWN)
        assert cursor_line(terminal, after=2)[12:40] == selected[12:40]
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert restored(terminal)


def cursor_line(terminal: Terminal, *, after: int) -> str:
    """Wait for the cursor on row `after`, and return its line."""

    def places() -> list[int]:
        return [y for y, line in enumerate(terminal.display) if line.startswith("▌")]

    terminal.wait_until(lambda: places() == [2 + after], f"the cursor on row {after}")
    return terminal.display[2 + after]


def test_without_the_mouse_no_mode_of_it_is_ever_set(environ: dict[str, str]) -> None:
    with Terminal([*ENVWATCH, "--no-mouse"], environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("\x1b[?2048;2$y")  # after this answer Textual asks for mouse pixels
        terminal.wait_until(lambda: IN_BAND_RESIZE in modes_after(terminal.received).private, "the mode set")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert not modes_after(terminal.received).ever & MOUSE


PLAIN_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(("locale", "option"), [(PLAIN_C, ()), ({}, ("--ascii",))], ids=["LANG=C", "--ascii"])
def test_an_ascii_terminal_gets_only_ascii(
    environ: dict[str, str], locale: dict[str, str], option: tuple[str, ...]
) -> None:
    with Terminal([*ENVWATCH, *option], environ | locale, columns=130, lines=40) as terminal:
        terminal.wait_for(r"\+ [0-9]+ on .*x [0-9]+ off")
        for key, shown in (("G", r"^>"), ("?", "Half a page down"), ("q", r"^>"), (":", "Search")):
            terminal.press(key)
            terminal.wait_for(shown)
        terminal.press("\x1b[27u")
        terminal.wait_for_no("Search")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.received.isascii()
        assert b"\\u" not in terminal.received


BLOCKS = "▁▂▃▄▅▆▇█"
"""What scrollbars end with: no text, and of one grey with what is below where there are few greys."""


@pytest.mark.parametrize("name", ["xterm-256color", "linux"])
def test_without_colour_everything_is_legible_and_offline_is_a_word(environ: dict[str, str], name: str) -> None:
    with Terminal(ENVWATCH, environ | {"NO_COLOR": "1", "TERM": name}) as terminal:
        terminal.wait_for(r"^.○ off ")
        for row in terminal.screen.buffer.values():
            for cell in row.values():
                assert cell.data.isspace() or cell.data in BLOCKS or cell.fg != cell.bg, terminal.text
        assert all(is_grey(colour) for colour in colours(terminal.received)), set(colours(terminal.received))
        terminal.press("q")
        assert terminal.wait_for_end() == 0


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


@pytest.mark.parametrize(
    ("terminal_is", "depth"),
    [
        ({"TERM": "linux"}, 1),
        ({"TERM": "screen"}, 1),
        ({"TERM": "xterm-256color"}, 2),
        ({"TERM": "tmux-256color"}, 2),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, 4),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_each_terminal_gets_colours_that_it_supports(
    environ: dict[str, str], terminal_is: dict[str, str], depth: int
) -> None:
    with Terminal(ENVWATCH, environ | terminal_is) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert max(map(len, colours(terminal.received))) == depth
        assert restored(terminal)
