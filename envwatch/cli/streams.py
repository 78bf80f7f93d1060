"""Standard output for data and standard error for messages: written completely, or refused in one line."""

from __future__ import annotations

import os
import select
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, StopError
from envwatch.storage.redactor import redactor

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
