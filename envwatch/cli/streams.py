"""Complete writes to standard output and standard error.

Every command imports this module, so large modules are imported late.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self, TextIO

from envwatch.cli.arguments import Exit, StopError
from envwatch.model.redactor import redactor
from envwatch.model.text import cells, clean, fitted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from envwatch.model.text import SafeText


_CHUNK_BYTES = 1 << 16


def is_utf8(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream is UTF-8, chosen by the locale, `PYTHONIOENCODING` or `PYTHONUTF8`.

    In the locale C, Python writes UTF-8 unasked (PEP 540).
    """
    if not _names_utf8(stream.encoding):
        return False
    if environ.get("PYTHONIOENCODING") or environ.get("PYTHONUTF8") == "1":
        return True
    language = environ.get("LANG") or ""
    chosen = environ.get("LC_CTYPE") or language
    if chosen in _COERCED and language in _PLAIN:
        chosen = language
    name = environ.get("LC_ALL") or chosen
    _, dot, codeset = name.partition("@")[0].partition(".")
    return name not in _PLAIN and (not dot or _names_utf8(codeset))


_PLAIN: Final = frozenset({"C", "POSIX"})
_COERCED: Final = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})
"""Values of `LC_CTYPE` that Python sets in the locale C (PEP 538)."""


def _names_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a colour terminal, and NO_COLOR is unset."""
    terminal = os.environ.get("TERM", "")
    is_plain = terminal in {"", "dumb"} or terminal.startswith("vt")
    return stream.isatty() and not is_plain and not os.environ.get("NO_COLOR")


def stdout() -> TextIO:
    """Return standard output, or raise `StopError` if closed; commands call this first."""
    stream = sys.__stdout__
    if stream is None:
        raise StopError(Exit.FAILED, "standard output is closed")
    return stream


def write(data: bytes | bytearray) -> None:
    """Write all data to standard output.

    Raises:
        StopError: writing fails; the message is empty if the reader has left.
    """
    with output_errors():
        _write(stdout().fileno(), data)


def write_text(text: str) -> None:
    """Write a text, with escapes for characters outside the encoding."""
    write(text.encode(stdout().encoding, "backslashreplace"))


def write_json(content: object) -> None:
    """Write a redacted JSON document."""
    import json

    write(redactor()(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n").encode())


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn write errors into the `StopError` of `write`."""
    try:
        yield
    except BrokenPipeError:
        raise StopError(Exit.BROKEN_PIPE) from None
    except OSError as error:
        raise StopError(Exit.FAILED, f"cannot write to standard output: {error.strerror}") from None


def write_all(pieces: Iterable[bytes]) -> None:
    """Write pieces in chunks."""
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= _CHUNK_BYTES:
            write(chunk)
            chunk = bytearray()
    write(chunk)


def print_error(line: str, end: str = "\n") -> None:
    """Write a redacted line to standard error; ignore errors."""
    stderr = sys.__stderr__
    if stderr is None:
        return
    with suppress(OSError):
        _write(stderr.fileno(), f"{redactor()(line)}{end}".encode(stderr.encoding, "backslashreplace"))


def report_stops(stops: Sequence[StopError], *, is_silent: bool = False) -> Exit:
    """Write each stop's line; return the worst exit code."""
    for stop in () if is_silent else stops:
        print_error(f"envwatch: {stop}")
    return max((stop.code for stop in stops), default=Exit.FINE)


def write_table(rows: Sequence[Sequence[SafeText]]) -> None:
    """Write rows of cells as aligned columns."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        text = "  ".join(fitted(cell, width) for cell, width in zip(row, widths, strict=True))
        write_text(f"{text.rstrip()}\n")


def _write(descriptor: int, data: bytes | bytearray) -> None:
    """Write all data: under PYTHONUNBUFFERED, `sys.stdout.buffer` may silently write a part."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # the parent made the pipe non-blocking, as Node does
            select.select([], [descriptor], [])


_EVERY_S: Final = 1.0
_USUAL_COLUMNS: Final = 80


