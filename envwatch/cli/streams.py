"""Standard output and standard error: data to the one, narration to the other, each whole or with a plain failure."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, StopError
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

_AT_ONCE = 1 << 16
"""Bytes, as many as a pipe takes."""


def is_utf8(stream: TextIO) -> bool:
    """Whether a stream takes all of Unicode."""
    return stream.encoding.lower().replace("-", "") == "utf8"


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
    """Write to standard output, all of it, now.

    Raises:
        StopError: if it cannot be written: quietly if its reader went away.
    """
    try:
        _write(stdout().fileno(), data)
    except BrokenPipeError:
        raise StopError(Exit.BROKEN_PIPE) from None
    except OSError as error:
        raise StopError(Exit.FAILED, f"cannot write to standard output: {error.strerror}") from None


def write_all(pieces: Iterable[bytes]) -> None:
    """Write pieces to standard output as they come, many of them at a time; see `write`."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _AT_ONCE:
            write(held)
            held = bytearray()
    write(held)


def print_error(line: str) -> None:
    """Write a line for people to standard error, without any secret, if anybody is there to read it."""
    stderr = sys.__stderr__
    if stderr is None:
        return
    with suppress(OSError):
        _write(stderr.fileno(), f"{redactor()(line)}\n".encode(stderr.encoding, "backslashreplace"))


def _write(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of it, however long a reader takes.

    Not by way of `sys.stdout.buffer`: under PYTHONUNBUFFERED it may write a part, and nobody notices.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # whoever started us wants no waits, for itself: Node makes its pipes so
            select.select([], [descriptor], [])
