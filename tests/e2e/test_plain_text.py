"""The plain-text view in the real program: the mouse belongs to the terminal meanwhile, and to envwatch afterwards."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.budget import first_quick
from support.demo_screen import titles_line
from support.pty_terminal import ENTER, ESC, Terminal
from support.shells import wait_for_stop
from support.still_server import still_server
from support.terminal_modes import IN_BAND_RESIZE, MOUSE, is_fresh, modes_after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.demo.server import Server

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
OURS = {1000, 1006}
"""Modes that switch mouse reports on; further modes only choose the format."""
PLAIN = r'^\s+"connected_at": '


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with still_server(size=12, key=KEY) as running:
        yield running


@contextmanager
def shown(server: Server, home: Path, *options: str) -> Iterator[Terminal]:
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url}
    with Terminal.of_envwatch(*options, home=home, environ=environ, lines=60) as terminal:
        terminal.wait_for("● [0-9]+ on")
        yield terminal


def reports(terminal: Terminal) -> set[int]:
    return modes_after(terminal.received).private & OURS


def open_text(terminal: Terminal) -> None:
    terminal.press("y")
    terminal.wait_for("Show as plain text")
    terminal.press("\x1b[A", " ")
    terminal.wait_for(PLAIN)
    terminal.wait_until(lambda: not reports(terminal), "the mouse lent")


def end(terminal: Terminal, code: int) -> None:
    assert terminal.wait_for_end() == code
    assert is_fresh(modes_after(terminal.received)), modes_after(terminal.received)


def test_the_mouse_is_the_terminals_while_a_text_is_shown_and_ours_afterwards(server: Server, tmp_path: Path) -> None:
    with shown(server, tmp_path) as terminal:
        for key in (ESC, "q", ENTER):
            assert reports(terminal) == OURS
            open_text(terminal)
            # Above the text, only the status line and the newest loss are visible.
            assert all(not line.startswith(("▌", "▏")) for line in terminal.display[2:])
            terminal.press(key)
            terminal.wait_for("STATE    FOR BEAT NAME")
            terminal.wait_until(lambda: reports(terminal) == OURS, "the mouse taken back")
        terminal.click(22, titles_line(terminal))
        terminal.wait_for("NAME▲")
        terminal.press("q")
        end(terminal, 0)


WAYS: dict[str, tuple[str | signal.Signals, int]] = {
    "TERM": (signal.SIGTERM, 143),
    "HUP": (signal.SIGHUP, 129),
    "ctrl+c": ("\x03", 130),
}


@pytest.mark.parametrize("name", first_quick([*WAYS]))
def test_an_end_within_a_text_resets_all_modes(server: Server, tmp_path: Path, name: str) -> None:
    way, code = WAYS[name]
    with shown(server, tmp_path) as terminal:
        open_text(terminal)
        if isinstance(way, str):
            terminal.press(way)
        else:
            terminal.send_signal(way)
        end(terminal, code)


def is_drawn_again(terminal: Terminal, times: int) -> bool:
    taken = b"\x1b[?1049h"
    drawn = terminal.received.rpartition(taken)[2]
    return terminal.received.count(taken) > times and b"connected_at" in drawn


@pytest.mark.parametrize("number", first_quick([signal.SIGTSTP, signal.SIGSTOP]), ids=["TSTP", "STOP"])
def test_after_a_stop_within_a_text_the_mouse_is_still_the_terminals(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    with shown(server, tmp_path) as terminal:
        open_text(terminal)
        terminal.send_signal(number)
        if number == signal.SIGTSTP:
            terminal.wait_until(lambda: is_fresh(modes_after(terminal.received)), "the restored terminal")
        wait_for_stop(terminal.process.pid)
        taken = terminal.received.count(b"\x1b[?1049h")
        terminal.send_signal(signal.SIGCONT)
        terminal.wait_until(partial(is_drawn_again, terminal, taken), "drawn again")
        terminal.wait_until(lambda: not reports(terminal), "the mouse lent again")
        terminal.press(ESC)
        terminal.wait_for("STATE    FOR BEAT NAME")
        terminal.wait_until(lambda: reports(terminal) == OURS, "the mouse taken back")
        terminal.press("q")
        end(terminal, 0)


def test_without_the_mouse_a_text_does_not_take_it_either(server: Server, tmp_path: Path) -> None:
    with shown(server, tmp_path, "--no-mouse") as terminal:
        open_text(terminal)
        terminal.press(ESC)
        terminal.wait_for("STATE    FOR BEAT NAME")
        terminal.press("q")
        end(terminal, 0)
        assert not modes_after(terminal.received).ever & MOUSE


def test_keys_in_one_packet_open_the_chosen_text(server: Server, tmp_path: Path) -> None:
    with shown(server, tmp_path) as terminal:
        terminal.press("y")
        terminal.wait_for("Show as plain text")
        terminal.press("\x1b[A ")
        terminal.wait_for(PLAIN)
        terminal.press("q", "q")
        end(terminal, 0)


def test_a_terminal_that_reports_its_size_in_pixels_still_reports_clicks_in_cells(
    server: Server, tmp_path: Path
) -> None:
    with shown(server, tmp_path) as terminal:
        terminal.press("\x1b[?2048;2$y\x1b[48;60;80;1200;800t")
        terminal.wait_until(lambda: IN_BAND_RESIZE in modes_after(terminal.received).private, "the mode set")
        line = max(line for line, text in enumerate(terminal.display) if text[2] == "●")
        name = terminal.display[line][20:36]
        terminal.click(20, line)
        terminal.wait_until(
            lambda: any(text[1] == "►" and name in text for text in terminal.display), "the cursor on the row clicked"
        )
        terminal.press("q")
        end(terminal, 0)
        assert modes_after(terminal.received).ever & MOUSE == {1000, 1006}
