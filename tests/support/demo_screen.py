"""The dashboard on the demo fleet in a terminal, and readers of the screen."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.own_keys import own_keys
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = r"^  STATE    FOR BEAT NAME"


@contextmanager
def demo(home: Path, columns: int, lines: int, *options: str) -> Iterator[Terminal]:
    arguments = ("demo", "--no-history", "--no-hints", *options)
    with Terminal.of_envwatch(*arguments, home=home, columns=columns, lines=lines, environ=own_keys(home)) as terminal:
        terminal.wait_for(HEADER)
        terminal.wait_for("○ [0-9]+ page .*● [0-9]+ on ")
        terminal.wait_for_cursor(1)  # the newest loss
        yield terminal


def cursor_name(terminal: Terminal) -> str:
    line = terminal.cursor_line
    assert line >= 0, terminal.text
    return re.sub(" +(NEW|BACK|MOVED|MODE)$", "", terminal.part(line, 20, 40).rstrip())


def titles_line(terminal: Terminal) -> int:
    """Return the line of the column titles, between block and rows."""
    return next(y for y, line in enumerate(terminal.display) if re.match(HEADER, line))


def block_height(terminal: Terminal) -> int:
    return titles_line(terminal) - 2


def rows(terminal: Terminal) -> list[str]:
    below = terminal.display[titles_line(terminal) + 1 : -2]
    return [line for line in below if re.match(r"[▌ ][► ][●◐○·?] ", line)]


def quit_with(terminal: Terminal, key: str, code: int) -> None:
    terminal.press(key)
    assert terminal.wait_for_end() == code
    for mode in ("1049", "1000", "1006", "2004"):
        assert terminal.received.rfind(f"\x1b[?{mode}l".encode()) > terminal.received.rfind(f"\x1b[?{mode}h".encode())
    assert terminal.received.rfind(b"\x1b[?25h") > terminal.received.rfind(b"\x1b[?25l")


def assert_help_opens_and_q_ends(terminal: Terminal) -> None:
    terminal.press("?")
    terminal.wait_for("^ States ")
    terminal.press("q")
    terminal.wait_for("● on ")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
