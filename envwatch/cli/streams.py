"""Standard output for data and standard error for messages: written completely, or refused in one line.

`ProgressLine` rewrites one line of progress on standard error, if that is a terminal.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from envwatch.cli.arguments import Exit, StopError
from envwatch.model.text import cells, clean, fitted, shortened
from envwatch.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO


_CHUNK_BYTES = 1 << 16
"""The size of a pipe's buffer."""


def is_utf8(stream: TextIO) -> bool:
    """Return whether a stream's encoding is UTF-8."""
    return stream.encoding.lower().replace("-", "") == "utf8"


def has_colours(stream: TextIO) -> bool:
    """Return whether people see colours in a stream: in a terminal that has colours, and without NO_COLOR."""
    terminal = os.environ.get("TERM", "")
    is_plain = terminal in {"", "dumb"} or terminal.startswith("vt")
    return stream.isatty() and not is_plain and not os.environ.get("NO_COLOR")


def stdout() -> TextIO:
    """Return standard output.

    Raises:
        StopError: if there is none.
    """
    stream = sys.__stdout__
    if stream is None:
        raise StopError(Exit.FAILED, "standard output is closed")
    return stream


def write(data: bytes | bytearray) -> None:
    """Write all data to standard output.

    Raises:
        StopError: if that fails; without a message if the reader has closed it.
    """
    with output_errors():
        _write(stdout().fileno(), data)


def write_text(text: str) -> None:
    """Write a text to standard output in its encoding; characters that it lacks are escaped. See `write`."""
    write(text.encode(stdout().encoding, "backslashreplace"))


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn an error of writing to standard output into `StopError`, without a message if the reader has closed it."""
    try:
        yield
    except BrokenPipeError:
        raise StopError(Exit.BROKEN_PIPE) from None
    except OSError as error:
        raise StopError(Exit.FAILED, f"cannot write to standard output: {error.strerror}") from None


def write_all(pieces: Iterable[bytes]) -> None:
    """Write pieces to standard output in chunks; see `write`."""
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= _CHUNK_BYTES:
            write(chunk)
            chunk = bytearray()
    write(chunk)


def print_error(line: str, end: str = "\n") -> None:
    """Write a line to standard error if it can be written to, without any secret."""
    stderr = sys.__stderr__
    if stderr is None:
        return
    with suppress(OSError):
        _write(stderr.fileno(), f"{redactor()(line)}{end}".encode(stderr.encoding, "backslashreplace"))


def _write(descriptor: int, data: bytes | bytearray) -> None:
    """Write all data, however long the reader takes.

    `sys.stdout.buffer` is no choice: under PYTHONUNBUFFERED it may write a part only, without an error.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # the parent made the pipe non-blocking, as Node does
            select.select([], [descriptor], [])


_EVERY_S: Final = 1.0
_USUAL_COLUMNS: Final = 80
"""Of a terminal that does not know its size."""


class ProgressLine:
    """A line that is visible while a context lasts, and erased at the end of the context.

    The line is rewritten at most once a second, with a carriage return and blanks: any terminal understands these.

    Args:
        after_s: seconds before the first line, because most waits are shorter.
    """

    def __init__(self, after_s: float = 0.0) -> None:
        self._shown_at = time.monotonic() + after_s - _EVERY_S
        self._width = 0
        """Cells of the line that is there, or about to be."""

    def __enter__(self) -> Self:
        return self

    @property
    def is_due(self) -> bool:
        """Whether there is a terminal, and a second has passed since the last text."""
        stream = sys.__stderr__
        return stream is not None and stream.isatty() and time.monotonic() - self._shown_at >= _EVERY_S

    def show(self, text: str) -> None:
        """Show a text, cut to the terminal's width, if it `is_due`."""
        stream = sys.__stderr__
        if stream is None or not self.is_due:
            return
        self._shown_at = time.monotonic()
        width = max((os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS) - 1, 1)
        line = shortened(clean(redactor()(text)), width)
        before, self._width = self._width, cells(line)
        print_error(f"\r{fitted(line, max(self._width, min(before, width)))}", end="")

    def erase(self) -> None:
        """Take the line away, as when the context ends; also from a handler of a signal."""
        if self._width:
            print_error(f"\r{' ' * self._width}\r", end="")
            self._width = 0

    def __exit__(self, *_: object) -> None:
        self.erase()
