"""A terminal's modes after some bytes, and envwatch as the child of a shell, or of a parent that prints the terminal's
settings before and after.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.load import at_most
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
SIZE = 60
ENVWATCH = (sys.executable, "-m", "envwatch")
SHOWN = "● [0-9]+ "

PARENT = str(Path(__file__).with_name("parent_program.py"))


# -- modes -------------------------------------------------------------------------------------------------------------
_SEQUENCE = re.compile(rb"\x1b\[([<>?=]?)([0-9;:]*)([a-zA-Z])")

USUAL = {7, 25}
"""Private modes set in a fresh terminal: line wrap and a visible cursor."""

ALTERNATE_SCREEN, SYNCHRONISED, BRACKETED_PASTE, FOCUS, IN_BAND_RESIZE = 1049, 2026, 2004, 1004, 2048
MOUSE = {1000, 1002, 1003, 1005, 1006, 1015, 1016}


@dataclass
class Modes:
    private: set[int] = field(default_factory=lambda: set(USUAL))
    keyboard: int = 0
    """Depth of the stack of keyboard protocols."""
    rendition: bytes = b""
    """The current colours and attributes; empty for the defaults."""
    titles: int = 0
    """Depth of the stack of titles."""
    ever: set[int] = field(default_factory=set)


def modes_after(received: bytes | bytearray) -> Modes:
    modes = Modes()
    saved = b""
    for prefix, numbers, final in (match.groups() for match in _SEQUENCE.finditer(received)):
        if prefix == b"?" and final in b"hl":
            changed = {int(number) for number in numbers.split(b";")}
            modes.private = modes.private | changed if final == b"h" else modes.private - changed
            if final == b"h":
                modes.ever |= changed
            if ALTERNATE_SCREEN in changed:
                # Terminals save the colours together with the cursor.
                modes.rendition, saved = (modes.rendition, modes.rendition) if final == b"h" else (saved, saved)
        elif prefix in {b">", b"<"} and final == b"u":
            modes.keyboard = max(modes.keyboard + (1 if prefix == b">" else -1), 0)
        elif not prefix and final == b"t" and numbers in {b"22;2", b"23;2"}:
            modes.titles += 1 if numbers == b"22;2" else -1
        elif not prefix and final == b"m":
            modes.rendition = b"" if numbers in {b"", b"0"} else numbers
    return modes


def is_fresh(modes: Modes) -> bool:
    return (modes.private, modes.keyboard, modes.rendition, modes.titles) == (USUAL, 0, b"", 0)


# -- programs ----------------------------------------------------------------------------------------------------------
def wait_until_restored(terminal: Terminal) -> None:
    """Wait up to a second, or longer on a busy machine, for the terminal's original state."""
    with at_most(1.0):
        terminal.wait_until(lambda: restored(terminal), "the terminal as it was")


def with_parent(environ: dict[str, str], *command: str, **size: Any) -> Terminal:
    """Run a program as a shell would; print the terminal's settings before and after, and the exit code."""
    return Terminal([sys.executable, PARENT, *command[1:]], environ, **size)


def by_script(environ: dict[str, str], script: str, *command: str) -> Terminal:
    return Terminal(["sh", "-c", script, "sh", *command], environ)


def bash(environ: dict[str, str]) -> Terminal:
    return Terminal(["bash", "--norc", "--noediting", "-i"], environ | {"PS1": "$ ", "HISTFILE": ""})


def child_of(terminal: Terminal, *, within: float = TIMEOUT_S) -> int:
    pid = terminal.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + within
    while not (found := children.read_text(encoding="ascii").split()):
        assert time.monotonic() < deadline
    return int(found[0])


def states_of(pid: int) -> set[str]:
    """Return the state letters of a process's threads; T is stopped."""
    return set(filter(None, map(_state_in, Path(f"/proc/{pid}/task").glob("*/stat"))))


def _state_in(stat: Path) -> str:
    try:
        return stat.read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the thread has ended
        return ""


def wait_for_stop(pid: int, *, within: float = TIMEOUT_S) -> None:
    """Wait until all threads of a process are stopped: the last thread notifies the shell."""
    deadline = time.monotonic() + within
    while states_of(pid) != {"T"}:
        assert time.monotonic() < deadline


def restored(terminal: Terminal) -> bool:
    return is_fresh(modes_after(terminal.received))


def settings(terminal: Terminal) -> list[bytes]:
    return re.findall(rb"^(?:\S*:){10,}\S*(?=\r\n)", terminal.received, re.MULTILINE)


def assert_sane(terminal: Terminal, code: int) -> None:
    assert terminal.wait_for_end() == 0
    assert f"code {code}\r\n".encode() in terminal.received, terminal.text
    assert restored(terminal), modes_after(terminal.received)
    before, after = settings(terminal)
    assert before == after
