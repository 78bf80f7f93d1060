"""envwatch run by a shell, which says afterwards how it got its terminal back."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

from support.load import scaled
from support.pty_terminal import PATIENCE, Terminal
from support.terminal_modes import is_fresh, modes_after

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
SIZE = 60
ENVWATCH = (sys.executable, "-m", "envwatch")
SHOWN = "● [0-9]+ on"

IN_SHELL = 'stty -g; "$@"; echo "code $?"; stty -g'
"""A shell that tells the terminal's settings and the exit code."""


def wait_until_restored(terminal: Terminal) -> None:
    """Wait for the terminal as it was, a second at most, or its share of a busy machine."""
    terminal.wait_until(lambda: restored(terminal), "the terminal as it was", within=scaled(1.0))


def in_shell(environ: dict[str, str], *command: str, script: str = IN_SHELL, **size: Any) -> Terminal:
    return Terminal(["sh", "-c", script, "sh", *command], environ, **size)


def child_of(terminal: Terminal, *, within: float = PATIENCE) -> int:
    """The program that the shell runs, once it does."""
    pid = terminal.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + within
    while not (found := children.read_text(encoding="ascii").split()):
        assert time.monotonic() < deadline
    return int(found[0])


def state_of(pid: int) -> str:
    """The letter of a process's state: T when it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def wait_for_stop(pid: int, *, within: float = PATIENCE) -> None:
    """Wait until a process is stopped."""
    deadline = time.monotonic() + within
    while state_of(pid) != "T":
        assert time.monotonic() < deadline


def restored(terminal: Terminal) -> bool:
    return is_fresh(modes_after(terminal.received))


def settings(terminal: Terminal) -> list[bytes]:
    """What the shell printed of the terminal's settings, before and after."""
    return re.findall(rb"^(?:\S*:){10,}\S*(?=\r\n)", terminal.received, re.MULTILINE)


def assert_sane(terminal: Terminal, code: int) -> None:
    """Read to the shell's end: it has its terminal back, and knows the exit code."""
    assert terminal.wait_for_end() == 0
    assert f"code {code}\r\n".encode() in terminal.received, terminal.text
    assert restored(terminal), modes_after(terminal.received)
    before, after = settings(terminal)
    assert before == after