class ProgressLine:
    """A line on standard error, erased at the end of the context.

    The line appears after `after_s` seconds, because most listings end sooner.
    """

    def __init__(self, after_s: float = 1.0) -> None:
        self._shown_at = time.monotonic() + after_s - _EVERY_S
        self._width = 0

    def __enter__(self) -> Self:
        return self

    @property
    def is_due(self) -> bool:
        """Whether standard error is a terminal, and a second has passed since the last text."""
        stream = sys.__stderr__
        return stream is not None and stream.isatty() and time.monotonic() - self._shown_at >= _EVERY_S

    def show(self, text: str) -> None:
        """Show a text, cut to the terminal's width, if `is_due`."""
        stream = sys.__stderr__
        if stream is None or not self.is_due:
            return
        self._shown_at = time.monotonic()
        width = max((os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS) - 1, 1)
        line = shortened(clean(redactor()(text)), width)
        before, self._width = self._width, cells(line)
        print_error(f"\r{fitted(line, max(self._width, min(before, width)))}", end="")

    def erase(self) -> None:
        """Erase the line; may run in a signal handler."""
        if self._width:
            print_error(f"\r{' ' * self._width}\r", end="")
            self._width = 0

    def __exit__(self, *_: object) -> None:
        self.erase()


_MOST_WAITING: Final = 4 << 20
"""Bytes that may wait for the reader."""
_TERMINAL_PIECE: Final = 256
"""Bytes per write, because a ready terminal may have little room."""


class LineWriter:
    """Writes lines without blocking the loop; lines wait in memory for a slow reader.

    Processes share the descriptor, so it cannot be non-blocking, but a ready descriptor takes small pieces without
    blocking. Errors are as in `write`.
    """

    def __init__(self, descriptor: int) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._piece = _TERMINAL_PIECE if os.isatty(descriptor) else select.PIPE_BUF
        self._rest = bytearray()
        self._is_waiting = False
        self._moved = asyncio.Event()
        self._error: Exception | None = None

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines, and wait for a slow reader."""
        for line in lines:
            self._rest += line
            if len(self._rest) >= self._piece:
                self._flush()
            await self._drained(_MOST_WAITING)
        self._flush()
        self.check()

    async def finish(self) -> None:
        """Wait until the reader has all lines."""
        await self._drained(0)

    def check(self) -> None:
        """Raise an error if the reader has left, or an earlier piece failed."""
        if self._state(0) & (select.POLLERR | select.POLLHUP):
            self._error = self._error or BrokenPipeError()
        self._raise()

    def close(self) -> None:
        """Drop the waiting lines."""
        self._rest.clear()
        self._wait_for_reader(needed=False)

    async def _drained(self, most: int) -> None:
        if len(self._rest) > most:
            self._flush()
        while len(self._rest) > most:  # an error empties the rest
            self._moved.clear()
            await self._moved.wait()
        self._raise()

    def _flush(self) -> None:
        try:
            while self._rest and self._state(select.POLLOUT):
                written = os.write(self._descriptor, self._rest[: self._piece])
                del self._rest[:written]
        except BlockingIOError:
            pass
        except OSError as error:
            self._error = error
            self._rest.clear()
        self._moved.set()
        self._wait_for_reader(needed=bool(self._rest))

    def _state(self, events: int) -> int:
        poll = select.poll()
        poll.register(self._descriptor, events)
        return sum(state for _, state in poll.poll(0))

    def _wait_for_reader(self, *, needed: bool) -> None:
        if needed is self._is_waiting:
            return
        self._is_waiting = needed
        if needed:
            self._loop.add_writer(self._descriptor, self._flush)
        else:
            self._loop.remove_writer(self._descriptor)

    def _raise(self) -> None:
        if self._error is not None:
            with output_errors():
                raise self._error


LONGEST_LINE: Final = 1_000
"""Characters; a longer line comes in parts."""

_PATIENCE_S: Final = 0.3
"""Seconds to wait for the pipe's end: a child process may keep the pipe open."""


@contextmanager
def standard_error_to(take: Callable[[str], None]) -> Iterator[None]:
    """Pass lines of standard error to a function, in a thread; blank lines are dropped.

    Descriptor 2 is replaced, because C libraries and child processes too would write over the screen. `sys.__stderr__`
    stays the terminal.
    """
    import logging
    import threading

    original = sys.__stderr__
    if original is None:
        yield
        return
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=original.encoding, errors=original.errors)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    reader = threading.Thread(target=_pass_on, args=(reading, take), name="standard-error", daemon=True)
    reader.start()
    sys.__stderr__ = terminal  # type: ignore[misc]  # as documented above
    # Logging and warnings keep the present `sys.stderr`: Textual's replacement drops everything.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(handler)
        sys.__stderr__ = original  # type: ignore[misc]
        sys.stderr.flush()
        os.dup2(terminal.fileno(), 2)
        terminal.close()
        reader.join(_PATIENCE_S)


def _pass_on(descriptor: int, take: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        while line := lines.readline(LONGEST_LINE):
            if text := line.strip():
                take(text)
