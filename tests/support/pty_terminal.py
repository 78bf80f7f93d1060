"""A real pseudo-terminal around a real program, with a readable copy of the screen.

Tests wait with a deadline, without pauses. The child is always killed and reaped, and inherits no key, proxy or
setting.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyte
from support.programs import TIMEOUT_S, in_terminal
from wcwidth import wcwidth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]

ESC, ENTER = "\x1b[27u", "\r"
"""Escape in Kitty's protocol, which cannot be mistaken for the start of another key."""

_KEPT = re.compile(r"PATH|COVERAGE\w*|PYTHON(HASHSEED|DONTWRITEBYTECODE|PYCACHEPREFIX)")
"""Variables that a child inherits from the test runner."""

_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[(?:[<>=][0-9;]*[a-z]|\?[0-9;]*\$p)|\x1bP.*?\x1b\\", re.DOTALL)
"""Sequences that `pyte` would print as text."""

_LOOK_S = 0.05

_ASKS_FOR_FRAMES = b"\x1b[?2026$p"
_FRAME = re.compile(rb"\x1b\[\?2026([hl])")
"""The query for frame support, and the marks around a frame."""

_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?<>=$]*|P[^\x1b]*\x1b?|\][^\x07\x1b]*\x1b?)?\Z")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return a child's environment, with the setting that every loss needs a person."""
    return {"ENVWATCH_ALERT": "id:*", **without_settings(home, **more)}


def without_settings(home: Path, **more: str) -> dict[str, str]:
    """Return a child's environment: a path, a separate home and a capable terminal."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    usual = {"HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    return {**kept, **usual, **more}


class ChangedScreen(pyte.Screen):
    """A screen that ignores half a sequence, as after a flush at a stop, and renders only changed lines."""

    def __init__(self, columns: int, lines: int) -> None:
        self._text: list[str] = []
        super().__init__(columns, lines)

    @property
    def display(self) -> list[str]:
        # A combining character at the start of a line belongs to the end of the line above.
        if len(self._text) == self.lines:
            changed = self.dirty | {y - 1 for y in self.dirty}
            self._text = [self._line(y) if y in changed else text for y, text in enumerate(self._text)]
        else:
            self._text = [self._line(y) for y in range(self.lines)]
        self.dirty.clear()
        return [*self._text]

    def _line(self, y: int) -> str:
        row, found, is_second_half = self.buffer[y], list[str](), False
        for x in range(self.columns):
            if not is_second_half:
                found.append(text := row[x].data)  # empty where a narrow character replaced a wide one's first half
                is_second_half = text > "\x7f" and wcwidth(text[0]) == 2
            else:
                is_second_half = False
        return "".join(found)

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        """Change colours, except for private sequences (with a question mark)."""
        if not private:
            super().select_graphic_rendition(*attributes)


class Terminal:
    """A program in a separate terminal.

    Args:
        command: the program.
        environ: the whole environment; see `environment`.
        columns: of the terminal.
        lines: of the terminal.
        may_fork: whether a fork server may start the program, with another start and memory than a user's.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        may_fork: bool = True,
    ) -> None:
        self.screen = ChangedScreen(columns, lines)
        self.received = bytearray()
        self._stream = pyte.ByteStream(self.screen)
        self._rest = b""
        self._is_drawing = False
        self._master, slave = pty.openpty()
        self._set_size(columns, lines)
        try:
            self.process = in_terminal(command, environ, slave, folder=environ["HOME"], may_fork=may_fork)
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)

    @classmethod
    def of_envwatch(
        cls, *arguments: str, home: Path, columns: int = 80, lines: int = 24, environ: Mapping[str, str] | None = None
    ) -> Self:
        command = [sys.executable, "-m", "envwatch", *arguments]
        return cls(command, environment(home, **(environ or {})), columns=columns, lines=lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def press(self, *keys: str) -> None:
        self.send("".join(keys).encode())

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def click(self, x: int, y: int) -> None:
        self.press(f"\x1b[<0;{x + 1};{y + 1}M", f"\x1b[<0;{x + 1};{y + 1}m")

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)
        self.send_signal(signal.SIGWINCH)

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def display(self) -> list[str]:
        return self.screen.display

    @property
    def text(self) -> str:
        """The whole screen without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.display)

    @property
    def cursor_line(self) -> int:
        """The line of the table's cursor; -1 if the cursor is invisible."""
        return next((y for y, line in enumerate(self.display) if line[1:2] in {"►", ">"}), -1)

    @property
    def resident(self) -> float:
        """The program's resident memory in MiB. Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s*(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def part(self, line: int, start: int, stop: int | None = None) -> str:
        """Return a line's text between two columns, whatever the width of earlier characters."""
        row = self.screen.buffer[line]
        return "".join(row[x].data for x in range(start, self.screen.columns if stop is None else stop))

    def wait_for(self, pattern: str, *, within: float = TIMEOUT_S) -> re.Match[str]:
        """Read until the screen shows a pattern, and return the match.

        Args:
            pattern: a regular expression over the whole screen.
            within: seconds.
        """
        found: list[re.Match[str]] = []

        def is_shown() -> bool:
            found[:] = re.finditer(pattern, self.text, re.MULTILINE)
            return bool(found)

        self.wait_until(is_shown, pattern, within=within)
        return found[0]

    def wait_for_no(self, pattern: str, *, within: float = TIMEOUT_S) -> None:
        self.wait_until(lambda: re.search(pattern, self.text, re.MULTILINE) is None, f"no {pattern}", within=within)

    def wait_until(self, condition: Callable[[], object], what: str = "", *, within: float = TIMEOUT_S) -> None:
        deadline = time.monotonic() + within
        while self._is_drawing or not condition():
            # Data sent in time is read, however late a busy machine gets to the test.
            if not self._read(max(deadline - time.monotonic(), 0)):
                raise AssertionError(f"not within {within:g} s: {what}\n{self.text}")

    def read_until(self, condition: Callable[[], object], what: str, *, within: float = TIMEOUT_S) -> None:
        """Read until a condition holds that needs no drawing."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"not within {within:g} s: {what}\n{self.text}"
            self._read(_LOOK_S)

    def wait_for_cursor(self, line: int) -> None:
        self.wait_until(lambda: self.cursor_line == line, f"the cursor on line {line}")

    def wait_for_end(self, *, within: float = TIMEOUT_S) -> int:
        """Read to the program's end and return the exit code, negative for a signal."""
        deadline = time.monotonic() + within
        while self._read(max(deadline - time.monotonic(), 0)):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def _read(self, seconds: float) -> bool:
        """Read available data; return False at the end or on a timeout."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            chunk = os.read(self._master, 1 << 16)
        except OSError:  # Linux: the child's side is closed
            return False
        self.received += chunk
        data = self._rest + chunk
        self._rest = match[0] if (match := _UNFINISHED.search(data)) else b""
        whole = data.removesuffix(self._rest)
        if _ASKS_FOR_FRAMES in whole:
            self.press("\x1b[?2026;2$y")  # supported: so each frame's end is visible
        for mark in _FRAME.finditer(whole):
            self._is_drawing = mark[1] == b"h"
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", whole))
        return bool(chunk)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
